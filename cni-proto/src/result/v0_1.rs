//! The layout of 0.1.0 and 0.2.0: one address per family, each with its gateway and its routes.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AddResult, Dns, IpConfig, Route};
use crate::decode::{DecodeError, decode};
use crate::version::Version;

#[derive(Serialize)]
struct Printed<'a> {
    #[serde(rename = "cniVersion")]
    cni_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<Family>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<Family>,
    /// Not optional before 0.4.0: `{}` if nothing is said.
    dns: &'a Dns,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parsed {
    ip4: Option<Family>,
    ip6: Option<Family>,
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
struct Family {
    ip: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::text")]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
}

impl Family {
    /// The first address of a family with all routes of that family. Without an address there is
    /// no place for routes.
    fn first_of(result: &AddResult, is_member: fn(&IpNet) -> bool) -> Option<Self> {
        let first = result.ips.iter().find(|ip| is_member(&ip.address))?;
        let routes = result.routes.iter().filter(|route| is_member(&route.dst));
        Some(Self {
            ip: first.address,
            gateway: first.gateway,
            routes: routes.map(Route::without_attributes).collect(),
        })
    }
}

pub(super) fn print(result: &AddResult, version: Version) -> serde_json::Result<Value> {
    serde_json::to_value(Printed {
        cni_version: version.as_str(),
        ip4: Family::first_of(result, |net| matches!(net, IpNet::V4(_))),
        ip6: Family::first_of(result, |net| matches!(net, IpNet::V6(_))),
        dns: &result.dns,
    })
}

pub(super) fn parse(value: &Value) -> Result<AddResult, DecodeError> {
    let Parsed { ip4, ip6, dns } = decode(value)?;
    let mut result = AddResult { dns, ..AddResult::default() };
    for Family { ip, gateway, routes } in ip4.into_iter().chain(ip6) {
        result.ips.push(IpConfig { address: ip, gateway, interface: None });
        result.routes.extend(routes);
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ip(address: &str, gateway: Option<&str>) -> IpConfig {
        IpConfig {
            address: address.parse().unwrap(),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            interface: None,
        }
    }

    fn route(dst: &str) -> Route {
        Route::to(dst.parse().unwrap())
    }

    #[test]
    fn the_first_address_of_a_family_takes_its_routes() {
        let mut result = AddResult {
            ips: vec![
                ip("fd00::5/64", None),
                ip("10.1.0.5/16", Some("10.1.0.1")),
                ip("10.1.0.6/16", None),
            ],
            routes: vec![
                route("::/0"),
                Route { priority: Some(5), ..route("10.9.0.0/16") },
                route("0.0.0.0/0"),
            ],
            ..AddResult::default()
        };
        assert_eq!(
            print(&result, Version::V0_2_0).unwrap(),
            json!({
                "cniVersion": "0.2.0",
                "ip4": {
                    "ip": "10.1.0.5/16", "gateway": "10.1.0.1",
                    "routes": [{"dst": "10.9.0.0/16"}, {"dst": "0.0.0.0/0"}],
                },
                "ip6": {"ip": "fd00::5/64", "routes": [{"dst": "::/0"}]},
                "dns": {},
            })
        );
        result.ips.remove(0);
        assert_eq!(print(&result, Version::V0_1_0).unwrap()["ip6"], Value::Null);
    }

    #[test]
    fn ip4_comes_before_ip6() {
        let value = json!({
            "IP6": {"ip": "fd00::5/64", "gateway": "", "routes": null},
            "ip4": {"ip": "10.1.0.5/16", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}]},
            "dns": null,
        });
        let gateway = Some("10.1.0.1".parse().unwrap());
        assert_eq!(
            parse(&value).unwrap(),
            AddResult {
                ips: vec![ip("10.1.0.5/16", None), ip("fd00::5/64", None)],
                routes: vec![Route { gw: gateway, ..route("0.0.0.0/0") }],
                ..AddResult::default()
            }
        );
        let error = parse(&json!({"ip4": {"gateway": "10.1.0.1"}})).unwrap_err();
        assert_eq!(error.to_string(), "ip4: missing field `ip`");
    }
}
