//! What a document got wrong: field, value and rule.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// One rule that a document breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The field's path, as in `spec.ips[0]`.
    pub field: String,
    /// The value as written.
    pub value: String,
    /// The rule, in words.
    pub rule: String,
}

impl Violation {
    pub(crate) fn new(field: &str, value: &str, rule: String) -> Self {
        // Paths and rules quote the document too, and it can be of any length.
        Self {
            field: shortened(field.to_string(), 200),
            value: shortened(value.to_string(), 120),
            rule: shortened(rule, 1000),
        }
    }
}

/// A text as it stands in a message: whole, or its beginning.
pub(crate) fn shortened(mut text: String, most_characters: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most_characters) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.field, self.value, self.rule)
    }
}

/// How many violations of one document are kept; of the others only the number.
const MOST_VIOLATIONS: usize = 100;

/// All rules that a document breaks; never empty when it is returned as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations {
    kept: Vec<Violation>,
    dropped: usize,
}

impl Violations {
    /// The violations in the order of the document's fields, at most the first 100.
    pub fn as_slice(&self) -> &[Violation] {
        &self.kept
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(crate) fn push(&mut self, violation: Violation) {
        if self.kept.len() < MOST_VIOLATIONS {
            self.kept.push(violation);
        } else {
            self.dropped += 1;
        }
    }

    /// Notes a failed `outcome` about `field`, and hands on a successful one.
    pub(crate) fn note<T, E: fmt::Display>(
        &mut self,
        field: &str,
        value: &str,
        outcome: Result<T, E>,
    ) -> Option<T> {
        outcome.map_err(|error| self.push(Violation::new(field, value, error.to_string()))).ok()
    }

    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.kept.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            violation.fmt(f)?;
        }
        match self.dropped {
            0 => Ok(()),
            dropped => write!(f, "; and {dropped} more"),
        }
    }
}

impl core::error::Error for Violations {}
