//! The result of an ADD, in the layout of each version.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{CONVERSION, IPVLAN, IPVLAN_IPV6, LETTER, SPEC};
use crate::conformance::answers::seen;
use crate::conformance::case::{Case, INTERFACE, addresses, one_route};
use crate::conformance::rule::{Rule, Section, probe};
use crate::conformance::subject::{Room, is_since};
use crate::conformance::verdict::{Findings, Verdict};

pub(super) const SECTION: Section = Section {
    title: "Results",
    rules: &[
        Rule::any(
            "RES-1",
            "spec 0.2.0",
            "In 0.1.0 and 0.2.0: `ip4` and `ip6` with `ip`, `gateway` and the routes of the family; \
             neither `ips` nor `interfaces`",
            probe!(layout_of_the_first_versions),
        )
        .also(&[CONVERSION]),
        Rule::any(
            "RES-2",
            "spec 0.4.0",
            "From 0.3.0 to 0.4.0: `ips`, each with `version` \"4\" or \"6\"",
            probe!(layout_of_the_middle_versions),
        )
        .since("0.3.0")
        .also(&[CONVERSION]),
        Rule::any(
            "RES-3",
            "spec 5",
            "From 1.0.0: `ips` without `version`",
            probe!(layout_of_the_late_versions),
        )
        .since("1.0.0")
        .also(&[CONVERSION, SPEC]),
        Rule::main(
            "RES-4",
            "spec 5",
            "`interfaces[].mtu` is in results of 1.1.0 and in no earlier one",
            probe!(fields_of_the_newest_version),
        )
        .since("1.1.0")
        .also(&[CONVERSION]),
        Rule::main(
            "RES-5",
            "spec 5",
            "Just one interface has a `sandbox`: `CNI_IFNAME`, and it is `CNI_NETNS` to the letter",
            probe!(one_interface_in_the_sandbox),
        )
        .since("0.3.0")
        .also(&[IPVLAN]),
        Rule::main(
            "RES-6",
            "spec 5",
            "`ips[].interface` is that interface's index",
            probe!(addresses_have_its_index),
        )
        .since("0.3.0")
        .also(&[LETTER]),
        Rule::main(
            "RES-7",
            "spec 5",
            "`mac` is the link's, in lower case with colons",
            probe!(the_mac_is_the_links),
        )
        .since("0.3.0"),
        Rule::ipam(
            "RES-8",
            "spec 4",
            "An IPAM plugin's result has no `interfaces` and no `ips[].interface`",
            probe!(addresses_without_interfaces),
        )
        .since("0.3.0")
        .also(&["cni-ipam/tests/host_local/main.rs"]),
        Rule::any(
            "RES-9",
            "host-local",
            "Dual stack: one address of each list of ranges, in their order",
            probe!(both_families_in_order),
        )
        .since("0.3.0")
        .also(&[IPVLAN_IPV6]),
        Rule::any(
            "RES-10",
            "spec 5",
            "Lists that are empty are left out; nothing is `null`",
            probe!(no_empty_lists),
        )
        .since("1.0.0"),
        Rule::any(
            "RES-11",
            "host-local",
            "`gateway` is with the address, and routes are as they were asked for",
            probe!(gateways_and_routes),
        )
        .since("0.3.0")
        .also(&["cni-ipam/tests/host_local/pair.rs"]),
        Rule::main(
            "RES-12",
            "spec 5",
            "A route without `gw` goes to the gateway of the family's first address",
            probe!(a_route_without_gateway),
        )
        .also(&[LETTER]),
        Rule::main(
            "RES-13",
            "spec 2",
            "Without `ipam` the addresses of `prevResult` go on the interface, whatever its version",
            probe!(addresses_of_the_chain),
        )
        .also(&[LETTER]),
        Rule::any(
            "RES-14",
            "types",
            "An empty `dns` is `{}` up to 0.4.0, and left out from 1.0.0 on",
            probe!(an_empty_dns),
        )
        .also(&[CONVERSION]),
    ],
};

/// The result in each version of some, in which the check finds fault or not.
fn layout(
    case: &Case<'_>,
    is_one: impl Fn(&str) -> bool,
    fault: impl Fn(&str, &Value) -> Option<&'static str>,
) -> Result<Verdict> {
    let mut findings = Findings::default();
    for (version, answer) in case.results()?.iter().filter(|(version, _)| is_one(version)) {
        let fault = match (&answer.json, answer.is_success()) {
            (Some(result), true) => fault(version, result).map(str::to_owned),
            _ => Some(seen(answer)),
        };
        findings.add(version, fault.is_none(), fault.as_deref().unwrap_or("as it should be"));
    }
    Ok(findings.verdict())
}

