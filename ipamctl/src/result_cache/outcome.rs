//! The addresses of an ADD's result, in whichever layout it is.
//!
//! Versions 0.1.0 and 0.2.0 have `ip4.ip` and `ip6.ip`; all from 0.3.0 to 1.1.0 have
//! `ips[].address` and an index into `interfaces` (specification, "Result Types" of each). What
//! is there decides, since old files do not always state their version.

use ipnet::IpNet;
use serde_json::Value;

use super::{CachedAddress, CachedInterface};

/// Whether the object has a field that only a result has.
pub(super) fn is_one(value: &Value) -> bool {
    ["cniVersion", "ips", "ip4", "ip6", "interfaces", "routes", "dns"]
        .iter()
        .any(|field| value.get(field).is_some())
}

/// The addresses in their order; what cannot be read is named in `strange`, with `place` in front.
pub(super) fn addresses(
    result: &Value,
    place: &str,
    strange: &mut Vec<String>,
) -> Vec<CachedAddress> {
    let mut addresses = Vec::new();
    let mut add =
        |field: String, text: &Value, interface| match text.as_str().map(str::parse::<IpNet>) {
            Some(Ok(address)) => addresses.push(CachedAddress { address, interface }),
            _ => strange.push(format!("{place}{field} {text}: it is no address with a prefix")),
        };
    for family in ["ip4", "ip6"] {
        if let Some(config) = result.get(family).filter(|config| !config.is_null()) {
            add(format!("{family}.ip"), &config["ip"], None);
        }
    }
    let ips = &result["ips"];
    for (index, ip) in ips.as_array().into_iter().flatten().enumerate() {
        add(format!("ips[{index}].address"), &ip["address"], interface(result, &ip["interface"]));
    }
    if !ips.is_array() && !ips.is_null() {
        strange.push(format!("{place}ips: it is no list"));
    }
    addresses
}

/// All interfaces that are in a sandbox.
pub(super) fn sandboxed(result: &Value) -> impl Iterator<Item = CachedInterface> {
    let all = result["interfaces"].as_array().into_iter().flatten();
    all.filter_map(described).filter(|interface| interface.sandbox.is_some())
}

/// An index without an interface behind it says nothing: early releases wrote -1 for "none".
fn interface(result: &Value, index: &Value) -> Option<CachedInterface> {
    let index = usize::try_from(index.as_u64()?).ok()?;
    described(result["interfaces"].get(index)?)
}

fn described(interface: &Value) -> Option<CachedInterface> {
    let text = |field: &str| interface[field].as_str().filter(|text| !text.is_empty());
    Some(CachedInterface {
        name: text("name")?.to_owned(),
        sandbox: text("sandbox").map(str::to_owned),
    })
}
