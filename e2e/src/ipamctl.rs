//! The operator's tool, as a process.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::outcome::Outcome;
use crate::plugin_dir::plugin_dir;

/// Runs `ipamctl` over these databases. That it failed is an [`Outcome`].
pub(crate) fn run(databases: &[PathBuf], arguments: &[&str]) -> Result<Outcome> {
    let program = plugin_dir()?.join("ipamctl");
    ensure!(
        program.is_file(),
        "{} is missing: build it with `cargo build -p ipamctl`",
        program.display()
    );
    let mut command = Command::new(program);
    for database in databases {
        command.arg("--data-dir").arg(database);
    }
    let output = command.args(arguments).output()?;
    Ok(Outcome {
        status: output.status,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}