fn has_lists(version: &str) -> bool {
    is_since(version, "0.3.0")
}

fn list<'a>(result: &'a Value, key: &str) -> &'a [Value] {
    result[key].as_array().map_or(&[], Vec::as_slice)
}

fn layout_of_the_first_versions(case: &Case<'_>) -> Result<Verdict> {
    layout(
        case,
        |version| !has_lists(version),
        |_, result| {
            let whole = ["ip4", "ip6"].iter().all(|key| {
                let ip = &result[key];
                ip["ip"].is_string() && ip["gateway"].is_string() && list(ip, "routes").len() == 1
            });
            if !result["ips"].is_null() || !result["interfaces"].is_null() {
                Some("keys of later versions")
            } else if !whole {
                Some("`ip4` or `ip6` lacks something")
            } else {
                None
            }
        },
    )
}

fn layout_of_the_middle_versions(case: &Case<'_>) -> Result<Verdict> {
    layout(
        case,
        |version| has_lists(version) && !is_since(version, "1.0.0"),
        |_, result| {
            let versions: Vec<_> = list(result, "ips").iter().map(|ip| &ip["version"]).collect();
            let as_asked = versions == [&json!("4"), &json!("6")];
            (!as_asked).then_some("`ips[].version` is not 4, then 6")
        },
    )
}

fn layout_of_the_late_versions(case: &Case<'_>) -> Result<Verdict> {
    layout(
        case,
        |version| is_since(version, "1.0.0"),
        |_, result| {
            let ips = list(result, "ips");
            if ips.len() != 2 {
                Some("not two `ips`")
            } else if ips.iter().any(|ip| !ip["version"].is_null()) {
                Some("`ips[].version`")
            } else {
                None
            }
        },
    )
}

fn fields_of_the_newest_version(case: &Case<'_>) -> Result<Verdict> {
    layout(case, has_lists, |version, result| {
        let has = list(result, "interfaces").iter().any(|it| !it["mtu"].is_null());
        let differs = has != is_since(version, "1.1.0");
        differs.then_some(if has { "it is there" } else { "it is not there" })
    })
}

fn in_the_sandbox(result: &Value) -> Vec<(usize, &Value)> {
    let interfaces = list(result, "interfaces").iter().enumerate();
    interfaces.filter(|(_, it)| it["sandbox"].as_str().is_some_and(|it| !it.is_empty())).collect()
}

fn one_interface_in_the_sandbox(case: &Case<'_>) -> Result<Verdict> {
    // Not the shortest way to the namespace.
    let mut call = case.call("ADD", &case.conf());
    call.netns = call.netns.replace("/run/netns/", "/run/../run/netns/./");
    let answer = case.run(&call)?;
    let result = answer.success()?;
    let inside = in_the_sandbox(result);
    let kept = matches!(inside[..], [(_, it)] if it["name"] == INTERFACE
        && it["sandbox"] == json!(call.netns));
    let sandbox = if kept { "`CNI_NETNS` to the letter" } else { "another `sandbox`" };
    Ok(Verdict::of(kept, format!("{} such, {sandbox}", inside.len())))
}

fn addresses_have_its_index(case: &Case<'_>) -> Result<Verdict> {
    layout(case, has_lists, |_, result| {
        let index = in_the_sandbox(result).first().map(|(index, _)| *index);
        let differs = |ip: &Value| ip["interface"] != json!(index);
        list(result, "ips").iter().any(differs).then_some("another one")
    })
}

fn the_mac_is_the_links(case: &Case<'_>) -> Result<Verdict> {
    let result = case.added(&case.conf())?;
    let inside = in_the_sandbox(&result);
    let mac = inside.first().and_then(|(_, it)| it["mac"].as_str()).unwrap_or("none");
    let link = case.pod.run(["ip", "-o", "link", "show", "dev", INTERFACE])?.success()?;
    // iproute2 prints it in this form.
    let kept = link.contains(&format!("link/ether {mac} "));
    Ok(Verdict::of(kept, if kept { "the link's" } else { "another form" }))
}

