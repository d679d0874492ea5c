//! The parts of a test run: announced, timed, and listed at the end.

use std::fmt::{self, Write as _};
use std::time::Instant;

use anyhow::Result;

use crate::verdict::Verdict;

/// How a part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Passed(String),
    Failed(String),
    /// There is nothing to do on this machine or in this state of the tree.
    NotNeeded(String),
}

#[derive(Debug, Clone)]
struct Row {
    part: String,
    ending: Ending,
    seconds: f64,
}

/// All parts so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Runs a part; its text says what was done. A part that fails does not stop the others.
    pub(crate) fn part(&mut self, part: &str, work: impl FnOnce() -> Result<String>) {
        self.value(part, || work().map(|text| ((), text)));
    }

    /// Runs a part that gives something to later parts; `None` if it failed.
    pub(crate) fn value<T>(
        &mut self,
        part: &str,
        work: impl FnOnce() -> Result<(T, String)>,
    ) -> Option<T> {
        let (began, result) = Self::timed(part, work);
        match result {
            Ok((value, text)) => {
                self.end(part, Ending::Passed(text), began);
                Some(value)
            }
            Err(problem) => {
                self.end(part, Ending::Failed(format!("{problem:#}")), began);
                None
            }
        }
    }

    /// Runs a part that is made of test executables, each with a row of its own when
    /// `each` is set. Fails also if no test ran at all.
    pub(crate) fn tests(
        &mut self,
        part: &str,
        each: bool,
        work: impl FnOnce() -> Result<Vec<Verdict>>,
    ) {
        let (began, result) = Self::timed(part, work);
        let verdicts = match result {
            Ok(verdicts) => verdicts,
            Err(problem) => {
                return self.end(part, Ending::Failed(format!("{problem:#}")), began);
            }
        };
        self.end(part, ending_of(&verdicts), began);
        for verdict in verdicts {
            if each || verdict.problem.is_some() {
                let ending = match verdict.problem {
                    None => Ending::Passed(format!("{} tests", verdict.passed)),
                    Some(problem) => Ending::Failed(problem),
                };
                let part = format!("  {}", verdict.name);
                self.rows.push(Row { part, ending, seconds: verdict.seconds });
            }
        }
    }

    /// Lists a part that has nothing to do, and why.
    pub(crate) fn not_needed(&mut self, part: &str, reason: &str) {
        eprintln!("\nxtask: {part}: not needed: {reason}");
        let ending = Ending::NotNeeded(reason.to_owned());
        self.rows.push(Row { part: part.to_owned(), ending, seconds: 0.0 });
    }

    /// Lists a part as failed because something before it failed.
    pub(crate) fn not_run(&mut self, part: &str, reason: &str) {
        self.end(part, Ending::Failed(format!("not run: {reason}")), Instant::now());
    }

    /// Whether no part failed.
    pub(crate) fn passed(&self) -> bool {
        !self.rows.iter().any(|row| matches!(row.ending, Ending::Failed(_)))
    }

    fn timed<T>(part: &str, work: impl FnOnce() -> Result<T>) -> (Instant, Result<T>) {
        eprintln!("\nxtask: {part}: start");
        let began = Instant::now();
        (began, work())
    }

    fn end(&mut self, part: &str, ending: Ending, began: Instant) {
        let row = Row { part: part.to_owned(), ending, seconds: began.elapsed().as_secs_f64() };
        let (word, text) = row.ending.words();
        eprintln!("xtask: {part}: {word} after {:.1} s: {text}", row.seconds);
        self.rows.push(row);
    }
}

impl Ending {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Passed(text) => ("ok", text),
            Self::Failed(text) => ("FAILED", text),
            Self::NotNeeded(text) => ("-", text),
        }
    }
}

fn ending_of(verdicts: &[Verdict]) -> Ending {
    let passed: u32 = verdicts.iter().map(|verdict| verdict.passed).sum();
    let failed: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| verdict.problem.is_some())
        .map(|verdict| verdict.name.as_str())
        .collect();
    if !failed.is_empty() {
        Ending::Failed(failed.join(", "))
    } else if passed == 0 {
        Ending::Failed("no test ran".to_owned())
    } else {
        Ending::Passed(format!("{passed} tests"))
    }
}

/// The final table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.part.chars().count()).max().unwrap_or(0).max(4);
        writeln!(f, "{:width$}  RESULT  SECONDS  DETAIL", "PART")?;
        for row in &self.rows {
            let (word, text) = row.ending.words();
            let mut line = String::new();
            let text = text.lines().next().unwrap_or_default();
            write!(line, "{:width$}  {word:6}  {:7.1}  {text}", row.part, row.seconds)?;
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn verdict(name: &str, passed: u32, problem: Option<&str>) -> Verdict {
        Verdict { name: name.into(), passed, seconds: 1.0, problem: problem.map(str::to_owned) }
    }

    #[test]
    fn a_failed_part_does_not_stop_the_next_but_fails_the_whole() {
        let mut report = Report::default();
        report.part("one", || Err(anyhow!("broken")));
        assert_eq!(report.value("two", || Ok((2, "fine".into()))), Some(2));
        assert!(!report.passed());
        let table = report.to_string();
        assert!(table.contains("one   FAILED"), "{table}");
        assert!(table.contains("two   ok"), "{table}");
    }

    #[test]
    fn a_part_without_any_test_fails_and_one_empty_executable_does_not() {
        let mut report = Report::default();
        report.tests("unit", false, || Ok(vec![verdict("a", 0, None), verdict("b", 2, None)]));
        assert!(report.passed());
        report.tests("none", false, || Ok(vec![verdict("a", 0, None)]));
        assert!(!report.passed());
    }

    #[test]
    fn a_failed_executable_is_always_named() {
        let mut report = Report::default();
        report.tests("unit", false, || Ok(vec![verdict("a/b", 1, Some("1 failed"))]));
        assert!(!report.passed());
        assert!(report.to_string().contains("\n  a/b  FAILED"), "{report}");
    }

    #[test]
    fn what_is_not_needed_is_no_failure_but_what_is_not_run_is() {
        let mut report = Report::default();
        report.not_needed("fuzz", "no folder fuzz");
        assert!(report.passed());
        report.not_run("unit", "the tests did not compile");
        assert!(!report.passed());
    }
}
