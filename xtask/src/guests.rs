//! The ipvlan tests in virtual machines, several at once.
//!
//! An emulated processor is a thread, and few tests keep two of them busy: two guests end sooner
//! than one that does all of it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::executable::Executable;
use crate::prefixed::Prefixed;
use crate::request::Request;
use crate::verdict::{Tap, Verdict};
use crate::{kernel, packages, vm, workspace};

/// As many as the smallest machine has processors; each takes 3 GiB.
const GUESTS: usize = 2;

/// For all tests of a guest together.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// How many seconds a test takes alone in a guest, for those that take more than [`USUAL_SECONDS`].
/// Only the balance of the guests depends on it.
const LONG: &[(&str, u32)] = &[
    ("e2e/conformance", 215),
    ("e2e/ipvlan_faults", 190),
    ("e2e/runtime_rounds", 125),
    ("e2e/chain", 85),
    ("e2e/ipvlan_detect", 75),
    ("e2e/ipvlan", 75),
    ("e2e/runtime_podman", 75),
    ("e2e/service", 70),
    ("e2e/ipvlan_time", 65),
    ("e2e/runtime_containerd", 40),
];
const USUAL_SECONDS: u32 = 15;

/// Runs each of them in one of the guests.
///
/// # Errors
/// If there are none, or no machine can be started.
pub(crate) fn run(list: &[Executable], plugins: &Path) -> Result<Vec<Verdict>> {
    if list.is_empty() {
        bail!("no test asks for ipvlan: see the table in xtask/src/kernel_tests.rs");
    }
    // Once, and not by each guest.
    packages::ensure(&[packages::MACHINE, packages::NETWORK])?;
    kernel::ensure()?;
    let shares = shares(list);
    let shares = shares.iter().enumerate().filter(|(_, share)| !share.is_empty());
    thread::scope(|scope| {
        let guests: Vec<_> = shares
            .map(|(number, share)| scope.spawn(move || guest(number + 1, share, plugins)))
            .collect();
        let mut verdicts = Vec::new();
        for guest in guests {
            verdicts.extend(guest.join().ok().context("a guest's thread panicked")??);
        }
        Ok(verdicts)
    })
}

/// The tests by guest, such that all end at about the same time.
fn shares(list: &[Executable]) -> [Vec<&Executable>; GUESTS] {
    let seconds: BTreeMap<_, _> = LONG.iter().copied().collect();
    let seconds = |test: &Executable| *seconds.get(&*test.name()).unwrap_or(&USUAL_SECONDS);
    let mut longest_first: Vec<&Executable> = list.iter().collect();
    longest_first.sort_by_key(|test| Reverse(seconds(test)));
    let mut shares = [const { (0, Vec::new()) }; GUESTS];
    for test in longest_first {
        let least = shares.iter_mut().min_by_key(|(sum, _)| *sum);
        let (sum, share) = least.expect("there is a guest");
        *sum += seconds(test);
        share.push(test);
    }
    shares.map(|(_, share)| share)
}

fn guest(number: usize, share: &[&Executable], plugins: &Path) -> Result<Vec<Verdict>> {
    let own_file = std::env::current_exe()?.display().to_string();
    let command = vec![
        own_file,
        "guest-tests".to_owned(),
        plugins.display().to_string(),
        serde_json::to_string(share)?,
    ];
    let request = Request::new(command, workspace::root().to_owned());
    let name = format!("guest {number}");
    let prefix = format!("{name} | ");
    let (sender, receiver) = mpsc::channel();
    let stdout = Tap::new(Prefixed::new(prefix.clone(), io::stdout()), sender);
    let stderr = Prefixed::new(prefix, io::stderr());
    let run = vm::Run { request, out: None, timeout: TIMEOUT };
    let status = vm::run_with(&run, stdout, stderr)?;
    Ok(complete(&name, share, receiver.try_iter().collect(), status))
}

/// A guest's verdicts, one against each executable that it gave none about, and one against the
/// guest itself if it ended badly though every executable passed.
fn complete(
    guest: &str,
    share: &[&Executable],
    mut verdicts: Vec<Verdict>,
    status: u8,
) -> Vec<Verdict> {
    for tests in share {
        let name = tests.name();
        if !verdicts.iter().any(|verdict| verdict.name == name) {
            let problem = Some(format!("{guest} ended with status {status} before its end"));
            verdicts.push(Verdict { name, passed: 0, seconds: 0.0, problem });
        }
    }
    if status != 0 && verdicts.iter().all(|verdict| verdict.problem.is_none()) {
        let problem = Some(format!("ended with status {status} though every test passed"));
        verdicts.push(Verdict { name: guest.to_owned(), passed: 0, seconds: 0.0, problem });
    }
    verdicts
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
    fn every_test_is_in_one_share_and_the_longest_are_apart() {
        let list = ["a", "chain", "b", "conformance", "c", "ipvlan_faults"].map(executable);
        let shares = shares(&list);
        let mut all: Vec<_> = shares.iter().flatten().map(|test| test.target.as_str()).collect();
        all.sort_unstable();
        assert_eq!(all, ["a", "b", "c", "chain", "conformance", "ipvlan_faults"]);
        let longest = ["conformance", "ipvlan_faults"];
        for share in shares {
            assert_eq!(share.iter().filter(|it| longest.contains(&&*it.target)).count(), 1);
        }
    }

    #[test]
    fn tests_that_the_guest_never_reached_have_failed() {
        let seen = verdict("a", None);
        let (a, b) = (executable("a"), executable("b"));
        let verdicts = complete("guest 1", &[&a, &b], vec![seen.clone()], 125);
        assert_eq!(verdicts[0], seen);
        assert_eq!(verdicts[1].name, "e2e/b");
        assert!(verdicts[1].problem.is_some());
        assert_eq!(verdicts.len(), 2);
    }

    /// A kernel that panics in its last moments has run every test and is no good all the same.
    #[test]
    fn a_guest_that_ended_badly_after_green_tests_has_failed() {
        let a = executable("a");
        let green = vec![verdict("a", None)];
        assert_eq!(complete("guest 1", &[&a], green.clone(), 0), green);
        let verdicts = complete("guest 1", &[&a], green.clone(), 125);
        assert_eq!(verdicts[0], green[0]);
        assert_eq!(verdicts[1].name, "guest 1");
        assert!(verdicts[1].problem.as_deref().is_some_and(|problem| problem.contains("125")));
        // Status 1 is how it says that a test failed.
        let red = vec![verdict("a", Some("1 failed"))];
        assert_eq!(complete("guest 1", &[&a], red.clone(), 1), red);
    }
}