fn addresses_without_interfaces(case: &Case<'_>) -> Result<Verdict> {
    layout(case, has_lists, |_, result| {
        let named = list(result, "ips").iter().any(|ip| !ip["interface"].is_null());
        (named || !result["interfaces"].is_null()).then_some("there are some")
    })
}

fn both_families_in_order(case: &Case<'_>) -> Result<Verdict> {
    let conf = case.roomy(case.newest, Room::Dual);
    let mut other = conf.clone();
    other["ipam"]["ranges"] = conf["ipam"]["ranges"]
        .as_array()
        .map_or(Value::Null, |ranges| ranges.iter().rev().cloned().collect());
    let mut findings = Findings::default();
    for (conf, first_is_v4) in [(conf, true), (other, false)] {
        let result = case.added(&conf)?;
        case.ask("DEL", &conf)?;
        let is_v4: Vec<_> = addresses(&result).iter().map(|it| it.contains('.')).collect();
        let kept = is_v4 == [first_is_v4, !first_is_v4];
        findings.add("", kept, if kept { "in their order" } else { "in another order" });
    }
    Ok(findings.verdict())
}

fn no_empty_lists(case: &Case<'_>) -> Result<Verdict> {
    let result = case.added(&case.conf())?;
    let fields = result.as_object().context("a result is an object")?;
    let empty: Vec<_> = fields
        .iter()
        .filter(|(_, value)| value.is_null() || value.as_array().is_some_and(Vec::is_empty))
        .map(|(key, _)| format!("`{key}`"))
        .collect();
    let seen = if empty.is_empty() { "none".to_owned() } else { empty.join(", ") };
    Ok(Verdict::of(empty.is_empty(), seen))
}

fn gateways_and_routes(case: &Case<'_>) -> Result<Verdict> {
    let routes = one_route(case.place());
    let result = case.added(&case.conf_with_ipam("routes", routes.clone()))?;
    let gateway = result["ips"][0]["gateway"] == json!(case.place().gateway());
    let same =
        |(one, other): (&Value, &Value)| one["dst"] == other["dst"] && one["gw"] == other["gw"];
    let given = list(&result, "routes");
    let asked = routes.as_array().map_or(&[][..], Vec::as_slice);
    let routes = given.len() == asked.len() && given.iter().zip(asked).all(same);
    let seen = match (gateway, routes) {
        (true, true) => "both",
        (false, _) => "no gateway",
        (_, false) => "other routes",
    };
    Ok(Verdict::of(gateway && routes, seen))
}

fn a_route_without_gateway(case: &Case<'_>) -> Result<Verdict> {
    case.added(&case.conf_with_ipam("routes", json!([{"dst": "203.0.113.0/24"}])))?;
    let routes = case.pod.run(["ip", "route"])?.success()?;
    let gateway = case.place().gateway();
    let kept = routes.contains(&format!("203.0.113.0/24 via {gateway} dev {INTERFACE}"));
    Ok(Verdict::of(kept, if kept { "by the gateway" } else { "not so" }))
}

fn addresses_of_the_chain(case: &Case<'_>) -> Result<Verdict> {
    let address = format!("{}/24", case.place().first());
    let mut findings = Findings::default();
    for version in case.versions()? {
        let mut conf = case.conf_in(&version);
        conf["ipam"] = json!({});
        conf["prevResult"] = if is_since(&version, "1.0.0") {
            json!({"cniVersion": version, "ips": [{"address": address}]})
        } else if is_since(&version, "0.3.0") {
            json!({"cniVersion": version, "ips": [{"version": "4", "address": address}]})
        } else {
            json!({"cniVersion": version, "ip4": {"ip": address}})
        };
        let answer = case.ask("ADD", &conf)?;
        let listed = case.pod.run(["ip", "-o", "address"])?.success()?;
        let there = listed.contains(&format!(" {address} "));
        let same =
            answer.json.as_ref().is_some_and(|result| addresses(result) == [address.clone()]);
        let kept = answer.is_success() && there && same;
        let seen = if kept { "they are there".to_owned() } else { seen(&answer) };
        findings.add(&version, kept, seen);
        case.ask("DEL", &conf)?;
    }
    Ok(findings.verdict())
}

fn an_empty_dns(case: &Case<'_>) -> Result<Verdict> {
    layout(
        case,
        |_| true,
        |version, result| {
            let left_out = result["dns"].is_null();
            let differs = left_out != is_since(version, "1.0.0");
            differs.then_some(if left_out { "left out" } else { "`{}`" })
        },
    )
}
