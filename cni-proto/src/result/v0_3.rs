//! The layout since 0.3.0: lists of interfaces, addresses and routes.
//!
//! 1.0.0 took the family's number from `ips[]`, 1.1.0 added optional fields.

use std::borrow::Cow;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AddResult, Dns, Interface, IpConfig, Route};
use crate::decode::{DecodeError, decode};
use crate::version::Version;

#[derive(Serialize)]
struct Printed<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    interfaces: Cow<'a, [Interface]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<PrintedIp<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    routes: Cow<'a, [Route]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<&'a Dns>,
}

#[derive(Serialize)]
struct PrintedIp<'a> {
    /// `"4"` or `"6"`, before 1.0.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(flatten)]
    ip: &'a IpConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parsed {
    interfaces: Vec<Interface>,
    /// `version` is skipped: the address says it too.
    ips: Vec<IpConfig>,
    routes: Vec<Route>,
    dns: Dns,
}

pub(super) fn print(result: &AddResult, version: Version) -> serde_json::Result<Value> {
    let (interfaces, routes) = if version < Version::V1_1_0 {
        let interfaces = result.interfaces.iter().map(Interface::without_additions);
        let routes = result.routes.iter().map(Route::without_attributes);
        (Cow::Owned(interfaces.collect()), Cow::Owned(routes.collect()))
    } else {
        (Cow::Borrowed(&*result.interfaces), Cow::Borrowed(&*result.routes))
    };
    let before_1_0_0 = version < Version::V1_0_0;
    let ips = result.ips.iter().map(|ip| PrintedIp {
        version: before_1_0_0.then_some(match ip.address {
            IpNet::V4(_) => "4",
            IpNet::V6(_) => "6",
        }),
        ip,
    });
    serde_json::to_value(Printed {
        cni_version: version.as_str(),
        interfaces,
        ips: ips.collect(),
        routes,
        // Not optional before 0.4.0: `{}` if nothing is said, as Go's library prints in 0.4.0 too.
        dns: (before_1_0_0 || !result.dns.is_empty()).then_some(&result.dns),
    })
}

pub(super) fn parse(value: &Value) -> Result<AddResult, DecodeError> {
    let Parsed { interfaces, mut ips, routes, dns } = decode(value)?;
    if interfaces.is_empty() {
        // 0.3.1's own example has an index and no interfaces. It leads nowhere.
        for ip in &mut ips {
            ip.interface = None;
        }
    }
    Ok(AddResult { interfaces, ips, routes, dns })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn full() -> Value {
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [{
                "name": "eth0", "mac": "00:11:22:33:44:55", "mtu": 1500, "sandbox": "/run/netns/a",
                "socketPath": "/run/a.sock", "pciID": "0000:00:1f.6",
            }],
            "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 0}],
            "routes": [{
                "dst": "::/0", "gw": "fd00::1", "mtu": 1400, "advmss": 1360, "priority": 100,
                "table": 0, "scope": 0,
            }],
            "dns": {
                "nameservers": ["10.1.0.1"], "domain": "a.example", "search": ["a.example"],
                "options": ["ndots:5"],
            },
        })
    }

    #[test]
    fn nothing_is_lost_in_1_1_0_and_the_additions_in_1_0_0() {
        let result = AddResult::from_json(&full()).unwrap();
        assert_eq!(result.to_json(Version::V1_1_0).unwrap(), full());

        let mut older = full();
        older["cniVersion"] = json!("1.0.0");
        for field in ["mtu", "socketPath", "pciID"] {
            older["interfaces"][0].as_object_mut().unwrap().remove(field);
        }
        older["routes"] = json!([{"dst": "::/0", "gw": "fd00::1"}]);
        assert_eq!(result.to_json(Version::V1_0_0).unwrap(), older);
    }

    #[test]
    fn an_empty_result_is_its_version() {
        let printed = AddResult::default().to_json(Version::V1_0_0).unwrap();
        assert_eq!(printed, json!({"cniVersion": "1.0.0"}));
    }

    #[test]
    fn what_go_takes_for_unset_is_none() {
        let value = json!({
            "Interfaces": [{"NAME": "eth0", "mac": "", "mtu": 0, "sandbox": null}],
            "ips": [{"address": "10.1.0.5/16", "gateway": "", "interface": 0}],
            "routes": null,
            "dns": {"domain": "", "search": null},
            "later": 1,
        });
        let result = AddResult::from_json(&value).unwrap();
        let eth0 = Interface { name: "eth0".to_owned(), ..Interface::default() };
        assert_eq!(result.interfaces, [eth0]);
        assert_eq!(result.ips[0].gateway, None);
        assert_eq!((result.routes.len(), result.dns.is_empty()), (0, true));
    }

    #[test]
    fn before_1_0_0_an_address_has_its_family_and_dns_is_always_there() {
        let address = |text: &str| IpConfig {
            address: text.parse().unwrap(),
            gateway: None,
            interface: None,
        };
        let ips = vec![address("10.1.0.5/16"), address("fd00::5/64")];
        let result = AddResult { ips, ..AddResult::default() };
        for version in ["0.3.0", "0.3.1", "0.4.0"] {
            let printed = result.to_json(version.parse().unwrap()).unwrap();
            let expected = json!({
                "cniVersion": version,
                "ips": [
                    {"version": "4", "address": "10.1.0.5/16"},
                    {"version": "6", "address": "fd00::5/64"},
                ],
                "dns": {},
            });
            assert_eq!(printed, expected);
            assert_eq!(AddResult::from_json(&printed).unwrap(), result);
        }
    }

    #[test]
    fn an_index_into_no_list_at_all_is_none() {
        let value = json!({"ips": [{"version": "4", "address": "10.0.0.5/32", "interface": 0}]});
        assert_eq!(AddResult::from_json(&value).unwrap().ips[0].interface, None);
    }
}
