//! The memory that a held address costs, by how it is kept: the growth of a fresh process.
//!
//! Not a timed bench: it starts itself once for each case, so that nothing that another case has
//! freed is used again unseen.

use std::env;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use workload::{every_second_free, full_book, resident_bytes};

/// Tells the child which case it is; the second argument is `--test` or absent.
const CASE: &str = "--case";

/// Builds what is measured, smaller for a test, and answers how many addresses are held in it.
type Build = fn(bool) -> usize;

const CASES: [(&str, Build); 2] =
    [("FreeRuns, every second address held", free_runs), ("Book, leases of pods", book)];

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let is_test = arguments.iter().any(|argument| argument == "--test");
    if let Some(at) = arguments.iter().position(|argument| argument == CASE) {
        let name = arguments.get(at + 1).map(String::as_str);
        let case = CASES.iter().find(|(case, _)| Some(*case) == name);
        let (_, build) = case.unwrap_or_else(|| panic!("{name:?} is no case"));
        return measure(*build, is_test);
    }
    let mut out = io::stdout();
    for (name, _) in CASES {
        let mut child = Command::new(env::current_exe()?);
        child.args([CASE, name]).args(is_test.then_some("--test"));
        let output = child.stderr(Stdio::inherit()).output()?;
        assert!(output.status.success(), "{name}: {}", output.status);
        write!(out, "{name}: {}", String::from_utf8_lossy(&output.stdout))?;
    }
    Ok(())
}

fn measure(build: Build, is_test: bool) -> io::Result<()> {
    let before = resident_bytes();
    let held = build(is_test) as u64;
    let grown = resident_bytes().saturating_sub(before);
    let each = grown / held;
    writeln!(io::stdout(), "{each} bytes each, {} MiB for {held}", grown >> 20)
}

fn free_runs(is_test: bool) -> usize {
    // Never freed: it has to be there when the growth is read.
    let (free, held) = every_second_free(if is_test { "10.0.0.0/16" } else { "10.0.0.0/8" });
    std::mem::forget(black_box(free));
    held
}

fn book(is_test: bool) -> usize {
    let leases = if is_test { 1_000 } else { 65_000 };
    let book = full_book(leases);
    let held = book.leases().count();
    std::mem::forget(black_box(book));
    held
}
