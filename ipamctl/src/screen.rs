//! What standard output can show: how wide it is, whether in colours, and which characters.

use std::env;
use std::io::{self, IsTerminal};

use clap::ValueEnum;
use rustix::termios::tcgetwinsize;

/// What `--color` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// What a picture may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// How many characters a line has.
    pub(crate) columns: usize,
    pub(crate) has_colour: bool,
    /// Whether there is more than ASCII.
    pub(crate) has_unicode: bool,
    pub(crate) is_terminal: bool,
}

/// What a screen of unknown width has.
const USUAL_COLUMNS: usize = 80;
/// Nothing fits into less.
const FEWEST_COLUMNS: usize = 40;

impl Screen {
    /// Of this process's standard output.
    pub(crate) fn of_stdout(color: Color) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let told = env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let size = || tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        let columns = told.or_else(size).filter(|columns| *columns > 0);
        // https://no-color.org: set, and not empty.
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            columns: columns.unwrap_or(USUAL_COLUMNS).max(FEWEST_COLUMNS),
            has_colour: match color {
                Color::Auto => is_terminal && !no_colour,
                Color::Always => true,
                Color::Never => false,
            },
            has_unicode: is_utf8(),
            is_terminal,
        }
    }

    /// A text in a colour, given as the numbers of SGR (ECMA-48, 8.3.117).
    pub(crate) fn paint(&self, sgr: &str, text: &str) -> String {
        if self.has_colour && !sgr.is_empty() && !text.is_empty() {
            format!("\x1b[{sgr}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Whether the locale's characters are those of Unicode: the first of the variables that is set
/// counts (locale(7)).
fn is_utf8() -> bool {
    let set = |name: &&str| env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
