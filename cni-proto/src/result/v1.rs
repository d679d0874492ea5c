//! The layout of 1.0.0 and 1.1.0, which differ in a few optional fields.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AddResult, Dns, Interface, IpConfig, Route};
use crate::decode::{DecodeError, decode};
use crate::error::{Code, Error};
use crate::version::Version;

#[derive(Serialize)]
struct Printed<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    interfaces: Cow<'a, [Interface]>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ips: &'a [IpConfig],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    routes: Cow<'a, [Route]>,
    #[serde(skip_serializing_if = "Dns::is_empty")]
    dns: &'a Dns,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parsed {
    interfaces: Vec<Interface>,
    ips: Vec<IpConfig>,
    routes: Vec<Route>,
    dns: Dns,
}

pub(super) fn print(result: &AddResult, version: Version) -> Result<Value, Error> {
    let (interfaces, routes) = if version < Version::V1_1_0 {
        let interfaces = result.interfaces.iter().map(without_additions_of_1_1_0).collect();
        let routes =
            result.routes.iter().map(|route| Route { gw: route.gw, ..Route::to(route.dst) });
        (Cow::Owned(interfaces), Cow::Owned(routes.collect()))
    } else {
        (Cow::Borrowed(&*result.interfaces), Cow::Borrowed(&*result.routes))
    };
    let printed = Printed {
        cni_version: version.as_str(),
        interfaces,
        ips: &result.ips,
        routes,
        dns: &result.dns,
    };
    serde_json::to_value(printed).map_err(|error| Error::new(Code::INTERNAL, error.to_string()))
}

fn without_additions_of_1_1_0(interface: &Interface) -> Interface {
    Interface { mtu: None, socket_path: None, pci_id: None, ..interface.clone() }
}

pub(super) fn parse(value: &Value) -> Result<AddResult, DecodeError> {
    let Parsed { interfaces, ips, routes, dns } = decode(value)?;
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
        let result = AddResult::from_json(&full(), Version::V1_0_0).unwrap();
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
        let result = AddResult::from_json(&value, Version::V1_1_0).unwrap();
        let eth0 = Interface { name: "eth0".to_owned(), ..Interface::default() };
        assert_eq!(result.interfaces, [eth0]);
        assert_eq!(result.ips[0].gateway, None);
        assert_eq!((result.routes.len(), result.dns.is_empty()), (0, true));
    }

    #[test]
    fn a_broken_result_is_code_6_and_the_place() {
        let astray = json!([{"address": "10.1.0.5/16", "interface": 1}]);
        for (value, details) in [
            (json!([]), "it must be an object"),
            (json!({"cniVersion": "9"}), r#"cniVersion: "9" is none of ["1.0.0", "1.1.0"]"#),
            (
                json!({"ips": [{"address": "10.1.0.5"}]}),
                "ips[0].address: invalid IP address syntax",
            ),
            (json!({"ips": [{}]}), "ips[0]: missing field `address`"),
            (
                json!({"interfaces": [{"name": "a"}], "ips": astray}),
                "ips[0].interface: the index is beyond the 1 interfaces",
            ),
        ] {
            let error = AddResult::from_json(&value, Version::V1_1_0).unwrap_err();
            assert_eq!((error.code, error.details.as_str()), (Code::DECODE, details));
        }
    }
}
