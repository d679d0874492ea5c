//! `cargo xtask test`: every check of the project, part by part.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::executable::{self, Executable};
use crate::kernel_tests::{self, Sorted};
use crate::libtest::Tally;
use crate::report::Report;
use crate::request::Request;
use crate::verdict::{Tap, Verdict};
use crate::{demo, install, ipvlan, no_std, packages, plugins, supply, toolchain, vm, workspace};

/// For all tests in the guest together.
const GUEST_TIMEOUT: Duration = Duration::from_secs(3600);

const ANYWHERE: &str = "unit and property tests";
const HOST: &str = "namespace tests";
const WITHOUT_IPVLAN: &str = "tests without ipvlan";
const IPVLAN: &str = "ipvlan tests";

/// Runs every part that can run; answers 0 only if all passed.
pub(crate) fn run() -> Result<u8> {
    let mut report = Report::default();
    report.part("toolchain", toolchain::check);
    packages(&mut report);
    static_checks(&mut report);
    let built = report.value("compile tests", || {
        let built = executable::build_tests()?;
        let text = format!("{} executables", built.len());
        Ok((kernel_tests::sort(built), text))
    });
    let plugins = report.value("static programs", || {
        let folder = tempfile::Builder::new().prefix("node-ipam-programs-").tempdir()?;
        let figures = install::prove(folder.path())?;
        Ok((folder, figures))
    });
    let plugins = plugins.and_then(|folder| {
        report.value("programs with faults", || {
            let names = plugins::install_faulty(folder.path())?;
            Ok((folder, names))
        })
    });
    if let (Some(sorted), Some(plugins)) = (built, plugins) {
        report.part("table of kernel tests", || sorted.complete());
        executables(&mut report, &sorted, plugins.path());
    } else {
        for part in [ANYWHERE, HOST, WITHOUT_IPVLAN, IPVLAN] {
            report.not_run(part, "it did not compile");
        }
    }
    report.part("demo", || match demo::run(Vec::new())? {
        0 => Ok("the README's first command".to_owned()),
        status => bail!("it ended with status {status}"),
    });
    report.part("doc tests", doc_tests);
    report.part("examples", examples);
    report.part("two builds of the store", two_builds);

    let mut out = io::stdout();
    write!(out, "\n{report}")?;
    writeln!(out, "{}", if report.passed() { "all passed" } else { "FAILED" })?;
    Ok(u8::from(!report.passed()))
}

/// Programs that show how a library is used, and check what they show.
fn examples() -> Result<String> {
    let examples = executable::build_examples()?;
    for example in &examples {
        let mut command = Command::new(&example.file);
        command.current_dir(&example.folder).stdin(Stdio::null());
        workspace::run(&mut command)?;
    }
    ensure!(!examples.is_empty(), "cargo built no example");
    Ok(examples.iter().map(Executable::name).collect::<Vec<_>>().join(", "))
}

/// The store built with the previous release of its database library, beside this one.
fn two_builds() -> Result<String> {
    let target = workspace::root().join("target/previous-redb");
    let manifest = "ipam-store/previous-redb/Cargo.toml";
    let mut build = workspace::cargo();
    build.args(["build", "--locked", "--manifest-path", manifest, "--target-dir"]).arg(&target);
    workspace::run(&mut build)?;
    let mut test = workspace::cargo();
    test.args(["test", "-p", "ipam-store", "--test", "two_builds", "--", "--include-ignored"]);
    test.env("IPAM_PREVIOUS_REDB", target.join("debug/previous-redb"));
    workspace::run(&mut test)?;
    Ok("they share one file".to_owned())
}

fn packages(report: &mut Report) {
    report.part("packages", || {
        let mut groups = vec![packages::NETWORK, packages::PEERS, packages::RUNTIMES];
        if workspace::root().join("fuzz").exists() {
            groups.push(packages::FUZZ);
        }
        packages::ensure(&groups)?;
        Ok("installed".to_owned())
    });
}

