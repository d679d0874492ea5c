//! ADD.

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use super::{FAULTS, HOST_LOCAL, IPVLAN, LETTER, REFUSALS};
use crate::conformance::answers::{is_error, is_silent, left, seen};
use crate::conformance::case::{Case, INTERFACE, addresses};
use crate::conformance::rule::{Role, Rule, Section, probe};
use crate::conformance::subject::Room;
use crate::conformance::verdict::{Findings, Verdict};

pub(super) const SECTION: Section = Section {
    title: "ADD",
    rules: &[
        Rule::main(
            "ADD-1",
            "spec 2",
            "Makes `CNI_IFNAME` in `CNI_NETNS`: there, up, with the address of the result",
            probe!(add_makes_the_interface),
        )
        .also(&[IPVLAN]),
        Rule::main(
            "ADD-2",
            "spec 2",
            "Where a link of that name is, fails, touches nothing and leaves nothing",
            probe!(add_refuses_a_name_that_is_taken),
        )
        .also(&[IPVLAN]),
        Rule::any(
            "ADD-3",
            "spec 2",
            "A second ADD of the same container and interface fails, and changes nothing",
            probe!(a_second_add_fails),
        )
        .also(&[IPVLAN, HOST_LOCAL]),
        Rule::ipam(
            "ADD-4",
            "ours",
            "Also one that requests two addresses, of which it could have one: the first's stays held",
            probe!(a_second_add_takes_nothing_away),
        )
        .also(&[HOST_LOCAL]),
        Rule::main(
            "ADD-5",
            "spec 2",
            "Hands `prevResult` on: the interfaces of plugins before it stay in the result",
            probe!(add_hands_the_chain_on),
        )
        .also(&[LETTER]),
        Rule::main(
            "ADD-6",
            "ours",
            "What fails in the kernel (a route by a gateway that is out of reach) leaves neither \
             link nor address",
            probe!(a_failed_add_leaves_nothing),
        )
        .also(&[FAULTS, LETTER]),
        Rule::main(
            "ADD-7",
            "ours",
            "A `CNI_NETNS` that leads nowhere, or to a plain file, fails and leaves nothing",
            probe!(add_refuses_what_is_no_namespace),
        )
        .also(&[REFUSALS]),
    ],
};

fn add_makes_the_interface(case: &Case<'_>) -> Result<Verdict> {
    let result = case.added(&case.conf())?;
    let address = addresses(&result).pop().context("an address")?;
    let listed =
        case.pod.run(["ip", "-o", "address", "show", "dev", INTERFACE, "up"])?.success()?;
    let there = listed.contains(&format!(" {address} "));
    Ok(Verdict::of(there, if there { "up, with the address" } else { "not there, or not up" }))
}

fn add_refuses_a_name_that_is_taken(case: &Case<'_>) -> Result<Verdict> {
    case.pod.ip(&format!("link add {INTERFACE} type bridge\n"))?;
    let before = case.pod.snapshot()?;
    let answer = case.ask("ADD", &case.conf())?;
    let leftovers = case.leftovers(&before)?;
    let kept = is_error(&answer) && leftovers == "nothing left";
    Ok(Verdict::of(kept, format!("{}, {leftovers}", seen(&answer))))
}

fn a_second_add_fails(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.roomy(case.newest, Room::Some);
    let result = case.added(&conf)?;
    let before = case.pod.snapshot()?;
    let answer = case.ask("ADD", &conf)?;
    let changes = left(&before.changes(&case.pod.snapshot()?));
    let address = addresses(&result).pop().context("an address")?;
    let address = address.split('/').next().unwrap_or_default();
    let held = if case.is_free_here(address)? { "released" } else { "held" };
    let check = case.ask("CHECK", &Case::with_result(&conf, &result))?;
    let kept =
        is_error(&answer) && changes == "nothing left" && held == "held" && is_silent(&check);
    let (answer, check) = (seen(&answer), seen(&check));
    Ok(Verdict::of(kept, format!("{answer}, {changes}, address {held}; then CHECK: {check}")))
}

fn a_second_add_takes_nothing_away(case: &Case<'_>) -> Result<Verdict> {
    let mut conf = case.roomy(case.newest, Room::Some);
    let mut call = case.call("ADD", &conf);
    call.args = format!("{};IP={}", call.args, case.place().first());
    case.run(&call)?.success()?;
    conf["args"] = json!({"cni": {"ips": [case.place().outside()]}});
    let mut call = case.call("ADD", &conf);
    call.args = format!("{};IP={}", call.args, case.place().second());
    let answer = case.run(&call)?;
    let held = if case.is_free()? { "released" } else { "held" };
    let kept = is_error(&answer) && held == "held";
    Ok(Verdict::of(kept, format!("{}, address {held}", seen(&answer))))
}

fn add_hands_the_chain_on(case: &Case<'_>) -> Result<Verdict> {
    let earlier = json!({
        "cniVersion": case.newest, "interfaces": [{"name": "earlier0"}],
        "dns": {"nameservers": ["192.0.2.53"]},
    });
    let answer = case.ask("ADD", &case.conf_with("prevResult", earlier))?;
    let result = answer.json.clone().unwrap_or_default();
    let names: Vec<_> = result["interfaces"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|interface| interface["name"].as_str())
        .collect();
    let kept = names.contains(&"earlier0") && names.contains(&INTERFACE);
    Ok(Verdict::of(kept, format!("{}, interfaces {}", seen(&answer), names.join(", "))))
}

fn a_failed_add_leaves_nothing(case: &Case<'_>) -> Result<Verdict> {
    let before = case.pod.snapshot()?;
    let unreachable = json!([{"dst": "203.0.113.0/24", "gw": "192.0.2.1"}]);
    let answer = case.ask("ADD", &case.conf_with_ipam("routes", unreachable))?;
    let leftovers = case.leftovers(&before)?;
    let kept = is_error(&answer) && leftovers == "nothing left";
    Ok(Verdict::of(kept, format!("{}, {leftovers}", seen(&answer))))
}

fn add_refuses_what_is_no_namespace(case: &Case<'_>) -> Result<Verdict> {
    debug_assert_eq!(case.role, Role::Main);
    let file = case.path("file");
    fs::write(&file, "")?;
    let mut findings = Findings::default();
    for (what, path) in [("nowhere", "/nowhere".to_owned()), ("a file", file.display().to_string())]
    {
        let before = case.pod.snapshot()?;
        let mut call = case.call("ADD", &case.conf());
        call.netns = path;
        let answer = case.run(&call)?;
        let leftovers = case.leftovers(&before)?;
        let kept = is_error(&answer) && leftovers == "nothing left";
        findings.add(what, kept, format!("{}, {leftovers}", seen(&answer)));
    }
    Ok(findings.verdict())
}
