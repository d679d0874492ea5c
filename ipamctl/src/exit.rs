//! How a call ends, for scripts.

use std::process::ExitCode;

/// The exit codes of all verbs. docs/operations.md has the same table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or nothing is wrong.
    Done = 0,
    /// It failed.
    Failed = 1,
    // 2 is the parser's, for arguments that are none.
    /// A verb that looks has found something, or something was in the way.
    Found = 3,
    /// Somebody holds an address that is gone.
    Held = 4,
}

/// Below the help of the whole.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done; nothing is wrong
  1  failed: nothing was changed, or standard error says what was; `verify`: there are faults;
     `repair --dry-run`: something is missing
  2  these are no arguments
  3  `doctor`: there are problems; `gc --dry-run`: there is something to free; `sync`: pools that
     were applied by hand are in the way
  4  `sync`: somebody holds an address that the cloud does not give any more";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
