//! What an ADD answers, in the newest layout in memory and in the asked-for one in text.
//!
//! Each group of versions with one layout is one module below; [`AddResult::to_json`] and
//! [`AddResult::from_json`] choose it.

mod v1;

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::decode::decode;
use crate::error::{Code, Error};
use crate::version::Version;

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
    /// The object as printed in a version; empty lists and an empty `dns` are left out.
    ///
    /// 1.0.0 lacks `mtu`, `socketPath` and `pciID` of interfaces and all of a route but `dst` and
    /// `gw`: these are dropped.
    ///
    /// # Errors
    /// Code 999 if the result has no form in that version, a defect of the plugin. No result is
    /// like that in the versions supported now.
    pub fn to_json(&self, version: Version) -> Result<Value, Error> {
        match version {
            Version::V1_0_0 | Version::V1_1_0 => v1::print(self, version),
        }
    }

    /// Reads a result: `prevResult`, or the output of a delegate.
    ///
    /// Its layout is the one of its own `cniVersion`; without that, of `implied`, the version of
    /// the configuration it came with. Fields of 1.1.0 are read in 1.0.0 too, since Go's library
    /// prints them there. Unknown keys are skipped.
    ///
    /// # Errors
    /// Code 6 naming the place: the runtime or an earlier plugin broke the result.
    pub fn from_json(value: &Value, implied: Version) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Stated {
            #[serde(rename = "cniVersion")]
            cni_version: Option<String>,
        }
        let broken = |cause: String| Error::new(Code::DECODE, "invalid result").with_details(cause);
        if !value.is_object() {
            return Err(broken("it must be an object".to_owned()));
        }
        let stated: Stated = decode(value).map_err(|error| broken(error.to_string()))?;
        let version = match stated.cni_version.as_deref() {
            None | Some("") => implied,
            Some(text) => text.parse().map_err(|_| {
                broken(format!("cniVersion: {text:?} is none of {:?}", crate::version::supported()))
            })?,
        };
        let result = match version {
            Version::V1_0_0 | Version::V1_1_0 => v1::parse(value),
        }
        .map_err(|error| broken(error.to_string()))?;

        let count = result.interfaces.len();
        let astray = |ip: &IpConfig| ip.interface.is_some_and(|index| index >= count);
        match result.ips.iter().position(astray) {
            Some(ip) => Err(broken(format!(
                "ips[{ip}].interface: the index is beyond the {count} interfaces"
            ))),
            None => Ok(result),
        }
    }
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
    T: FromStr<Err: std::fmt::Display>,
{
    let text = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Go takes 0 for unset here.
fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<u32>::deserialize(deserializer)?.filter(|number| *number > 0))
}
