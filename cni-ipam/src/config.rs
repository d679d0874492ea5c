//! The `ipam` object of a network configuration, for pools that were applied on the node.

use std::path::PathBuf;

use cni_proto::{Code, DelConfig, Error, NetworkConfig};
use ipam_core::{NamedPools, NetworkRef, NodeName, PoolPattern};
use serde::Deserialize;

use crate::cluster::{DEFAULT_NAMESPACES_FILE, NamespacesFile};
use crate::place::{Fields, Place};

/// The value of `ipam.type` that means this crate.
pub const IPAM_TYPE: &str = "cni-ipam";

/// What `ipam` says about applied pools, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpamConfig {
    /// This node: `ipam.nodeName`, else the host name.
    pub node: NodeName,
    /// This network as pools name it: `ipam.network`, else the configuration's `name`.
    pub network: NetworkRef,
    /// `ipam.default_ipv4_ippool` and `ipam.default_ipv6_ippool`: names of pools or wildcards over
    /// them. `None` if neither is there, which means the default pools.
    pub pools: Option<NamedPools>,
    /// `ipam.clean_gateway`: whether no interface of this network gets a default route.
    pub clean_gateway: bool,
    /// `ipam.namespacesFile`: what the cluster says about namespaces and this node.
    pub(crate) namespaces_file: NamespacesFile,
    /// Where the leases are, and by which rules.
    pub place: Place,
}

