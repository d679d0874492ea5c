//! GC.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{HEALING, INPUT};
use crate::conformance::answers::{is_silent, seen};
use crate::conformance::case::{Case, INTERFACE, addresses};
use crate::conformance::rule::{Role, Rule, Section, probe};
use crate::conformance::subject::Room;
use crate::conformance::verdict::Verdict;
use crate::pod::Pod;
use crate::runtime::Answer;

pub(super) const SECTION: Section = Section {
    title: "GC",
    rules: &[
        Rule::any(
            "GC-1",
            "spec 2",
            "Frees what is not listed and has no interface any more, keeps what is listed",
            probe!(gc_frees_what_is_not_listed),
        )
        .since("1.1.0")
        .also(&[HEALING]),
        Rule::any("GC-2", "spec 2", "A list of none frees all", probe!(gc_with_an_empty_list))
            .since("1.1.0")
            .also(&[INPUT]),
        Rule::any("GC-3", "ocicni", "So does `null`", probe!(gc_with_null))
            .since("1.1.0")
            .also(&[INPUT]),
        Rule::any(
            "GC-4",
            "ours",
            "Without the list, which the runtime must send, frees nothing",
            probe!(gc_without_a_list),
        )
        .since("1.1.0")
        .also(&[INPUT]),
        Rule::any(
            "GC-5",
            "libcni",
            "The list counts under its first name, `cni.dev/attachments`, too",
            probe!(gc_with_the_lists_first_name),
        )
        .since("1.1.0")
        .also(&[INPUT]),
        Rule::any(
            "GC-6",
            "spec 2",
            "Frees what is not listed though its interface, with the address, is still there",
            probe!(gc_of_a_living_interface),
        )
        .since("1.1.0")
        .also(&[HEALING]),
        Rule::any(
            "GC-7",
            "spec 2",
            "Is about its own network: another network's addresses stay",
            probe!(gc_spares_other_networks),
        )
        .since("1.1.0"),
        Rule::any("GC-8", "spec 2", "Can be repeated", probe!(gc_is_idempotent)).since("1.1.0"),
    ],
};

/// A pod with an interface, and its address.
fn attached(case: &Case<'_>) -> Result<(Pod, String)> {
    let pod = case.another_pod()?;
    let result = case.added_to(&pod, &case.roomy(case.newest, Room::Some))?;
    let address = addresses(&result).pop().context("an address")?;
    Ok((pod, address.split('/').next().unwrap_or_default().to_owned()))
}

/// Takes the interface away behind the plugin's back, as the end of a namespace does.
fn end(case: &Case<'_>, pod: &Pod) -> Result<()> {
    if case.role == Role::Main {
        pod.ip(&format!("link del {INTERFACE}\n"))?;
    }
    Ok(())
}

fn listed(pod: &Pod) -> Value {
    json!({"containerID": pod.spec().sandbox_id, "ifname": INTERFACE})
}

fn held(case: &Case<'_>, address: &str) -> Result<&'static str> {
    Ok(if case.is_free_here(address)? { "freed" } else { "kept" })
}

/// How old an address is when a GC has no reason any more to take it for younger than its list.
const AGE: Duration = Duration::from_secs(2);

/// GC again and again until it has freed the address, or has not although it is old enough.
fn collect(case: &Case<'_>, conf: &Value, address: &str) -> Result<(Answer, &'static str)> {
    let begun = Instant::now();
    loop {
        let is_old = begun.elapsed() > AGE;
        let answer = case.ask("GC", conf)?;
        let held = held(case, address)?;
        if held == "freed" || is_old || !is_silent(&answer) {
            return Ok((answer, held));
        }
    }
}

/// One pod whose interface has ended, and a GC with this list.
fn gc(case: &Case<'_>, list: Option<(&str, Value)>, expected: &str) -> Result<Verdict> {
    let (pod, address) = attached(case)?;
    end(case, &pod)?;
    let mut conf = case.roomy(case.newest, Room::Some);
    if let Some((key, list)) = list {
        conf[key] = list;
    }
    let (answer, held) = collect(case, &conf, &address)?;
    Ok(Verdict::of(is_silent(&answer) && held == expected, format!("{}, {held}", seen(&answer))))
}

const LIST: &str = "cni.dev/valid-attachments";

fn gc_frees_what_is_not_listed(case: &Case<'_>) -> Result<Verdict> {
    let ((first, kept), (second, freed)) = (attached(case)?, attached(case)?);
    end(case, &first)?;
    end(case, &second)?;
    let mut conf = case.roomy(case.newest, Room::Some);
    conf[LIST] = json!([listed(&first)]);
    let (answer, other) = collect(case, &conf, &freed)?;
    let listed = held(case, &kept)?;
    let seen = format!("{}, listed {listed}, other {other}", seen(&answer));
    Ok(Verdict::of(is_silent(&answer) && (listed, other) == ("kept", "freed"), seen))
}

fn gc_with_an_empty_list(case: &Case<'_>) -> Result<Verdict> {
    gc(case, Some((LIST, json!([]))), "freed")
}

fn gc_with_null(case: &Case<'_>) -> Result<Verdict> {
    gc(case, Some((LIST, Value::Null)), "freed")
}

fn gc_without_a_list(case: &Case<'_>) -> Result<Verdict> {
    gc(case, None, "kept")
}

fn gc_with_the_lists_first_name(case: &Case<'_>) -> Result<Verdict> {
    gc(case, Some(("cni.dev/attachments", json!([]))), "freed")
}

fn gc_of_a_living_interface(case: &Case<'_>) -> Result<Verdict> {
    let (pod, address) = attached(case)?;
    if case.role == Role::Ipam {
        pod.ip(&format!(
            "link add {INTERFACE} type bridge\naddress add {address}/24 dev {INTERFACE}\n"
        ))?;
    }
    let mut conf = case.roomy(case.newest, Room::Some);
    conf[LIST] = json!([]);
    let (answer, held) = collect(case, &conf, &address)?;
    Ok(Verdict::of(is_silent(&answer) && held == "freed", format!("{}, {held}", seen(&answer))))
}

fn gc_spares_other_networks(case: &Case<'_>) -> Result<Verdict> {
    let (pod, address) = attached(case)?;
    end(case, &pod)?;
    let mut conf = case.roomy(case.newest, Room::Some);
    conf["name"] = json!(format!("{}-other", case.place().network));
    conf[LIST] = json!([]);
    let (answer, held) = collect(case, &conf, &address)?;
    Ok(Verdict::of(is_silent(&answer) && held == "kept", format!("{}, {held}", seen(&answer))))
}

fn gc_is_idempotent(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.conf_with(LIST, json!([]));
    case.ask("GC", &conf)?;
    let answer = case.ask("GC", &conf)?;
    Ok(Verdict::of(is_silent(&answer), seen(&answer)))
}
