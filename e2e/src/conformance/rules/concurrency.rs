//! Operations at the same time.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{IPVLAN, PARALLEL, STORM};
use crate::conformance::answers::{is_silent, seen};
use crate::conformance::case::{Case, addresses};
use crate::conformance::rule::{Rule, Section, probe};
use crate::conformance::subject::Room;
use crate::conformance::verdict::{Findings, Verdict};
use crate::pod::Pod;
use crate::runtime::{Answer, Call};

pub(super) const SECTION: Section = Section {
    title: "Operations at the same time",
    rules: &[
        Rule::any(
            "CON-1",
            "spec 2",
            "Six containers can be added at once, with an address of its own each",
            probe!(adds_at_once),
        )
        .also(&[IPVLAN, PARALLEL]),
        Rule::any(
            "CON-2",
            "go-cni",
            "So can two interfaces of one container",
            probe!(two_interfaces_at_once),
        ),
        Rule::any(
            "CON-3",
            "spec 2",
            "ADDs of some and DELs of others can run at once",
            probe!(adds_and_dels_at_once),
        )
        .also(&[STORM]),
        Rule::inside(
            "CON-4",
            "ours",
            "A DEL after an ADD that was killed, at any instant, restores what was before",
            &[STORM, "ipam-store/tests/crash"],
        ),
    ],
};

fn at_once(case: &Case<'_>, calls: &[Call]) -> Result<Vec<Answer>> {
    let running: Vec<_> = calls.iter().map(|call| case.start(call)).collect::<Result<_>>()?;
    running.into_iter().map(crate::runtime::Running::wait).collect()
}

fn pods(case: &Case<'_>, count: usize) -> Result<Vec<Pod>> {
    (0..count).map(|_| case.another_pod()).collect()
}

/// Whether all succeeded, with different addresses.
fn all_differ(answers: &[Answer]) -> Verdict {
    let mut findings = Findings::default();
    for answer in answers {
        findings.add("", answer.is_success(), seen(answer));
    }
    let results = answers.iter().filter_map(|answer| answer.json.as_ref());
    let different: BTreeSet<_> = results.flat_map(addresses).collect();
    let kept = different.len() == answers.len();
    findings.add("", kept, format!("{} addresses", different.len()));
    findings.verdict()
}

fn adds_at_once(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.roomy(case.newest, Room::Some);
    let pods = pods(case, 6)?;
    let calls: Vec<_> = pods.iter().map(|pod| case.call_for(pod, "ADD", &conf)).collect();
    Ok(all_differ(&at_once(case, &calls)?))
}

fn two_interfaces_at_once(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.roomy(case.newest, Room::Some);
    let mut calls = [case.call("ADD", &conf), case.call("ADD", &conf)];
    "eth1".clone_into(&mut calls[1].interface);
    Ok(all_differ(&at_once(case, &calls)?))
}

fn adds_and_dels_at_once(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.roomy(case.newest, Room::Some);
    let pods = pods(case, 6)?;
    for pod in &pods[..3] {
        case.added_to(pod, &conf)?;
    }
    let verb = |index| if index < 3 { "DEL" } else { "ADD" };
    let calls: Vec<_> = pods
        .iter()
        .enumerate()
        .map(|(index, pod)| case.call_for(pod, verb(index), &conf))
        .collect();
    let answers = at_once(case, &calls)?;
    let mut findings = Findings::default();
    for answer in &answers[..3] {
        findings.add("DEL", is_silent(answer), seen(answer));
    }
    for answer in &answers[3..] {
        findings.add("ADD", answer.is_success(), seen(answer));
    }
    Ok(findings.verdict())
}
