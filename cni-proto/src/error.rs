//! The error object: the one thing a plugin prints when it fails.

use std::fmt;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::decode::decode;
use crate::version::Version;

/// The number that tells a runtime what kind of failure it met (specification, section 5, "Error").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u32);

impl Code {
    /// The configuration's `cniVersion` is not supported.
    pub const INCOMPATIBLE_VERSION: Self = Self(1);
    /// A field is not supported; the message holds its key and value.
    pub const UNSUPPORTED_FIELD: Self = Self(2);
    /// The container is unknown and the runtime need *not* clean up: never for an ADD that may
    /// have left something.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// Environment variables are missing or invalid; the message names them.
    pub const INVALID_ENVIRONMENT: Self = Self(4);
    /// Reading or writing failed.
    pub const IO: Self = Self(5);
    /// Something could not be decoded: the JSON text, a version, `prevResult`.
    pub const DECODE: Self = Self(6);
    /// The network configuration is invalid.
    pub const INVALID_CONFIG: Self = Self(7);
    /// The network namespace is unusable, for instance the runtime's own. The specification has no
    /// row for it, Go's `types.ErrInvalidNetNS` has.
    pub const INVALID_NETNS: Self = Self(8);
    /// The condition will pass: the runtime should try again later.
    pub const TRY_AGAIN: Self = Self(11);
    /// STATUS: no ADD can be served.
    pub const NOT_AVAILABLE: Self = Self(50);
    /// STATUS: no ADD can be served, and existing containers may have limited connectivity.
    pub const LIMITED: Self = Self(51);
    /// A defect of the plugin; the number is Go's `types.ErrInternal`.
    pub const INTERNAL: Self = Self(999);

    /// The n-th code of the plugin's own, counted from 0; the specification leaves those from 100
    /// on to plugins.
    pub const fn plugin(n: u32) -> Self {
        Self(n.saturating_add(100))
    }

    /// The number as printed.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a plugin could not do what it was asked for.
///
/// `Display` joins message and details with `"; "`, as runtimes do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure.
    pub code: Code,
    /// What failed, in one line: the only part that some runtimes show.
    pub msg: String,
    /// The cause and what to do about it; left out of the object when empty.
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// Reads the error object that a delegate printed, to be passed on. A code of 0, which says
    /// nothing, becomes [`Code::INTERNAL`].
    ///
    /// `None` if the text is no such object or has no message: then what the delegate said on
    /// standard error, and how it ended, is all there is.
    pub fn parse(stdout: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Printed {
            #[serde(default)]
            code: u32,
            msg: String,
            #[serde(default)]
            details: String,
        }
        let object: Value = serde_json::from_slice(stdout).ok()?;
        let Printed { code, msg, details } = decode(&object).ok()?;
        let code = if code == 0 { Code::INTERNAL } else { Code(code) };
        (!msg.is_empty()).then_some(Self { code, msg, details })
    }

    /// The same error with these details in place of its own.
    #[must_use]
    pub fn with_details(self, details: impl Into<String>) -> Self {
        Self { details: details.into(), ..self }
    }

    /// The same error in words that no runtime takes for success.
    ///
    /// containerd's go-cni counts a failed DEL as done if its text contains "not found", or
    /// without namespace "no such file or directory"; what such a DEL has not released is lost.
    #[must_use]
    pub(crate) fn unmistakable(self) -> Self {
        let reword = |text: String| {
            [("not found", "missing"), ("no such file or directory", "ENOENT")]
                .iter()
                .fold(text, |text, (phrase, word)| replace_ignoring_case(text, phrase, word))
        };
        Self { msg: reword(self.msg), details: reword(self.details), ..self }
    }

    /// The object as printed, in the layout of a version: `cniVersion`, `code`, `msg`, `details`.
    pub fn to_json(&self, version: Version) -> Value {
        let mut object = json!({
            "cniVersion": version.as_str(),
            "code": self.code.number(),
            "msg": self.msg,
        });
        if !self.details.is_empty() {
            object["details"] = json!(self.details);
        }
        object
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, "; {}", self.details) }
    }
}

impl std::error::Error for Error {}

/// ASCII lower-casing keeps every byte offset, so what is found in the copy is cut from the text.
fn replace_ignoring_case(text: String, phrase: &str, word: &str) -> String {
    let lower = text.to_ascii_lowercase();
    if !lower.contains(phrase) {
        return text;
    }
    let mut reworded = String::with_capacity(text.len());
    let mut end = 0;
    for (start, _) in lower.match_indices(phrase) {
        reworded.push_str(&text[end..start]);
        reworded.push_str(word);
        end = start + phrase.len();
    }
    reworded.push_str(&text[end..]);
    reworded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_details_are_neither_printed_nor_shown() {
        let bare = Error::new(Code::TRY_AGAIN, "database is locked");
        assert_eq!(
            bare.to_json(Version::V1_0_0),
            json!({"cniVersion": "1.0.0", "code": 11, "msg": "database is locked"})
        );
        assert_eq!(bare.to_string(), "database is locked");
        let detailed = bare.with_details("by process 7");
        assert_eq!(detailed.to_json(Version::V1_1_0)["details"], "by process 7");
        assert_eq!(detailed.to_string(), "database is locked; by process 7");
    }

    #[test]
    fn a_delegates_error_is_read_as_printed() {
        let error = Error::new(Code::plugin(4), "pool is full").with_details("of 8");
        for version in Version::SUPPORTED {
            let printed = error.to_json(*version).to_string();
            assert_eq!(Error::parse(printed.as_bytes()).as_ref(), Some(&error));
        }
        let bare = Error::parse(br#"{"Msg":"no","details":null}"#);
        assert_eq!(bare, Some(Error::new(Code::INTERNAL, "no")));
        for text in ["", "null", "7", "[]", "{}", r#"{"code":7}"#, r#"{"code":7,"msg":""}"#] {
            assert_eq!(Error::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn own_codes_stay_out_of_the_reserved_range() {
        assert_eq!(Code::plugin(0).number(), 100);
        assert_eq!(Code::plugin(u32::MAX).number(), u32::MAX);
    }

    #[test]
    fn words_that_runtimes_swallow_are_replaced() {
        let error = Error::new(Code::IO, "\u{e9}: link Not Found")
            .with_details("open /a: No such file or directory (os error 2), not found")
            .unmistakable();
        assert_eq!(error.msg, "\u{e9}: link missing");
        assert_eq!(error.details, "open /a: ENOENT (os error 2), missing");
    }
}
