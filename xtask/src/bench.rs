//! `cargo xtask bench`: whole processes beside the peers', and the document with what came out.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::executable::Executable;
use crate::install::{self, Target};
use crate::request::Request;
use crate::{executable, packages, plugins, vm, workspace};

/// What the measured programs are compared with.
const REFERENCES: [&str; 2] = ["empty", "floor"];

/// The comparison on a kernel with ipvlan, which only the virtual machine has everywhere.
const IPVLAN: (&str, &str) = ("e2e", "ipvlan_time");

/// The coordinator beside commands, on this kernel.
const COORDINATOR: (&str, &str) = ("e2e", "coordinator_time");

/// For the guest's start and the comparison.
const GUEST_TIMEOUT: Duration = Duration::from_secs(1800);

/// Builds the programs as a node gets them, measures them and writes benches/RESULTS.md.
///
/// # Errors
/// If something does not compile, or a call that is measured fails.
pub(crate) fn run(quick: bool, without_guest: bool, churn_days: u32) -> Result<u8> {
    packages::ensure(&[packages::PEERS, packages::BENCH])?;
    let target = workspace::root().join("target");
    let (programs, disk) = (target.join("bench/programs"), target.join("bench/data"));
    install::run(&programs)?;
    references(&programs)?;
    let mut process = workspace::cargo();
    process.args(["run", "--release", "-p", "benches", "--bin", "process", "--"]);
    process.arg("--programs").arg(&programs).arg("--disk").arg(&disk);
    process.arg("--results").arg(workspace::root().join("benches/RESULTS.md"));
    process.arg("--plot").arg(workspace::root().join("benches/latency.svg"));
    process.args(["--commit", &commit()?, "--churn-days", &churn_days.to_string()]);
    if quick {
        process.arg("--quick");
    }
    let tests = executable::build_tests()?;
    let output = target.join("bench/coordinator.txt");
    process.arg("--coordinator").arg(coordinator(&tests, &programs, &output, quick)?);
    if !without_guest {
        let output = target.join("bench/ipvlan.txt");
        process.arg("--ipvlan").arg(ipvlan(&tests, &programs, &output, quick)?);
    }
    workspace::run(&mut process)?;
    Ok(0)
}

fn references(programs: &Path) -> Result<()> {
    let selection: Vec<&str> = REFERENCES.iter().flat_map(|name| ["--bin", name]).collect();
    let selection = [&["-p", "benches"], selection.as_slice()].concat();
    for program in install::build(&Target::choose()?, &selection, REFERENCES.len())? {
        let name = program.file_name().context("a program has a name")?;
        install::place(&program, programs, name.as_ref(), 0o755)?;
    }
    Ok(())
}

/// Runs the comparison in the guest with these programs; what it says goes to a file.
fn ipvlan(tests: &[Executable], programs: &Path, output: &Path, quick: bool) -> Result<PathBuf> {
    let test = comparison(tests, IPVLAN)?;
    let file = test.file.display().to_string();
    let mut request = Request::new(vec![file, "--nocapture".to_owned()], test.folder.clone());
    request.environment.extend(environment(programs, quick));
    let run = vm::Run { request, out: None, timeout: GUEST_TIMEOUT };
    let log = output.with_extension("log");
    let status = vm::run(&run, File::create(&log)?)?;
    let said = fs::read_to_string(&log)?;
    ensure!(status == 0, "the comparison ended with status {status}:\n{said}");
    fs::write(output, table_in(&said))?;
    Ok(output.to_owned())
}

/// Runs the coordinator's comparison here; what it says goes to a file.
fn coordinator(
    tests: &[Executable],
    programs: &Path,
    output: &Path,
    quick: bool,
) -> Result<PathBuf> {
    let test = comparison(tests, COORDINATOR)?;
    let mut process = Command::new(&test.file);
    process.arg("--nocapture").current_dir(&test.folder).envs(environment(programs, quick));
    let outcome = process.output()?;
    let said = String::from_utf8_lossy(&outcome.stdout);
    let complaint = String::from_utf8_lossy(&outcome.stderr);
    ensure!(outcome.status.success(), "the coordinator's comparison failed:\n{said}{complaint}");
    fs::write(output, table_in(&said))?;
    Ok(output.to_owned())
}

fn comparison<'a>(tests: &'a [Executable], name: (&str, &str)) -> Result<&'a Executable> {
    let test = tests.iter().find(|test| (&*test.package, &*test.target) == name);
    test.with_context(|| format!("there is no test {}", name.1))
}

fn environment(programs: &Path, quick: bool) -> Vec<(String, String)> {
    let mut environment =
        vec![(plugins::FOLDER_VARIABLE.to_owned(), programs.display().to_string())];
    if !quick {
        environment.push(("NODE_IPAM_TIME_ROUNDS".to_owned(), "25".to_owned()));
    }
    environment
}

/// What a test has printed, without the words of the test harness.
fn table_in(said: &str) -> String {
    let is_harness = |line: &str| {
        let starts = ["running ", "test "];
        starts.iter().any(|start| line.starts_with(start))
    };
    said.split_inclusive('\n').filter(|line| !is_harness(line)).collect()
}

fn commit() -> Result<String> {
    let said = |arguments: &[&str]| -> io::Result<String> {
        let output = Command::new("git").args(arguments).current_dir(workspace::root()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = said(&["rev-parse", "--short", "HEAD"])?;
    let is_changed = !said(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Ok(if is_changed { format!("{head} and changes") } else { head })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_test_harness_are_left_out() {
        let said =
            "\nrunning 1 test\n  a   1 ms\n  b   2 ms\n\ntest whole ... ok\n\ntest result: ok.\n";
        assert_eq!(table_in(said).trim(), "a   1 ms\n  b   2 ms");
    }
}
