//! What an ADD answers, in the newest layout in memory and in the asked-for one in text.
//!
//! Each group of versions with one layout is one module below, named after the first of them;
//! [`AddResult::to_json`] and [`AddResult::from_json`] choose it.

mod v0_1;
mod v0_3;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::decode::decode;
use crate::error::{Code, Error};
use crate::version::{Version, supported};

/// The result of an ADD (specification, section 5, "Add Success").
///
/// A main plugin lists the interfaces it made and ties each address to one; an IPAM plugin has no
/// `interfaces` and no [`IpConfig::interface`]. A chained plugin hands on `prev_result`, changed
/// where it changed something; fields that this type does not have are lost on that way, as with
/// Go's library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddResult {
    /// The interfaces made, inside and outside of the container.
    pub interfaces: Vec<Interface>,
    /// The addresses given to them.
    pub ips: Vec<IpConfig>,
    /// The routes made in the container.
    pub routes: Vec<Route>,
    /// What the container's resolver should use.
    pub dns: Dns,
}

impl AddResult {
    /// The object as printed in a version; empty lists are left out.
    ///
    /// What the version has no place for is dropped: before 1.1.0 `mtu`, `socketPath` and `pciID`
    /// of interfaces and all of a route but `dst` and `gw`; in 0.1.0 and 0.2.0 the interfaces, each
    /// family's addresses but its first, and the routes of a family without an address. A result
    /// without any address has neither `ip4` nor `ip6` there: Go's library refuses to print that,
    /// but at this point the work is done, and a failed ADD would leave it behind.
    ///
    /// # Errors
    /// Code 999 if it cannot be written as JSON, which no value of these types causes.
    pub fn to_json(&self, version: Version) -> Result<Value, Error> {
        match version {
            Version::V0_1_0 | Version::V0_2_0 => v0_1::print(self, version),
            Version::V0_3_0
            | Version::V0_3_1
            | Version::V0_4_0
            | Version::V1_0_0
            | Version::V1_1_0 => v0_3::print(self, version),
        }
        .map_err(|error| Error::new(Code::INTERNAL, error.to_string()))
    }

    /// Reads a result of any version, as [`Self::to_json`] prints it or Go's library does.
    ///
    /// Its keys tell the layout, since `prevResult` need not state a version, as the
    /// specification's examples do not: `ips`, or else `ip4` and `ip6`; with both, a `cniVersion`
    /// below 0.3.0 means the latter. Fields of 1.1.0 are read in older versions too, since Go's
    /// library prints them there; unknown keys are skipped.
    ///
    /// # Errors
    /// Code 6 naming the place: whoever printed the result broke it.
    pub fn from_json(value: &Value) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Keys {
            #[serde(rename = "cniVersion")]
            cni_version: Option<String>,
            ip4: Option<IgnoredAny>,
            ip6: Option<IgnoredAny>,
            ips: Option<IgnoredAny>,
        }
        if !value.is_object() {
            return Err(broken("it must be an object"));
        }
        let keys: Keys = decode(value).map_err(broken)?;
        let stated = match keys.cni_version.as_deref() {
            None | Some("") => None,
            Some(stated) => Some(stated.parse::<Version>().map_err(|_| {
                broken(format!("cniVersion: {stated:?} is none of {:?}", supported()))
            })?),
        };
        let has_families = keys.ip4.is_some() || keys.ip6.is_some();
        let families_count = keys.ips.is_none() || stated.is_some_and(|v| v < Version::V0_3_0);
        let parse = if has_families && families_count { v0_1::parse } else { v0_3::parse };
        let result = parse(value).map_err(broken)?;
        let count = result.interfaces.len();
        let astray = |ip: &IpConfig| ip.interface.is_some_and(|index| index >= count);
        match result.ips.iter().position(astray) {
            Some(ip) => Err(broken(format!(
                "ips[{ip}].interface: the index is beyond the {count} interfaces"
            ))),
            None => Ok(result),
        }
    }

    /// Reads what a delegate, such as an IPAM plugin, printed for its ADD. As for libcni, `null` is
    /// a result with nothing in it.
    ///
    /// # Errors
    /// Code 6 as [`Self::from_json`], also if the text is not one JSON value: DEL the delegate,
    /// since it may hold something.
    pub fn parse(stdout: &[u8]) -> Result<Self, Error> {
        match serde_json::from_slice(stdout).map_err(broken)? {
            Value::Null => Ok(Self::default()),
            value => Self::from_json(&value),
        }
    }
}

fn broken(cause: impl fmt::Display) -> Error {
    Error::new(Code::DECODE, "invalid result").with_details(cause.to_string())
}

