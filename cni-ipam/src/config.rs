//! The `ipam` object of a network configuration.

use std::path::PathBuf;
use std::time::Duration;

use cni_proto::{Code, DelConfig, Error, NetworkConfig};
use ipam_core::{
    NamedPools, NetworkRef, NodeName, Policy, PoolPattern, StickyNames, Strategy, WhenOnlyCooling,
};
use ipam_store::Store;
use serde::Deserialize;

use crate::report;

/// The value of `ipam.type` that means this crate.
pub const IPAM_TYPE: &str = "cni-ipam";

/// Where the database is unless `ipam.dataDir` says otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/cni/node-ipam";

/// How long the database is waited for unless `ipam.lockTimeoutMs` says otherwise. Well below the
/// minutes that a runtime gives a whole ADD.
pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a dead namespace's lease stays unless `ipam.graceSeconds` says otherwise, in seconds.
pub const DEFAULT_GRACE_SECONDS: u64 = 60;

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
    /// Where the leases are, and by which rules.
    pub place: Place,
}

/// What every verb needs: where the database is, and by which rules addresses are given and rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The database's directory: `ipam.dataDir`.
    pub data_dir: PathBuf,
    /// How long another process is waited for: `ipam.lockTimeoutMs`, in milliseconds.
    pub lock_timeout: Duration,
    /// `ipam.strategy`, `ipam.cooldownSeconds`, `ipam.whenOnlyCooling`, `ipam.stickyNames` and
    /// `ipam.stickySeconds`.
    pub policy: Policy,
    /// How old a lease must be before its dead namespace frees it, in seconds:
    /// `ipam.graceSeconds`.
    pub grace_seconds: u64,
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
    #[serde(default, rename = "graceSeconds")]
    grace_seconds: Option<u64>,
    #[serde(default)]
    strategy: Option<StrategyName>,
    #[serde(default, rename = "cooldownSeconds")]
    cooldown_seconds: Option<u64>,
    #[serde(default, rename = "whenOnlyCooling")]
    when_only_cooling: Option<CoolingName>,
    #[serde(default, rename = "stickyNames")]
    sticky_names: Option<StickyName>,
    #[serde(default, rename = "stickySeconds")]
    sticky_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StrategyName {
    Lowest,
    RoundRobin,
    Random,
    OldestReleased,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CoolingName {
    TakeOldest,
    Refuse,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StickyName {
    None,
    Ordinal,
    All,
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
        Ok(Self { node, network, pools, place: Place::of(&ipam) })
    }
}

fn patterns(field: &str, texts: Option<&[String]>) -> Result<Vec<PoolPattern>, Error> {
    let pattern = |text: &String| text.parse().map_err(|error| invalid(field, text, error));
    texts.unwrap_or_default().iter().map(pattern).collect()
}

impl Place {
    /// Of a configuration that has to be right.
    pub(crate) fn new(config: &NetworkConfig) -> Result<Self, Error> {
        Ok(Self::of(&config.plugin::<Outer>()?.ipam.unwrap_or_default()))
    }

    /// For DEL, whatever else `ipam` says or no longer says.
    pub(crate) fn for_del(config: &DelConfig) -> Self {
        Self::of(&config.plugin::<Outer>().ipam.unwrap_or_default())
    }

    fn of(ipam: &Ipam) -> Self {
        let absolute = ipam.data_dir.clone().filter(|path| path.is_absolute());
        let otherwise = Policy::default();
        let policy = Policy {
            strategy: ipam.strategy.map_or(otherwise.strategy, |name| match name {
                StrategyName::Lowest => Strategy::Lowest,
                StrategyName::RoundRobin => Strategy::RoundRobin,
                StrategyName::Random => Strategy::Random { seed: seed() },
                StrategyName::OldestReleased => Strategy::OldestReleased,
            }),
            cooldown_seconds: ipam.cooldown_seconds.unwrap_or(otherwise.cooldown_seconds),
            when_only_cooling: ipam.when_only_cooling.map_or(otherwise.when_only_cooling, |name| {
                match name {
                    CoolingName::TakeOldest => WhenOnlyCooling::TakeOldest,
                    CoolingName::Refuse => WhenOnlyCooling::Refuse,
                }
            }),
            sticky: ipam.sticky_names.map_or(otherwise.sticky, |name| match name {
                StickyName::None => StickyNames::None,
                StickyName::Ordinal => StickyNames::Ordinal,
                StickyName::All => StickyNames::All,
            }),
            sticky_seconds: ipam.sticky_seconds.unwrap_or(otherwise.sticky_seconds),
        };
        Self {
            data_dir: absolute.unwrap_or_else(|| DEFAULT_DATA_DIR.into()),
            lock_timeout: ipam.lock_timeout_ms.map_or(DEFAULT_LOCK_TIMEOUT, Duration::from_millis),
            policy,
            grace_seconds: ipam.grace_seconds.unwrap_or(DEFAULT_GRACE_SECONDS),
        }
    }

    /// The store there, which tells stderr whom it frees.
    pub(crate) fn store(&self) -> Store {
        Store::new(&self.data_dir, self.lock_timeout)
            .with_policy(self.policy.clone())
            .with_watcher(report::freed)
    }
}

/// Another number for each process and each moment; nothing depends on who could guess it.
fn seed() -> u64 {
    let nanoseconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    (u64::from(std::process::id()) << 32) | u64::from(nanoseconds)
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
                "dataDir":"/x","lockTimeoutMs":250,"graceSeconds":5,"strategy":"roundRobin",
                "cooldownSeconds":130,"whenOnlyCooling":"refuse","stickyNames":"ordinal",
                "stickySeconds":3600,"unknown":1}"#,
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
        assert_eq!(read.pools, None);
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
            (r#"{"type":"cni-ipam","dataDir":""}"#, r#"ipam.dataDir "": it must be an absolute"#),
        ] {
            let error = config(ipam).unwrap_err();
            assert_eq!(error.code, Code::INVALID_CONFIG);
            assert!(error.msg.contains(expected), "{ipam}: {}", error.msg);
        }
    }
}
