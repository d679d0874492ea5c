//! One thing that was looked at, and what it means.

use serde_json::{Value, json};

/// What to think of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// Something may go wrong, or could not be seen.
    Warning,
    /// Pods fail, or will.
    Problem,
}

impl Verdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }

    /// Its colour, as SGR has it: green, yellow, red.
    pub(super) const fn sgr(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Warning => "33",
            Self::Problem => "31",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at, in few words: stays the same for the same thing.
    pub(super) check: String,
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) found: String,
    /// What to do; `None` exactly if nothing is wrong.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        let (check, found) = (check.into(), found.into());
        Self { check, verdict: Verdict::Ok, found, remedy: None }
    }

    pub(super) fn warning(
        check: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = Some(remedy.into());
        Self { verdict: Verdict::Warning, remedy, ..Self::ok(check, found) }
    }

    pub(super) fn problem(
        check: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Problem, ..Self::warning(check, found, remedy) }
    }

    pub(super) fn to_json(&self) -> Value {
        let Self { check, verdict, found, remedy } = self;
        json!({ "check": check, "verdict": verdict.as_str(), "found": found, "remedy": remedy })
    }
}