/// One interface, in the container or on the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name in the namespace where it is.
    pub name: String,
    /// Its hardware address, lower case with colons; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub mac: Option<String>,
    /// Its MTU in bytes, since 1.1.0; `None` if not said.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "positive")]
    pub mtu: Option<u32>,
    /// The container's namespace, letter for letter as in `CNI_NETNS`; `None` on the node.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub sandbox: Option<String>,
    /// The socket that is the interface, for vhost-user and the like, since 1.1.0.
    #[serde(
        rename = "socketPath",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "text"
    )]
    pub socket_path: Option<String>,
    /// The PCI device under the interface, since 1.1.0.
    #[serde(
        rename = "pciID",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "text"
    )]
    pub pci_id: Option<String>,
}

impl Interface {
    /// The interface as versions before 1.1.0 say it.
    fn without_additions(&self) -> Self {
        Self { mtu: None, socket_path: None, pci_id: None, ..self.clone() }
    }
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpConfig {
    /// The address itself with the length of its subnet's prefix, as in `10.1.0.5/16`.
    pub address: IpNet,
    /// The subnet's gateway. It makes no route: [`AddResult::routes`] does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub gateway: Option<IpAddr>,
    /// Which of [`AddResult::interfaces`] has the address; `None` from an IPAM plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<usize>,
}

/// One route in the container; what is `None` is the kernel's or the plugin's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// The next hop; `None` means the gateway of the family's first address.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub gw: Option<IpAddr>,
    /// Path MTU in bytes, since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "positive")]
    pub mtu: Option<u32>,
    /// TCP's maximum segment size to announce, in bytes, since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "positive")]
    pub advmss: Option<u32>,
    /// Metric, lower first, since 1.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "positive")]
    pub priority: Option<u32>,
    /// Routing table, since 1.1.0; 0 is a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// Scope of the destinations, since 1.1.0: 0 global, 253 link, 254 host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
}

impl Route {
    /// A route with nothing but a destination.
    pub const fn to(dst: IpNet) -> Self {
        Self { dst, gw: None, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }

    /// The route as versions before 1.1.0 say it.
    const fn without_attributes(&self) -> Self {
        Self { gw: self.gw, ..Self::to(self.dst) }
    }
}

/// What a resolver should use, in the words of resolv.conf(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Servers, best first. Text, since a zone (`fe80::1%eth0`) is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub domain: Option<String>,
    /// Domains to try for short names, best first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options of the resolver, such as `ndots:5`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing at all is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Go prints an unset text or address as nothing and takes `""` for unset.
fn text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Go takes 0 for unset here.
fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<u32>::deserialize(deserializer)?.filter(|number| *number > 0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_keys_tell_the_layout_and_the_stated_version_breaks_a_tie() {
        let old = json!({"ip": "10.1.0.5/16"});
        let new = json!([{"address": "10.2.0.5/16"}, {"address": "10.2.0.6/16"}]);
        for (value, count) in [
            (json!({"cniVersion": "0.2.0", "ip4": old, "ips": new}), 1),
            (json!({"cniVersion": "1.0.0", "ip4": old, "ips": new}), 2),
            (json!({"cniVersion": "0.4.0", "ip4": old}), 1),
            (json!({"cniVersion": "0.1.0", "ips": new}), 2),
            (json!({"cniVersion": "", "IP4": old}), 1),
            (json!({"cniVersion": null, "ip4": old, "ips": null}), 1),
            (json!({"ip4": old, "ips": new}), 2),
            (json!({"ip6": old}), 1),
            (json!({"ip4": null, "ips": new}), 2),
            (json!({}), 0),
        ] {
            assert_eq!(AddResult::from_json(&value).unwrap().ips.len(), count, "{value}");
        }
    }

    #[test]
    fn a_broken_result_is_code_6_and_the_place() {
        let astray = json!([{"address": "10.1.0.5/16", "interface": 1}]);
        let versions = supported();
        for (value, details) in [
            (json!([]), "it must be an object".to_owned()),
            (json!({"cniVersion": "9"}), format!("cniVersion: \"9\" is none of {versions:?}")),
            (
                json!({"ips": [{"address": "10.1.0.5"}]}),
                "ips[0].address: invalid IP address syntax".to_owned(),
            ),
            (json!({"ips": [{}]}), "ips[0]: missing field `address`".to_owned()),
            (json!({"ip4": {"ip": 5}}), "ip4.ip: invalid type: integer `5`, expected".to_owned()),
            (
                json!({"interfaces": [{"name": "a"}], "ips": astray}),
                "ips[0].interface: the index is beyond the 1 interfaces".to_owned(),
            ),
        ] {
            let error = AddResult::from_json(&value).unwrap_err();
            assert_eq!(error.code, Code::DECODE);
            assert!(error.details.starts_with(&details), "{error}");
        }
    }

    #[test]
    fn a_delegate_prints_one_result_or_null() {
        let result = AddResult::parse(br#" {"ips":[{"address":"10.1.0.5/16"}]} "#).unwrap();
        assert_eq!(result.ips.len(), 1);
        assert_eq!(AddResult::parse(b"null\n"), Ok(AddResult::default()));
        for text in ["", "3", "{} {}", "{"] {
            assert_eq!(AddResult::parse(text.as_bytes()).unwrap_err().code, Code::DECODE, "{text}");
        }
    }
}
