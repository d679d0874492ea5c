//! The keys of a configuration that our plugins understand: they ignore others, typing errors too.

use std::collections::BTreeSet;

use cni_coordinator::CoordinatorConfig;
use cni_proto::SPECIFIED_FIELDS;
use serde_json::Value;
use telemetry::LogSettings;

/// Beside the specification's: what a runtime reads of a list, and ours.
const OF_ALL: [&str; 2] = ["disableCheck", "log"];

/// Of `cni-ipvlan`, which is a program and no library; a test holds them against docs/config.md, as
/// one of that package does.
const OF_IPVLAN: [&str; 9] = [
    "master",
    "mode",
    "flag",
    "mtu",
    "linkInContainer",
    "detect",
    "detectEndpoint",
    "detectGateway",
    "debug",
];

/// The paths of keys of a plugin's object that it does not know. Nothing is said about plugins of
/// others, but for an `ipam` of ours.
pub(super) fn unknown(plugin: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut known: BTreeSet<&str> = SPECIFIED_FIELDS.iter().copied().chain(OF_ALL).collect();
    match plugin["type"].as_str() {
        Some("cni-ipvlan") => known.extend(OF_IPVLAN),
        Some("cni-coordinator") => {
            known.extend(CoordinatorConfig::fields());
            known.extend(CoordinatorConfig::TOLERATED);
        }
        _ => known.clear(),
    }
    if !known.is_empty() {
        add(&mut unknown, "", plugin, &known);
        add(&mut unknown, "log.", &plugin["log"], &LogSettings::FIELDS.into());
    }
    let ipam = &plugin["ipam"];
    if ipam["type"] == cni_ipam::IPAM_TYPE {
        let mut known = cni_ipam::pool_fields();
        known.extend(cni_ipam::range_fields());
        known.extend(LogSettings::PEER_FIELDS);
        known.insert("log");
        add(&mut unknown, "ipam.", ipam, &known);
        add(&mut unknown, "ipam.log.", &ipam["log"], &LogSettings::FIELDS.into());
    }
    unknown
}

/// Keys match in any ASCII case, as the plugins read them.
fn add(unknown: &mut Vec<String>, path: &str, object: &Value, known: &BTreeSet<&str>) {
    let keys = object.as_object().into_iter().flat_map(|object| object.keys());
    let is_unknown = |key: &&String| !known.iter().any(|known| known.eq_ignore_ascii_case(key));
    unknown.extend(keys.filter(is_unknown).map(|key| format!("{path}{key}")));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::documentation::documented;

    #[test]
    fn the_keys_of_ipvlan_are_those_of_the_documentation() {
        let all = documented("cni-ipvlan", "field");
        let own = all.iter().filter(|field| !field.starts_with("ipam."));
        let is_own = |field: &&str| !SPECIFIED_FIELDS.contains(field) && !OF_ALL.contains(field);
        let own: BTreeSet<_> = own.map(String::as_str).filter(is_own).collect();
        assert_eq!(own, OF_IPVLAN.into());
    }

    #[test]
    fn a_typing_error_is_found_wherever_it_is() {
        let ipvlan = json!({"type": "cni-ipvlan", "Master": "eth0", "mtuu": 1,
            "log": {"leval": "info"},
            "ipam": {"type": "cni-ipam", "cooldownSecond": 5, "log": {"File": "/a", "x": 1},
                "log_level": "debug", "NodeName": "n", "rangeStart": "10.0.0.1"}});
        let expected = ["mtuu", "log.leval", "ipam.cooldownSecond", "ipam.log.x"];
        assert_eq!(unknown(&ipvlan), expected);
        let bridge = json!({"type": "bridge", "mtuu": 1, "ipam": {"type": "cni-ipam", "x": 1}});
        assert_eq!(unknown(&bridge), ["ipam.x"]);
        let other = json!({"type": "cni-ipvlan", "ipam": {"type": "static", "addresses": []}});
        assert_eq!(unknown(&other), [""; 0]);
        let coordinator = json!({"type": "cni-coordinator", "vethMtu": 1, "hostRulTable": 1,
            "stateDir": "/run/x", "detectGateway": true});
        assert_eq!(unknown(&coordinator), ["hostRulTable"]);
    }
}
