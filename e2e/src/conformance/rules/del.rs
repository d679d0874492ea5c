//! DEL.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{INPUT, IPVLAN};
use crate::conformance::answers::{is_silent, left, seen};
use crate::conformance::case::{Case, addresses};
use crate::conformance::rule::{Role, Rule, Section, probe};
use crate::conformance::subject::Room;
use crate::conformance::verdict::{Findings, Verdict};
use crate::runtime::Call;

pub(super) const SECTION: Section = Section {
    title: "DEL",
    rules: &[
        Rule::any(
            "DEL-1",
            "spec 2",
            "Undoes the ADD: the interface is gone, the address free",
            probe!(del_undoes_the_add),
        )
        .also(&[IPVLAN]),
        Rule::any(
            "DEL-2",
            "spec 2",
            "Succeeds again and again, and where no ADD was",
            probe!(del_is_idempotent),
        )
        .also(&[IPVLAN]),
        Rule::any(
            "DEL-3",
            "spec 2",
            "Without `CNI_NETNS` releases the address",
            probe!(del_without_namespace),
        )
        .also(&[IPVLAN]),
        Rule::any(
            "DEL-4",
            "spec 2",
            "With a namespace that has vanished releases the address",
            probe!(del_of_a_vanished_namespace),
        )
        .also(&[IPVLAN]),
        Rule::any(
            "DEL-5",
            "ours",
            "With a plain file in place of the namespace, as an unmount leaves it, likewise",
            probe!(del_of_a_plain_file),
        )
        .also(&[IPVLAN]),
        Rule::any(
            "DEL-6",
            "ours",
            "With a configuration that has become invalid likewise (a range that is none; main: no \
             such NIC, no such mode)",
            probe!(del_with_a_broken_configuration),
        )
        .also(&[IPVLAN, INPUT]),
        Rule::any(
            "DEL-7",
            "ours",
            "With a `cniVersion` that is not spoken likewise",
            probe!(del_in_an_unknown_version),
        )
        .also(&[INPUT]),
        Rule::any(
            "DEL-8",
            "spec 2",
            "With `prevResult` likewise, and with one that cannot be decoded",
            probe!(del_with_any_previous_result),
        )
        .also(&[INPUT]),
        Rule::any(
            "DEL-9",
            "ours",
            "With malformed `CNI_ARGS` likewise, and with unknown ones",
            probe!(del_with_any_args),
        )
        .also(&["cni-proto/tests/protocol/environment.rs"]),
        Rule::any(
            "DEL-10",
            "spec 2",
            "Of one container's two interfaces takes away the named one only",
            probe!(del_takes_one_interface),
        ),
    ],
};

/// What a DEL must do: answer nothing, and free the address.
fn releases(case: &Case<'_>, what: &str, call: &Call, findings: &mut Findings) -> Result<()> {
    let answer = case.run(call)?;
    let address = if case.is_free()? { "free" } else { "held" };
    let kept = is_silent(&answer) && address == "free";
    findings.add(what, kept, format!("{}, address {address}", seen(&answer)));
    Ok(())
}

fn del_undoes_the_add(case: &Case<'_>) -> Result<Verdict> {
    let before = case.pod.snapshot()?;
    case.added(&case.conf())?;
    let mut findings = Findings::default();
    releases(case, "", &case.call("DEL", &case.conf()), &mut findings)?;
    let left = left(&before.changes(&case.pod.snapshot()?));
    findings.add("", left == "nothing left", left);
    Ok(findings.verdict())
}

fn del_is_idempotent(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    let answer = case.ask("DEL", &case.conf())?;
    findings.add("without an ADD", is_silent(&answer), seen(&answer));
    case.added(&case.conf())?;
    for _ in 0..3 {
        let answer = case.ask("DEL", &case.conf())?;
        findings.add("after one", is_silent(&answer), seen(&answer));
    }
    Ok(findings.verdict())
}

fn del_without_namespace(case: &Case<'_>) -> Result<Verdict> {
    case.added(&case.conf())?;
    let mut call = case.call("DEL", &case.conf());
    call.unset = vec!["CNI_NETNS".to_owned()];
    let mut findings = Findings::default();
    releases(case, "", &call, &mut findings)?;
    Ok(findings.verdict())
}

