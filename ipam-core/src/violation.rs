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
        Self { field: field.to_string(), value: value.to_string(), rule }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}: {}", self.field, self.value, self.rule)
    }
}

/// All rules that a document breaks; never empty when it is returned as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// The violations in the order of the document's fields.
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, violation: Violation) {
        self.0.push(violation);
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
        for (index, violation) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            violation.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for Violations {}
