//! What a command left: how it ended and what it wrote.

use std::io::{self, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Result, bail};

/// What a command in a namespace left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Outcome {
    /// The standard output of a command that succeeded.
    ///
    /// # Errors
    ///
    /// It did not succeed; the error has its standard error.
    pub fn success(self) -> Result<String> {
        if self.status.success() {
            return Ok(self.stdout);
        }
        bail!("{}: {}{}", self.status, self.stderr.trim_end(), self.stdout.trim_end())
    }
    /// Waits for the end of a child and its output.
    pub(crate) fn of(child: Child) -> Result<Self> {
        let output = child.wait_with_output()?;
        Ok(Self {
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Runs a command to its end. Its input is meant to be small: it is written before the output
/// is read.
pub(crate) fn feed(command: &mut Command, stdin: &str) -> Result<Outcome> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    write_input(&mut child, stdin)?;
    Outcome::of(child)
}

/// Writes the standard input and closes it. A child that ended without reading is no error here.
pub(crate) fn write_input(child: &mut Child, stdin: &str) -> io::Result<()> {
    let Some(mut pipe) = child.stdin.take() else {
        return Ok(());
    };
    match pipe.write_all(stdin.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
