//! What happened, before it is a line.

use std::fmt::Write as _;
use std::time::SystemTime;

use crate::settings::LevelName;

/// One event, with everything that its line says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) time: SystemTime,
    pub(crate) level: LevelName,
    pub(crate) plugin: String,
    pub(crate) message: String,
    /// In the order of the line.
    pub(crate) fields: Vec<(&'static str, Value)>,
}

/// The value of a field. Texts may hold any character.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(u64),
    List(Vec<String>),
    /// Parts and their numbers.
    Parts(Vec<(&'static str, u64)>),
}

/// How long a text of a line may be, in bytes: a refusal names each pool, of which there can be
/// thousands.
const LONGEST_TEXT: usize = 8 << 10;

/// The text, or as much of it as a line has room for.
pub(crate) fn bounded(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        let whole = text.len();
        let end = (0..=LONGEST_TEXT).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        let _ = write!(text, "… ({whole} bytes)");
    }
    text
}