fn static_checks(report: &mut Report) {
    let cargo = |arguments: &[&str]| {
        let mut cargo = workspace::cargo();
        cargo.args(arguments);
        cargo
    };
    let run = |mut command: Command| {
        workspace::run(&mut command).map(|()| workspace::command_line(&command))
    };
    report.part("format", || run(cargo(&["fmt", "--all", "--check"])));
    report.part("clippy", || {
        run(cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    report.part("documentation", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        run(doc)
    });
    report.part("licences and sources", supply::check);
    report.part("no_std", no_std::prove);
    if workspace::root().join("fuzz").exists() {
        report.part("fuzz targets compile", || {
            let mut check =
                cargo(&["check", "--all-targets", "--manifest-path", "fuzz/Cargo.toml"]);
            // As cargo-fuzz: what the targets ask of the crates is compiled with it alone.
            check.env("RUSTFLAGS", "--cfg fuzzing");
            run(check)
        });
    } else {
        report.not_needed("fuzz targets compile", "there is no folder fuzz");
    }
}

fn executables(report: &mut Report, sorted: &Sorted, plugins: &Path) {
    report.tests(ANYWHERE, false, || {
        Ok(sorted.anywhere.iter().map(|tests| announced(tests, plugins)).collect())
    });
    let has_ipvlan = match ipvlan::available() {
        Ok(has_ipvlan) => has_ipvlan,
        Err(problem) => {
            for part in [HOST, WITHOUT_IPVLAN, IPVLAN] {
                report.not_run(part, &format!("{problem:#}"));
            }
            return;
        }
    };
    let on_host = |list: &[Executable]| {
        let run = |tests| announced(tests, plugins).with_tests_required();
        Ok(list.iter().map(run).collect())
    };
    report.tests(HOST, true, || on_host(&sorted.host));
    if sorted.host_without_ipvlan.is_empty() {
        report.not_needed(WITHOUT_IPVLAN, "there are none");
    } else if has_ipvlan {
        report.not_needed(WITHOUT_IPVLAN, "this kernel has ipvlan");
    } else {
        report.tests(WITHOUT_IPVLAN, true, || on_host(&sorted.host_without_ipvlan));
    }
    if has_ipvlan {
        report.tests(IPVLAN, true, || on_host(&sorted.ipvlan));
    } else {
        let part = format!("{IPVLAN} (in the virtual machine)");
        report.tests(&part, true, || in_guest(&sorted.ipvlan, plugins));
    }
}

fn announced(tests: &Executable, plugins: &Path) -> Verdict {
    eprintln!("\nxtask: {}", tests.name());
    tests.run(plugins, io::stdout())
}

/// Runs all of them in one guest.
fn in_guest(list: &[Executable], plugins: &Path) -> Result<Vec<Verdict>> {
    if list.is_empty() {
        bail!("no test asks for ipvlan: see the table in xtask/src/kernel_tests.rs");
    }
    let own_file = std::env::current_exe()?.display().to_string();
    let command = vec![
        own_file,
        "guest-tests".to_owned(),
        plugins.display().to_string(),
        serde_json::to_string(list)?,
    ];
    let request = Request::new(command, workspace::root().to_owned());
    let (sender, receiver) = mpsc::channel();
    let run = vm::Run { request, out: None, timeout: GUEST_TIMEOUT };
    let status = vm::run(&run, Tap::new(io::stdout(), sender))?;
    Ok(complete(list, receiver.try_iter().collect(), status))
}

/// The guest's verdicts, one against each executable that it gave none about, and one against the
/// guest itself if it ended badly though every executable passed.
fn complete(list: &[Executable], mut verdicts: Vec<Verdict>, status: u8) -> Vec<Verdict> {
    for tests in list {
        let name = tests.name();
        if !verdicts.iter().any(|verdict| verdict.name == name) {
            let problem = Some(format!("the guest ended with status {status} before its end"));
            verdicts.push(Verdict { name, passed: 0, seconds: 0.0, problem });
        }
    }
    if status != 0 && verdicts.iter().all(|verdict| verdict.problem.is_none()) {
        let problem = Some(format!("ended with status {status} though every test passed"));
        verdicts.push(Verdict { name: "guest".to_owned(), passed: 0, seconds: 0.0, problem });
    }
    verdicts
}

/// Inside the guest: runs the executables and sends a verdict about each.
pub(crate) fn run_in_guest(plugins: &Path, list: &str) -> Result<u8> {
    let list: Vec<Executable> = serde_json::from_str(list)?;
    let mut failed = false;
    for tests in &list {
        let verdict = announced(tests, plugins).with_tests_required();
        failed |= verdict.problem.is_some();
        verdict.send(io::stdout())?;
    }
    Ok(u8::from(failed))
}

fn doc_tests() -> Result<String> {
    let mut tally = Tally::default();
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--workspace", "--doc"]);
    let code = executable::run_tallied(&mut cargo, io::stdout(), &mut tally)?;
    match tally.problem().or_else(|| executable::ended_badly(code)) {
        Some(problem) => bail!(problem),
        None if tally.passed == 0 => bail!("no test ran"),
        None => Ok(format!("{} tests", tally.passed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(target: &str) -> Executable {
        Executable {
            package: "e2e".into(),
            target: target.into(),
            kind: "test".into(),
            file: "/x".into(),
            folder: "/".into(),
        }
    }

    fn verdict(target: &str, problem: Option<&str>) -> Verdict {
        let problem = problem.map(str::to_owned);
        Verdict { name: format!("e2e/{target}"), passed: 1, seconds: 1.0, problem }
    }

    #[test]
    fn tests_that_the_guest_never_reached_have_failed() {
        let seen = verdict("a", None);
        let verdicts = complete(&[executable("a"), executable("b")], vec![seen.clone()], 125);
        assert_eq!(verdicts[0], seen);
        assert_eq!(verdicts[1].name, "e2e/b");
        assert!(verdicts[1].problem.is_some());
        assert_eq!(verdicts.len(), 2);
    }

    /// A kernel that panics in its last moments has run every test and is no good all the same.
    #[test]
    fn a_guest_that_ended_badly_after_green_tests_has_failed() {
        let green = vec![verdict("a", None)];
        assert_eq!(complete(&[executable("a")], green.clone(), 0), green);
        let verdicts = complete(&[executable("a")], green.clone(), 125);
        assert_eq!(verdicts[0], green[0]);
        assert_eq!(verdicts[1].name, "guest");
        assert!(verdicts[1].problem.as_deref().is_some_and(|problem| problem.contains("125")));
        // Status 1 is how it says that a test failed.
        let red = vec![verdict("a", Some("1 failed"))];
        assert_eq!(complete(&[executable("a")], red.clone(), 1), red);
    }
}
