//! What a libtest executable (or `cargo test --doc`) says about itself at its end.

use std::str::FromStr;

use anyhow::{Context, Result};

/// The sums of all `test result:` lines seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How many summary lines there were: one per executable, one or more per doc test run.
    pub(crate) summaries: u32,
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) ignored: u32,
    pub(crate) filtered_out: u32,
}

impl Tally {
    /// Adds what a line says if it is a summary.
    ///
    /// # Errors
    /// If it starts as a summary and does not go on as one: then nothing is known about the tests.
    pub(crate) fn add_line(&mut self, line: &str) -> Result<()> {
        if let Some(summary) = line.strip_prefix("test result: ") {
            self.add(summary.parse().with_context(|| format!("not a libtest summary: {line:?}"))?);
        }
        Ok(())
    }

    /// Adds another tally.
    pub(crate) fn add(&mut self, other: Self) {
        self.summaries += other.summaries;
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.filtered_out += other.filtered_out;
    }

    /// Why this is not a full and green run; `None` if it is.
    pub(crate) fn problem(&self) -> Option<String> {
        if self.summaries == 0 {
            Some("printed no test summary".to_owned())
        } else if self.failed > 0 {
            Some(format!("{} failed", self.failed))
        } else if self.ignored > 0 || self.filtered_out > 0 {
            let (ignored, filtered_out) = (self.ignored, self.filtered_out);
            Some(format!("not run: {ignored} ignored, {filtered_out} filtered out"))
        } else {
            None
        }
    }
}

/// The part after `test result: `, such as
/// `ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
impl FromStr for Tally {
    type Err = anyhow::Error;

    fn from_str(summary: &str) -> Result<Self> {
        let (_, counts) = summary.split_once(". ").context("no verdict")?;
        let count = |what: &str| {
            counts
                .split("; ")
                .find_map(|part| part.strip_suffix(what)?.strip_suffix(' ')?.parse().ok())
                .with_context(|| format!("no number {what}"))
        };
        Ok(Self {
            summaries: 1,
            passed: count("passed")?,
            failed: count("failed")?,
            ignored: count("ignored")?,
            filtered_out: count("filtered out")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally_of(output: &str) -> Result<Tally> {
        let mut tally = Tally::default();
        output.lines().try_for_each(|line| tally.add_line(line))?;
        Ok(tally)
    }

    #[test]
    fn summaries_are_summed_and_other_lines_are_not() {
        let output = "running 2 tests\ntest a ... ok\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            it said: test result: ok. 9 passed\n\
            test result: FAILED. 1 passed; 3 failed; 4 ignored; 0 measured; 5 filtered out; finished in 0s\n";
        let expected = Tally { summaries: 2, passed: 3, failed: 3, ignored: 4, filtered_out: 5 };
        assert_eq!(tally_of(output).unwrap(), expected);
    }

    #[test]
    fn a_summary_that_cannot_be_read_is_an_error() {
        assert!(tally_of("test result: ok. many passed; 0 failed\n").is_err());
        assert!(tally_of("test result: ok\n").is_err());
    }

    #[test]
    fn only_a_full_green_run_has_no_problem() {
        let green = Tally { summaries: 1, passed: 1, ..Tally::default() };
        assert_eq!(green.problem(), None);
        assert!(Tally::default().problem().is_some());
        for bad in [
            Tally { failed: 1, ..green },
            Tally { ignored: 1, ..green },
            Tally { filtered_out: 1, ..green },
        ] {
            assert!(bad.problem().is_some(), "{bad:?}");
        }
    }
}
