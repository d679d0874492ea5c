//! The `ipam` object of a network configuration.

use std::path::PathBuf;
use std::time::Duration;

use cni_proto::{Code, DelConfig, Error, NetworkConfig};
use ipam_core::{NamedPools, NetworkRef, NodeName, PoolPattern};
use serde::Deserialize;

/// The value of `ipam.type` that means this crate.
pub const IPAM_TYPE: &str = "cni-ipam";

/// Where the database is unless `ipam.dataDir` says otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/cni/node-ipam";

/// How long the database is waited for unless `ipam.lockTimeoutMs` says otherwise. Well below the
/// minutes that a runtime gives a whole ADD.
pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// What `ipam` says, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpamConfig {
    /// This node: `ipam.nodeName`, else the host name.
    pub node: NodeName,
    /// This network as pools name it: `ipam.network`, else the configuration's `name`.
    pub network: NetworkRef,
    /// `ipam.default_ipv4_ippool` and `ipam.default_ipv6_ippool`: names of pools or wildcards over
    /// them. `None` if neither is there, which means the default pools.
    pub pools: Option<NamedPools>,
    /// The database's directory: `ipam.dataDir`.
    pub data_dir: PathBuf,
    /// How long another process is waited for: `ipam.lockTimeoutMs`, in milliseconds.
    pub lock_timeout: Duration,
}

#[derive(Debug, Default, Deserialize)]
struct Outer {
    #[serde(default)]
    ipam: Option<Ipam>,
}

#[derive(Debug, Default, Deserialize)]
struct Ipam {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    network: Option<String>,
    #[serde(default, rename = "nodeName")]
    node_name: Option<String>,
    #[serde(default)]
    default_ipv4_ippool: Option<Vec<String>>,
    #[serde(default)]
    default_ipv6_ippool: Option<Vec<String>>,
    #[serde(default, rename = "dataDir")]
    data_dir: Option<PathBuf>,
    #[serde(default, rename = "lockTimeoutMs")]
    lock_timeout_ms: Option<u64>,
}

impl IpamConfig {
    /// Reads `ipam` of a configuration for ADD.
    ///
    /// # Errors
    ///
    /// Code 7 with the field and its value: the configuration has to change.
    pub fn new(config: &NetworkConfig) -> Result<Self, Error> {
        let ipam = config.plugin::<Outer>()?.ipam.unwrap_or_default();
        match ipam.kind.as_deref() {
            Some(IPAM_TYPE) => {}
            other => {
                let found = other.unwrap_or_default();
                return Err(invalid("type", found, format!("it must be {IPAM_TYPE:?}")));
            }
        }
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
        if let Some(relative) = ipam.data_dir.as_ref().filter(|path| !path.is_absolute()) {
            let rule = "it must be an absolute path: a plugin runs in any directory";
            return Err(invalid("dataDir", &relative.display().to_string(), rule));
        }
        let (data_dir, lock_timeout) = place(ipam.data_dir, ipam.lock_timeout_ms);
        Ok(Self { node, network, pools, data_dir, lock_timeout })
    }
}

fn patterns(field: &str, texts: Option<&[String]>) -> Result<Vec<PoolPattern>, Error> {
    let pattern = |text: &String| text.parse().map_err(|error| invalid(field, text, error));
    texts.unwrap_or_default().iter().map(pattern).collect()
}

/// Directory and patience for DEL, whatever else `ipam` says or no longer says.
pub(crate) fn place_for_del(config: &DelConfig) -> (PathBuf, Duration) {
    let ipam = config.plugin::<Outer>().ipam.unwrap_or_default();
    place(ipam.data_dir, ipam.lock_timeout_ms)
}

fn place(data_dir: Option<PathBuf>, lock_timeout_ms: Option<u64>) -> (PathBuf, Duration) {
    (
        data_dir.filter(|path| path.is_absolute()).unwrap_or_else(|| DEFAULT_DATA_DIR.into()),
        lock_timeout_ms.map_or(DEFAULT_LOCK_TIMEOUT, Duration::from_millis),
    )
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

fn invalid(field: &str, value: &str, rule: impl std::fmt::Display) -> Error {
    Error::new(Code::INVALID_CONFIG, format!("ipam.{field} {value:?}: {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "dataDir":"/x","lockTimeoutMs":250,"unknown":1}"#,
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
                data_dir: "/x".into(),
                lock_timeout: Duration::from_millis(250),
            }
        );
    }

    #[test]
    fn defaults_are_the_host_name_the_networks_name_and_the_default_pools() {
        let read = config(r#"{"type":"cni-ipam"}"#).unwrap();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(read.node.as_str(), host.trim().to_lowercase());
        assert_eq!(read.network.to_string(), "ipvlan-eth0");
        assert_eq!(read.pools, None);
        assert_eq!(read.data_dir, PathBuf::from(DEFAULT_DATA_DIR));
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
            (
                r#"{"type":"cni-ipam","dataDir":"db"}"#,
                r#"ipam.dataDir "db": it must be an absolute"#,
            ),
            (r#"{"type":"cni-ipam","dataDir":""}"#, r#"ipam.dataDir "": it must be an absolute"#),
        ] {
            let error = config(ipam).unwrap_err();
            assert_eq!(error.code, Code::INVALID_CONFIG);
            assert!(error.msg.contains(expected), "{ipam}: {}", error.msg);
        }
    }
}
