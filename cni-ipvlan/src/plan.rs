//! What an ADD does to the kernel, as a value: computed first, applied by [`crate::apply`].

use std::fmt;
use std::net::IpAddr;

use cni_net::{IpvlanMode, Link};
use cni_proto::AddResult;
use ipnet::IpNet;

use crate::config::IpvlanConfig;

/// One change, in the order in which the plan has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Create the link under its temporary name, directly in the pod's namespace.
    Create { name: String, parent: u32, mode: IpvlanMode, mtu: Option<u32> },
    /// Give it its final name, in the pod's namespace.
    Rename { from: String, to: String },
    /// Add an address, with the prefix length of its subnet.
    Address { ifname: String, address: IpNet },
    /// Set it up.
    Up { ifname: String },
    /// Add a route over it.
    Route { ifname: String, dst: IpNet, via: Option<IpAddr> },
}

impl fmt::Display for Step {
    /// The same change as an iproute2 command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { name, parent, mode, mtu } => {
                write!(f, "ip link add {name} netns POD link if{parent}")?;
                if let Some(mtu) = mtu {
                    write!(f, " mtu {mtu}")?;
                }
                write!(f, " type ipvlan mode {mode} bridge")
            }
            Self::Rename { from, to } => write!(f, "ip -n POD link set {from} name {to}"),
            Self::Address { ifname, address } => {
                write!(f, "ip -n POD address add {address} dev {ifname}")?;
                if matches!(address, IpNet::V6(_)) { f.write_str(" nodad") } else { Ok(()) }
            }
            Self::Up { ifname } => write!(f, "ip -n POD link set {ifname} up"),
            Self::Route { ifname, dst, via } => {
                write!(f, "ip -n POD route add {dst}")?;
                if let Some(via) = via {
                    write!(f, " via {via}")?;
                }
                write!(f, " dev {ifname}")
            }
        }
    }
}

/// The steps that give the pod `ifname` on `parent`, with the addresses and routes of `given`.
pub(crate) fn plan(
    config: &IpvlanConfig,
    parent: &Link,
    temporary: &str,
    ifname: &str,
    given: &AddResult,
) -> Vec<Step> {
    let ifname = || ifname.to_owned();
    let mut steps = vec![
        Step::Create {
            name: temporary.to_owned(),
            parent: parent.index,
            mode: config.mode,
            mtu: config.mtu,
        },
        Step::Rename { from: temporary.to_owned(), to: ifname() },
    ];
    steps
        .extend(given.ips.iter().map(|ip| Step::Address { ifname: ifname(), address: ip.address }));
    steps.push(Step::Up { ifname: ifname() });
    steps.extend(given.routes.iter().map(|route| Step::Route {
        ifname: ifname(),
        dst: route.dst,
        via: route.gw,
    }));
    steps
}

/// The name that the link has until it is whole. The same for every attempt of one attachment, so
/// that a DEL finds what a killed ADD left, and at most 15 bytes long (`IFNAMSIZ`).
pub(crate) fn temporary_name(container: &str, ifname: &str) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(container.as_bytes());
    hasher.update(&[0]);
    hasher.update(ifname.as_bytes());
    format!("ipvl{:08x}", hasher.finalize())
}

#[cfg(test)]
mod tests {
    use cni_proto::{IpConfig, Route};

    use super::*;

    #[test]
    fn the_seeds_first_pod_in_ip_commands() {
        let config = IpvlanConfig { master: "eth0".into(), mode: IpvlanMode::L2, mtu: None };
        let parent = Link {
            index: 2,
            name: "eth0".into(),
            kind: None,
            mac: None,
            mtu: 1500,
            up: true,
            parent: None,
            ipvlan_mode: None,
            ipvlan_flag: None,
        };
        let gateway = Some("172.31.207.253".parse().unwrap());
        let route = |dst: &str, gw| Route { gw, ..Route::to(dst.parse().unwrap()) };
        let given = AddResult {
            ips: vec![
                IpConfig {
                    address: "172.31.199.185/20".parse().unwrap(),
                    gateway,
                    interface: None,
                },
                IpConfig { address: "fd00::5/64".parse().unwrap(), gateway: None, interface: None },
            ],
            routes: vec![route("0.0.0.0/0", gateway), route("fd01::/64", None)],
            ..AddResult::default()
        };
        let temporary = temporary_name("4f0e", "eth0");
        let lines: Vec<String> = plan(&config, &parent, &temporary, "eth0", &given)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                &format!("ip link add {temporary} netns POD link if2 type ipvlan mode l2 bridge"),
                &format!("ip -n POD link set {temporary} name eth0"),
                "ip -n POD address add 172.31.199.185/20 dev eth0",
                "ip -n POD address add fd00::5/64 dev eth0 nodad",
                "ip -n POD link set eth0 up",
                "ip -n POD route add 0.0.0.0/0 via 172.31.207.253 dev eth0",
                "ip -n POD route add fd01::/64 dev eth0",
            ]
        );
    }

    #[test]
    fn temporary_names_fit_and_differ() {
        let name = temporary_name(&"f".repeat(64), "eth0");
        assert_eq!(name.len(), 12);
        assert_eq!(name, temporary_name(&"f".repeat(64), "eth0"));
        assert_ne!(name, temporary_name(&"f".repeat(64), "net1"));
        assert_ne!(temporary_name("ab", "c"), temporary_name("a", "bc"));
    }
}
