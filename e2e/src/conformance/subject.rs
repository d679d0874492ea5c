//! The plugins under test, and how they are configured.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

/// The CNI versions that there are.
pub const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// Whether `version` is one of [`VERSIONS`] and not older than `since`.
pub(super) fn is_since(version: &str, since: &str) -> bool {
    let place = |version| VERSIONS.iter().position(|known| *known == version);
    place(version).is_some_and(|version| Some(version) >= place(since))
}

/// A main plugin and an IPAM plugin in one folder, with a configuration of each.
///
/// In the configurations some words stand for what each rule has of its own: `{subnet}` (a /24),
/// `{gateway}` (its first address), `{first}` and `{last}` (what may be given of it), `{subnet6}` (a
/// /64), `{dataDir}` (an absolute path), and `{ranges}`, alone, for all of these as host-local's
/// list.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    /// `CNI_PATH`: the folder.
    pub plugin_dir: PathBuf,
    /// `type` of the main plugin.
    pub main: String,
    /// `ipam.type`.
    pub ipam: String,
    /// Fields of the configuration.
    pub main_config: Value,
    /// Fields of `ipam`.
    pub ipam_config: Value,
}

/// What one rule has of its own.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The network's name.
    pub(super) network: String,
    /// Counted from 0; below 512.
    pub(super) number: u16,
    /// Of the IPAM plugin.
    pub(super) data_dir: String,
}

/// How many addresses a network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// One of IPv4.
    One,
    /// Thirty-one of IPv4.
    Some,
    /// One of IPv4, then thirty-one of IPv6.
    Dual,
}

impl Subject {
    /// Plugins with the configuration that is built in for their names: NIC `eth0` of the node for
    /// those that have a `master`, host-local's fields for the IPAM plugin.
    pub fn new(plugin_dir: impl Into<PathBuf>, main: &str, ipam: &str) -> Self {
        let main_config = match main {
            "bridge" => json!({"bridge": "conform0"}),
            "cni-ipvlan" | "ipvlan" | "macvlan" => json!({"master": "eth0"}),
            _ => json!({}),
        };
        let mut ipam_config = json!({"dataDir": "{dataDir}", "ranges": "{ranges}"});
        if ipam == "cni-ipam" {
            // An emulated machine is ten times slower than any node.
            ipam_config["lockTimeoutMs"] = json!(300_000);
        }
        let (main, ipam) = (main.to_owned(), ipam.to_owned());
        Self { plugin_dir: plugin_dir.into(), main, ipam, main_config, ipam_config }
    }

    /// The same with fields of the configuration, or of `ipam`, in place of the built-in ones or
    /// besides them; `null` takes one away (RFC 7396, without its depth).
    pub fn merge(fields: &mut Value, with: &Value) {
        let (Value::Object(fields), Value::Object(with)) = (fields, with) else { return };
        for (key, value) in with {
            if value.is_null() {
                fields.remove(key);
            } else {
                fields.insert(key.clone(), value.clone());
            }
        }
    }

    /// The configuration of a network.
    pub(super) fn configuration(&self, version: &str, place: &Place, room: Room) -> Value {
        let mut ipam = filled(&self.ipam_config, place, room);
        ipam["type"] = json!(self.ipam);
        let mut all = filled(&self.main_config, place, room);
        Self::merge(
            &mut all,
            &json!({
                "cniVersion": version, "name": place.network, "type": self.main, "ipam": ipam,
            }),
        );
        all
    }
}

impl Place {
    /// The benchmarking network (RFC 2544), since nobody else on the machine has addresses of it.
    fn prefix(&self) -> String {
        format!("198.{}.{}", 18 + self.number / 256, self.number % 256)
    }

    pub(super) fn subnet(&self) -> String {
        format!("{}.0/24", self.prefix())
    }

    pub(super) fn gateway(&self) -> String {
        format!("{}.1", self.prefix())
    }

    /// The only address of [`Room::One`].
    pub(super) fn first(&self) -> String {
        format!("{}.10", self.prefix())
    }

    /// Another one of [`Room::Some`].
    pub(super) fn second(&self) -> String {
        format!("{}.11", self.prefix())
    }

    /// An address that no range has.
    pub(super) fn outside(&self) -> String {
        format!("{}.200", self.prefix())
    }

    pub(super) fn subnet6(&self) -> String {
        format!("fd00:c0f:{:x}::/64", self.number)
    }

    fn last(&self, room: Room) -> String {
        let last = if room == Room::Some { 40 } else { 10 };
        format!("{}.{last}", self.prefix())
    }
}

fn filled(template: &Value, place: &Place, room: Room) -> Value {
    match template {
        Value::String(text) if text == "{ranges}" => ranges(place, room),
        Value::String(text) => json!(
            text.replace("{subnet}", &place.subnet())
                .replace("{subnet6}", &place.subnet6())
                .replace("{gateway}", &place.gateway())
                .replace("{first}", &place.first())
                .replace("{last}", &place.last(room))
                .replace("{dataDir}", &place.data_dir)
        ),
        Value::Array(list) => list.iter().map(|item| filled(item, place, room)).collect(),
        Value::Object(object) => {
            let filled = |(key, value): (&String, _)| (key.clone(), filled(value, place, room));
            Value::Object(object.iter().map(filled).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

fn ranges(place: &Place, room: Room) -> Value {
    let v4 = json!([{
        "subnet": place.subnet(), "rangeStart": place.first(), "rangeEnd": place.last(room),
    }]);
    if room != Room::Dual {
        return json!([v4]);
    }
    let v6 = format!("fd00:c0f:{:x}::", place.number);
    let v6 = json!([{
        "subnet": place.subnet6(), "rangeStart": format!("{v6}10"), "rangeEnd": format!("{v6}2e"),
    }]);
    json!([v4, v6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_with_what_the_rule_has() {
        let mut subject = Subject::new("/x", "ipvlan", "whereabouts");
        let other = json!({"ranges": null, "range": "{subnet}", "log": ["{dataDir}/log", 7]});
        Subject::merge(&mut subject.ipam_config, &other);
        let place = Place { network: "n".into(), number: 257, data_dir: "/data".into() };
        assert_eq!(
            subject.configuration("1.0.0", &place, Room::One),
            json!({
                "cniVersion": "1.0.0", "name": "n", "type": "ipvlan", "master": "eth0",
                "ipam": {
                    "type": "whereabouts", "range": "198.19.1.0/24", "dataDir": "/data",
                    "log": ["/data/log", 7],
                },
            })
        );
        let conf = Subject::new("/x", "bridge", "host-local");
        let ranges = &conf.configuration("1.0.0", &place, Room::Dual)["ipam"]["ranges"];
        assert_eq!(ranges[0][0]["rangeEnd"], "198.19.1.10");
        assert_eq!(ranges[1][0]["subnet"], "fd00:c0f:101::/64");
    }

    #[test]
    fn versions_are_compared_by_age() {
        assert!(is_since("1.1.0", "0.4.0") && is_since("0.4.0", "0.4.0"));
        assert!(!is_since("0.3.1", "0.4.0") && !is_since("2.0.0", "0.1.0"));
    }
}
