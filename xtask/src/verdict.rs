//! What came of one test executable, also on its way out of the guest.

use std::io::{self, Write};
use std::sync::mpsc::Sender;

use serde::{Deserialize, Serialize};

use crate::lines::Lines;

/// Starts a line by which the guest hands a verdict to the host.
const MARK: &str = "xtask-verdict ";

/// How one test executable did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    /// How many tests passed.
    pub(crate) passed: u32,
    pub(crate) seconds: f64,
    /// Why it counts as failed; `None` if all of its tests ran and passed.
    pub(crate) problem: Option<String>,
}

impl Verdict {
    /// The verdict, with an executable without tests counted as failed.
    pub(crate) fn with_tests_required(mut self) -> Self {
        if self.problem.is_none() && self.passed == 0 {
            self.problem = Some("no test ran".to_owned());
        }
        self
    }

    /// Writes it as a line for [`Tap`].
    pub(crate) fn send(&self, mut out: impl Write) -> io::Result<()> {
        writeln!(out, "{MARK}{}", serde_json::to_string(self)?)
    }
}

/// Passes a stream on as it comes, but takes the verdicts out of it.
#[derive(Debug)]
pub(crate) struct Tap<W> {
    out: W,
    verdicts: Sender<Verdict>,
    lines: Lines,
    /// How much of the unfinished line has been passed on.
    passed_on: usize,
}

impl<W: Write> Tap<W> {
    pub(crate) fn new(out: W, verdicts: Sender<Verdict>) -> Self {
        Self { out, verdicts, lines: Lines::default(), passed_on: 0 }
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        let verdict = line.strip_prefix(MARK).and_then(|text| serde_json::from_str(text).ok());
        if let Some(verdict) = verdict
            && self.passed_on == 0
        {
            // Without a receiver nobody wants it.
            let _ = self.verdicts.send(verdict);
        } else {
            self.out.write_all(line.as_bytes().get(self.passed_on..).unwrap_or_default())?;
            self.out.write_all(b"\n")?;
        }
        self.passed_on = 0;
        Ok(())
    }

    /// Passes on the unfinished line, unless it may become a verdict.
    fn beginning(&mut self) -> io::Result<()> {
        let unfinished = self.lines.unfinished();
        let common = unfinished.len().min(MARK.len());
        if self.passed_on > 0 || unfinished[..common] != MARK.as_bytes()[..common] {
            self.out.write_all(&unfinished[self.passed_on..])?;
            self.passed_on = unfinished.len();
        }
        Ok(())
    }
}

impl<W: Write> Write for Tap<W> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        for line in self.lines.push(piece) {
            self.line(&line)?;
        }
        self.beginning()?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn verdict() -> Verdict {
        Verdict { name: "e2e/lab".into(), passed: 3, seconds: 1.5, problem: Some("x\ny".into()) }
    }

    #[test]
    fn a_verdict_arrives_whatever_the_pieces_and_is_not_shown() {
        let mut stream = b"before\n".to_vec();
        verdict().send(&mut stream).unwrap();
        stream.extend(b"xtask-other\nafter");
        for size in 1..stream.len() {
            let (sender, verdicts) = mpsc::channel();
            let mut tap = Tap::new(Vec::new(), sender);
            for piece in stream.chunks(size) {
                tap.write_all(piece).unwrap();
            }
            assert_eq!(String::from_utf8_lossy(&tap.out), "before\nxtask-other\nafter");
            drop(tap);
            assert_eq!(verdicts.iter().collect::<Vec<_>>(), [verdict()], "pieces of {size}");
        }
    }

    #[test]
    fn an_unfinished_line_is_shown_at_once() {
        let mut tap = Tap::new(Vec::new(), mpsc::channel().0);
        tap.write_all(b"test a ... ").unwrap();
        assert_eq!(tap.out, b"test a ... ");
        tap.write_all(b"ok\n").unwrap();
        assert_eq!(tap.out, b"test a ... ok\n");
    }

    #[test]
    fn no_test_is_no_success() {
        let empty = Verdict { passed: 0, problem: None, ..verdict() };
        assert_eq!(empty.with_tests_required().problem.as_deref(), Some("no test ran"));
    }
}
