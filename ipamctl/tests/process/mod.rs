//! The tool as a person starts it.

use std::path::Path;
use std::process::{Command, Output};

/// Runs it on the database in a directory.
pub(crate) fn ipamctl(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ipamctl"))
        .arg("--data-dir")
        .arg(directory)
        .args(arguments)
        .output()
        .unwrap()
}

/// What it answers, where it does not fail.
pub(crate) fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}
