//! The guest's way to the host beside the console: one virtio-serial port per stream.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// The ports, in the order in which the machine has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// The command's standard output.
    Stdout,
    /// The command's standard error.
    Stderr,
    /// Lines of [`Report`].
    Status,
}

impl Channel {
    pub(crate) const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Status];

    /// The port's name, as QEMU sets it and the guest finds it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Status => "status",
        }
    }
}

/// What the guest says on [`Channel::Status`], one line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Report {
    /// The guest is up and about to start the command.
    Up,
    /// The command has ended with this status, and all of its output has been sent.
    Exited(u8),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Exited(status) => write!(f, "exited {status}"),
        }
    }
}

impl FromStr for Report {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        match line.split_once(' ') {
            None if line == "up" => Ok(Self::Up),
            Some(("exited", status)) => Ok(Self::Exited(
                status.parse().with_context(|| format!("not an exit status: {status:?}"))?,
            )),
            _ => bail!("the guest sent an unknown status line: {line:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_written() {
        for report in [Report::Up, Report::Exited(0), Report::Exited(255)] {
            assert_eq!(report.to_string().parse::<Report>().unwrap(), report);
        }
        for broken in ["", "exited", "exited 256", "exited x", "down"] {
            assert!(broken.parse::<Report>().is_err(), "{broken:?}");
        }
    }
}