fn del_of_a_vanished_namespace(case: &Case<'_>) -> Result<Verdict> {
    let pod = case.another_pod()?;
    case.added_to(&pod, &case.conf())?;
    let call = case.call_for(&pod, "DEL", &case.conf());
    drop(pod);
    let mut findings = Findings::default();
    releases(case, "", &call, &mut findings)?;
    Ok(findings.verdict())
}

fn del_of_a_plain_file(case: &Case<'_>) -> Result<Verdict> {
    let pod = case.another_pod()?;
    case.added_to(&pod, &case.conf())?;
    let mut call = case.call_for(&pod, "DEL", &case.conf());
    drop(pod);
    let file = case.path("netns");
    fs::write(&file, "")?;
    call.netns = file.display().to_string();
    let mut findings = Findings::default();
    releases(case, "", &call, &mut findings)?;
    Ok(findings.verdict())
}

/// ADD with a sound configuration, DEL with each of these.
fn del_with(case: &Case<'_>, confs: Vec<(&str, Value)>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for (what, conf) in confs {
        case.added(&case.conf())?;
        releases(case, what, &case.call("DEL", &conf), &mut findings)?;
        // Where it failed, the next begins anew.
        case.ask("DEL", &case.conf())?.success().context("DEL with a sound configuration")?;
    }
    Ok(findings.verdict())
}

fn del_with_a_broken_configuration(case: &Case<'_>) -> Result<Verdict> {
    let no_range = json!([[{"subnet": "198.18.0.0/33"}]]);
    let mut confs = vec![
        ("range", case.conf_with_ipam("ranges", no_range)),
        ("no ranges", case.conf_with_ipam("ranges", Value::Null)),
    ];
    if case.role == Role::Main {
        confs.push(("NIC", case.conf_with("master", "nowhere0")));
        confs.push(("mode", case.conf_with("mode", "l9")));
    }
    del_with(case, confs)
}

fn del_in_an_unknown_version(case: &Case<'_>) -> Result<Verdict> {
    del_with(case, vec![("", case.conf_with("cniVersion", "9.9.9"))])
}

fn del_with_any_previous_result(case: &Case<'_>) -> Result<Verdict> {
    let result = case.added(&case.conf())?;
    case.ask("DEL", &case.conf())?.success()?;
    let with = |result: Value| Case::with_result(&case.conf(), &result);
    del_with(
        case,
        vec![
            ("that of the ADD", with(result)),
            ("one of version 9", with(json!({"cniVersion": "9", "ips": []}))),
            ("a broken one", with(json!({"ips": [{"address": 7}]}))),
        ],
    )
}

fn del_with_any_args(case: &Case<'_>) -> Result<Verdict> {
    let mut findings = Findings::default();
    for (what, args) in [("malformed", "junk"), ("unknown", "NOBODY_KNOWS=1")] {
        case.added(&case.conf())?;
        let mut call = case.call("DEL", &case.conf());
        args.clone_into(&mut call.args);
        releases(case, what, &call, &mut findings)?;
        case.ask("DEL", &case.conf())?.success()?;
    }
    Ok(findings.verdict())
}

fn del_takes_one_interface(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.roomy(case.newest, Room::Some);
    let mut calls = Vec::new();
    for interface in ["eth0", "eth1"] {
        let mut call = case.call("ADD", &conf);
        interface.clone_into(&mut call.interface);
        let result = case.run(&call)?.success()?.clone();
        let address = addresses(&result).pop().context("an address")?;
        "DEL".clone_into(&mut call.command);
        calls.push((call, address.split('/').next().unwrap_or_default().to_owned()));
    }
    let answer = case.run(&calls[1].0)?;
    let free = [case.is_free_here(&calls[0].1)?, case.is_free_here(&calls[1].1)?];
    let there = case.role == Role::Ipam || Case::has_link(&case.pod, "eth0")?;
    let kept = is_silent(&answer) && free == [false, true] && there;
    let other = if there && !free[0] { "the other stays" } else { "the other is gone" };
    Ok(Verdict::of(kept, format!("{}, {other}", seen(&answer))))
}