#[derive(Debug, Default, Deserialize)]
struct Outer {
    #[serde(default)]
    ipam: Option<Ipam>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Ipam {
    #[serde(default)]
    network: Option<String>,
    #[serde(default, rename = "nodeName")]
    node_name: Option<String>,
    #[serde(default)]
    default_ipv4_ippool: Option<Vec<String>>,
    #[serde(default)]
    default_ipv6_ippool: Option<Vec<String>>,
    #[serde(default)]
    clean_gateway: Option<bool>,
    #[serde(default, rename = "namespacesFile")]
    namespaces_file: Option<PathBuf>,
}

impl IpamConfig {
    /// Reads `ipam` of a configuration for ADD.
    ///
    /// # Errors
    ///
    /// Code 7 with the field and its value: the configuration has to change.
    pub fn new(config: &NetworkConfig) -> Result<Self, Error> {
        let fields = fields_of_add(config)?;
        let ipam = config.plugin::<Outer>()?.ipam.unwrap_or_default();
        let node = match &ipam.node_name {
            Some(name) => name.parse().map_err(|error| invalid("nodeName", name, error))?,
            None => host_name()?,
        };
        let network = if let Some(text) = &ipam.network {
            text.parse().map_err(|error| invalid("network", text, error))?
        } else {
            let name = config.name.as_str();
            NetworkRef::from(name.parse::<ipam_core::NetworkName>().map_err(|error| {
                Error::new(Code::INVALID_CONFIG, format!("name {name:?}: {error}"))
            })?)
        };
        let v4 = patterns("default_ipv4_ippool", ipam.default_ipv4_ippool.as_deref())?;
        let v6 = patterns("default_ipv6_ippool", ipam.default_ipv6_ippool.as_deref())?;
        let pools = (!v4.is_empty() || !v6.is_empty()).then_some(NamedPools { v4, v6 });
        Ok(Self {
            node,
            network,
            pools,
            clean_gateway: ipam.clean_gateway == Some(true),
            namespaces_file: namespaces_file(ipam.namespaces_file)?,
            place: Place::of_pools(&fields),
        })
    }
}

fn namespaces_file(path: Option<PathBuf>) -> Result<NamespacesFile, Error> {
    match path {
        None => Ok(NamespacesFile { path: DEFAULT_NAMESPACES_FILE.into(), named: false }),
        Some(path) if path.is_absolute() => Ok(NamespacesFile { path, named: true }),
        Some(path) => {
            let rule = "it must be an absolute path: a plugin runs in any directory";
            Err(invalid("namespacesFile", &path.display().to_string(), rule))
        }
    }
}

fn patterns(field: &str, texts: Option<&[String]>) -> Result<Vec<PoolPattern>, Error> {
    let pattern = |text: &String| text.parse().map_err(|error| invalid(field, text, error));
    texts.unwrap_or_default().iter().map(pattern).collect()
}

/// `ipam`, if nothing but its place matters.
#[derive(Debug, Default, Deserialize)]
struct Placed {
    #[serde(default)]
    ipam: Option<Fields>,
}

#[derive(Debug, Default, Deserialize)]
struct Typed {
    #[serde(default)]
    ipam: Option<Kind>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Kind {
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// The place, from a configuration that is for this crate and by which an ADD may write.
pub(crate) fn fields_of_add(config: &NetworkConfig) -> Result<Fields, Error> {
    let kind = config.plugin::<Typed>()?.ipam.unwrap_or_default().kind.unwrap_or_default();
    if kind != IPAM_TYPE {
        return Err(invalid("type", &kind, format!("it must be {IPAM_TYPE:?}")));
    }
    let fields = fields(config)?;
    if let Some(relative) = fields.data_dir.as_ref().filter(|path| !path.is_absolute()) {
        let rule = "it must be an absolute path: a plugin runs in any directory";
        return Err(invalid("dataDir", &relative.display().to_string(), rule));
    }
    Ok(fields)
}

/// The place, from a configuration that has to be right.
pub(crate) fn fields(config: &NetworkConfig) -> Result<Fields, Error> {
    Ok(config.plugin::<Placed>()?.ipam.unwrap_or_default())
}

/// The place for DEL, whatever else `ipam` says or no longer says.
pub(crate) fn fields_of_del(config: &DelConfig) -> Fields {
    config.plugin::<Placed>().ipam.unwrap_or_default()
}

/// The name that kubelet registers a node under when nobody overrides it: the host name in lower
/// case.
fn host_name() -> Result<NodeName, Error> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_string_lossy().to_lowercase();
    name.parse().map_err(|error| {
        let msg = format!("the host name is no node name: {error}; set ipam.nodeName");
        Error::new(Code::INVALID_CONFIG, msg)
    })
}

pub(crate) fn invalid(field: &str, value: &str, rule: impl std::fmt::Display) -> Error {
    Error::new(Code::INVALID_CONFIG, format!("ipam.{field} {value:?}: {rule}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipam_core::{Policy, StickyNames, Strategy, WhenOnlyCooling};

    use super::*;
    use crate::place::DEFAULT_DATA_DIR;

    fn config(ipam: &str) -> Result<IpamConfig, Error> {
        let text = format!(
            r#"{{"cniVersion":"1.1.0","name":"ipvlan-eth0","type":"cni-ipvlan","ipam":{ipam}}}"#
        );
        IpamConfig::new(&NetworkConfig::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn every_field_is_read() {
        let read = config(
            r#"{"type":"cni-ipam","nodename":"master","network":"kube-system/ipvlan-eth0",
                "default_ipv4_ippool":["a","b*"],"default_ipv6_ippool":["c"],
                "dataDir":"/x","lockTimeoutMs":250,"graceSeconds":5,"nodeInContainer":true,"strategy":"roundRobin",
                "cooldownSeconds":130,"whenOnlyCooling":"refuse","stickyNames":"ordinal",
                "stickySeconds":3600,"clean_gateway":true,"namespacesFile":"/y.json","unknown":1}"#,
        )
        .unwrap();
        let pattern = |text: &str| text.parse().unwrap();
        let pools = NamedPools { v4: vec![pattern("a"), pattern("b*")], v6: vec![pattern("c")] };
        assert_eq!(
            read,
            IpamConfig {
                node: "master".parse().unwrap(),
                network: "kube-system/ipvlan-eth0".parse().unwrap(),
                pools: Some(pools),
                clean_gateway: true,
                namespaces_file: NamespacesFile { path: "/y.json".into(), named: true },
                place: Place {
                    data_dir: "/x".into(),
                    lock_timeout: Duration::from_millis(250),
                    policy: Policy {
                        strategy: Strategy::RoundRobin,
                        cooldown_seconds: 130,
                        when_only_cooling: WhenOnlyCooling::Refuse,
                        sticky: StickyNames::Ordinal,
                        sticky_seconds: 3600,
                    },
                    grace_seconds: 5,
                    node_in_container: true,
                },
            }
        );
    }

    #[test]
    fn defaults_are_the_host_name_the_networks_name_and_the_default_pools() {
        let read = config(r#"{"type":"cni-ipam"}"#).unwrap();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(read.node.as_str(), host.trim().to_lowercase());
        assert_eq!(read.network.to_string(), "ipvlan-eth0");
        assert_eq!((read.pools, read.clean_gateway), (None, false));
        let default = NamespacesFile { path: DEFAULT_NAMESPACES_FILE.into(), named: false };
        assert_eq!(read.namespaces_file, default);
        assert_eq!(read.place.data_dir, PathBuf::from(DEFAULT_DATA_DIR));
        assert_eq!(read.place.policy, Policy::default());
    }

    #[test]
    fn a_wrong_field_is_named_with_its_value() {
        for (ipam, expected) in [
            (r#"{"type":"host-local"}"#, r#"ipam.type "host-local": it must be "cni-ipam""#),
            ("{}", r#"ipam.type "": it must be"#),
            ("null", r#"ipam.type "": it must be"#),
            (r#"{"type":"cni-ipam","network":"a/b/c"}"#, r#"ipam.network "a/b/c":"#),
            (r#"{"type":"cni-ipam","nodeName":""}"#, r#"ipam.nodeName "": a node name must not"#),
            (
                r#"{"type":"cni-ipam","default_ipv4_ippool":["A"]}"#,
                r#"ipam.default_ipv4_ippool "A":"#,
            ),
            (r#"{"type":"cni-ipam","dataDir":7}"#, "ipam.dataDir"),
            (r#"{"type":"cni-ipam","strategy":"best"}"#, "ipam.strategy"),
            (r#"{"type":"cni-ipam","cooldownSeconds":-1}"#, "ipam.cooldownSeconds"),
            (
                r#"{"type":"cni-ipam","dataDir":"db"}"#,
                r#"ipam.dataDir "db": it must be an absolute"#,
            ),
            (
                r#"{"type":"cni-ipam","namespacesFile":"n"}"#,
                r#"ipam.namespacesFile "n": it must be"#,
            ),
            (r#"{"type":"cni-ipam","dataDir":""}"#, r#"ipam.dataDir "": it must be an absolute"#),
        ] {
            let error = config(ipam).unwrap_err();
            assert_eq!(error.code, Code::INVALID_CONFIG);
            assert!(error.msg.contains(expected), "{ipam}: {}", error.msg);
        }
    }
}
