//! CHECK.

use anyhow::Result;
use serde_json::{Value, json};

use super::LETTER;
use crate::conformance::answers::{is_error, is_silent, left, seen};
use crate::conformance::case::{Case, INTERFACE, one_route};
use crate::conformance::rule::{Role, Rule, Section, probe};
use crate::conformance::verdict::{Findings, Verdict};

pub(super) const SECTION: Section = Section {
    title: "CHECK",
    rules: &[
        Rule::any(
            "CHK-1",
            "spec 2",
            "Succeeds right after the ADD, and changes nothing",
            probe!(check_succeeds_after_add),
        )
        .since("0.4.0")
        .also(&[LETTER]),
        Rule::main(
            "CHK-2",
            "spec 2",
            "Fails if the interface is gone, or is a link of another kind",
            probe!(check_sees_the_link),
        )
        .since("0.4.0")
        .also(&[LETTER]),
        Rule::main("CHK-3", "spec 2", "Fails if the address is gone", probe!(check_sees_addresses))
            .since("0.4.0")
            .also(&[LETTER]),
        Rule::main("CHK-4", "spec 2", "Fails if a route is gone", probe!(check_sees_routes))
            .since("0.4.0")
            .also(&[LETTER]),
        Rule::main("CHK-5", "ours", "Fails if the interface is down", probe!(check_sees_it_down))
            .since("0.4.0")
            .also(&[LETTER]),
        Rule::main(
            "CHK-6",
            "ours",
            "Fails if the interface has a larger MTU than the result; a smaller one is a chained plugin's",
            probe!(check_sees_the_mtu),
        )
        .since("1.1.0")
        .also(&[LETTER]),
        Rule::any(
            "CHK-7",
            "spec 2, 4",
            "Fails if the address is no longer reserved",
            probe!(check_sees_the_reservation),
        )
        .since("0.4.0")
        .also(&[LETTER]),
        Rule::ipam(
            "CHK-8",
            "spec 2",
            "Fails if another address is reserved than `prevResult` has",
            probe!(check_compares_the_address),
        )
        .since("0.4.0"),
        Rule::main(
            "CHK-9",
            "spec 2",
            "Allows what later plugins of the chain add: an address, a route",
            probe!(check_allows_additions),
        )
        .since("0.4.0")
        .also(&[LETTER]),
        Rule::main(
            "CHK-10",
            "spec 2",
            "Allows what they move: a route in another table, as the plugin sbr does it",
            probe!(check_allows_moved_routes),
        )
        .since("0.4.0")
        .also(&[LETTER]),
        Rule::main(
            "CHK-11",
            "spec 2",
            "Fails without `prevResult`",
            probe!(check_needs_the_result),
        )
        .since("0.4.0")
        .also(&[LETTER]),
    ],
};

/// An ADD with a route, and the configuration of its CHECK.
fn added(case: &Case<'_>) -> Result<Value> {
    let conf = case.conf_with_ipam("routes", one_route(case.place()));
    let result = case.added(&conf)?;
    Ok(Case::with_result(&conf, &result))
}

/// CHECK after the pod was changed.
fn fails_after(case: &Case<'_>, change: &str) -> Result<Verdict> {
    let conf = added(case)?;
    case.pod.ip(change)?;
    let answer = case.ask("CHECK", &conf)?;
    Ok(Verdict::of(is_error(&answer), seen(&answer)))
}

fn succeeds_after(case: &Case<'_>, change: &str) -> Result<Verdict> {
    let conf = added(case)?;
    case.pod.ip(change)?;
    let answer = case.ask("CHECK", &conf)?;
    Ok(Verdict::of(is_silent(&answer), seen(&answer)))
}

fn check_succeeds_after_add(case: &Case<'_>) -> Result<Verdict> {
    let conf = added(case)?;
    let before = case.pod.snapshot()?;
    let answer = case.ask("CHECK", &conf)?;
    let left = left(&before.changes(&case.pod.snapshot()?));
    let held = !case.is_free()?;
    let kept = is_silent(&answer) && left == "nothing left" && held;
    Ok(Verdict::of(kept, seen(&answer)))
}

fn check_sees_the_link(case: &Case<'_>) -> Result<Verdict> {
    let conf = added(case)?;
    let mut findings = Findings::default();
    case.pod.ip(&format!("link del {INTERFACE}\n"))?;
    let answer = case.ask("CHECK", &conf)?;
    findings.add("gone", is_error(&answer), seen(&answer));
    let address = case.place().first();
    case.pod.ip(&format!(
        "link add {INTERFACE} type bridge\naddress add {address}/24 dev {INTERFACE}\n\
         link set {INTERFACE} up\nroute add 203.0.113.0/24 via {} dev {INTERFACE}\n",
        case.place().gateway()
    ))?;
    let answer = case.ask("CHECK", &conf)?;
    findings.add("of another kind", is_error(&answer), seen(&answer));
    Ok(findings.verdict())
}

fn check_sees_addresses(case: &Case<'_>) -> Result<Verdict> {
    let address = case.place().first();
    // The route would go with it.
    let outside = case.place().outside();
    fails_after(
        case,
        &format!(
            "address add {outside}/24 dev {INTERFACE}\naddress del {address}/24 dev {INTERFACE}\n\
             address replace {outside}/24 dev {INTERFACE}\n\
             route replace 203.0.113.0/24 via {} dev {INTERFACE}\n",
            case.place().gateway()
        ),
    )
}

fn check_sees_routes(case: &Case<'_>) -> Result<Verdict> {
    fails_after(case, &format!("route del 203.0.113.0/24 dev {INTERFACE}\n"))
}

fn check_sees_it_down(case: &Case<'_>) -> Result<Verdict> {
    fails_after(case, &format!("link set {INTERFACE} down\n"))
}

fn check_sees_the_mtu(case: &Case<'_>) -> Result<Verdict> {
    fails_after(case, &format!("link set {INTERFACE} mtu 2000\n"))
}

fn check_sees_the_reservation(case: &Case<'_>) -> Result<Verdict> {
    let conf = added(case)?;
    case.release_behind(&case.pod)?;
    let answer = case.ask("CHECK", &conf)?;
    Ok(Verdict::of(is_error(&answer), seen(&answer)))
}

fn check_compares_the_address(case: &Case<'_>) -> Result<Verdict> {
    debug_assert_eq!(case.role, Role::Ipam);
    let mut conf = added(case)?;
    conf["prevResult"]["ips"][0]["address"] = json!(format!("{}/24", case.place().outside()));
    let answer = case.ask("CHECK", &conf)?;
    Ok(Verdict::of(is_error(&answer), seen(&answer)))
}

fn check_allows_additions(case: &Case<'_>) -> Result<Verdict> {
    let gateway = case.place().gateway();
    succeeds_after(
        case,
        &format!(
            "address add 192.0.2.7/32 dev {INTERFACE}\n\
             route add 198.51.100.0/24 via {gateway} dev {INTERFACE}\n"
        ),
    )
}

fn check_allows_moved_routes(case: &Case<'_>) -> Result<Verdict> {
    let gateway = case.place().gateway();
    succeeds_after(
        case,
        &format!(
            "route del 203.0.113.0/24 dev {INTERFACE}\n\
             route add 203.0.113.0/24 via {gateway} dev {INTERFACE} table 100\n"
        ),
    )
}

fn check_needs_the_result(case: &Case<'_>) -> Result<Verdict> {
    case.added(&case.conf())?;
    let answer = case.ask("CHECK", &case.conf())?;
    Ok(Verdict::of(is_error(&answer), seen(&answer)))
}
