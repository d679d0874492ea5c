//! What was found in the pod and on the node, as values: all that a plan is computed from.

use std::net::IpAddr;
use std::path::PathBuf;

use cni_net::MacAddr;
use ipam_core::{Attachment, Family};
use ipnet::IpNet;

use crate::pattern::LinkPattern;
use crate::step::{Route, Rule};
use crate::wiring::Wiring;

/// The pod, the node and the records of the container, at one moment of an ADD or CHECK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// The interface that is wired.
    pub attachment: Attachment,
    /// `CNI_NETNS`.
    pub netns: PathBuf,
    /// The pod's namespace.
    pub pod: PodScene,
    /// The node's namespace.
    pub node: NodeScene,
    /// What is recorded for this container: for its other interfaces and, if this ADD is not its
    /// first, for this one.
    pub wirings: Vec<Wiring>,
}

/// The pod's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodScene {
    /// Every link, the interface of the attachment among them, set up.
    pub links: Vec<PodLink>,
    /// Unicast routes of the main table and of the tables of ours ([`crate::numbers`]). One with
    /// several next hops stands here once for each.
    pub routes: Vec<Route>,
    /// Rules, also those of others.
    pub rules: Vec<Rule>,
}

/// A link of the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodLink {
    /// Its number in the pod.
    pub index: u32,
    /// Its name in the pod.
    pub name: String,
    /// `IFF_UP`.
    pub up: bool,
    /// `IFF_BROADCAST`.
    pub broadcast: bool,
    /// `IFF_MULTICAST`.
    pub multicast: bool,
    /// Its MAC, if it has one.
    pub mac: Option<MacAddr>,
    /// In bytes.
    pub mtu: u32,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNet>,
    /// `veth`, `ipvlan`, …; `None` for a hardware device and the loopback.
    pub kind: Option<String>,
    /// The index of its other end, if that is in the node's namespace.
    pub peer: Option<u32>,
}

/// The node's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeScene {
    /// For each address of the interface in its order, the source that the node would send from to
    /// reach it (`ip route get`), where it has one.
    pub sources: Vec<IpAddr>,
    /// Every link.
    pub links: Vec<NodeLink>,
}

/// A link of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeLink {
    /// Its number on the node.
    pub index: u32,
    /// Its name on the node.
    pub name: String,
    /// Its MAC, if it has one.
    pub mac: Option<MacAddr>,
    /// `veth`, `bridge`, …; `None` for a hardware device and the loopback.
    pub kind: Option<String>,
    /// `IFLA_IFALIAS`.
    pub alias: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl PodScene {
    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&PodLink> {
        self.links.iter().find(|link| link.name == name)
    }
}

impl PodLink {
    /// Whether it is a NIC as the peer counts them: up, with broadcast and multicast, so neither
    /// loopback nor tunnel.
    pub fn is_nic(&self) -> bool {
        self.up && self.broadcast && self.multicast
    }

    /// Its addresses that others can reach, of one family.
    pub fn addresses_of(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        let all = self.addresses.iter().map(IpNet::addr);
        all.filter(move |address| Family::of(*address) == family && is_reachable(*address))
    }
}

impl NodeScene {
    /// Forgets every address of the node but these: for a CHECK, to which it is no difference that
    /// the node has got one since.
    pub fn keep(&mut self, addresses: &[IpAddr]) {
        self.sources.retain(|address| addresses.contains(address));
        for link in &mut self.links {
            link.addresses.retain(|address| addresses.contains(address));
        }
    }

    /// The node's addresses for its pods, each once. The first of a family is what the pod's
    /// traffic to Services goes by: the source that the node has towards the pod, and then any of a
    /// link that is not excluded.
    pub fn addresses(&self, exclude: &[LinkPattern]) -> Vec<IpAddr> {
        let excluded = |link: &&NodeLink| exclude.iter().any(|it| it.matches(&link.name));
        let own = self.links.iter().filter(|link| !excluded(link)).flat_map(|link| &link.addresses);
        let mut all: Vec<IpAddr> = Vec::new();
        for address in self.sources.iter().chain(own) {
            if is_reachable(*address) && !all.contains(address) {
                all.push(*address);
            }
        }
        all
    }

    /// The link of this name.
    pub fn link(&self, name: &str) -> Option<&NodeLink> {
        self.links.iter().find(|link| link.name == name)
    }

    /// The link with this index.
    pub fn link_by_index(&self, index: u32) -> Option<&NodeLink> {
        self.links.iter().find(|link| link.index == index)
    }
}

/// Whether an address is a unicast one that counts beyond its link (Go's `IsGlobalUnicast`).
pub(crate) fn is_reachable(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(link_local || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_addresses_begin_with_the_source_towards_the_pod() {
        let link = |name: &str, addresses: &[&str]| NodeLink {
            name: name.into(),
            addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
            ..NodeLink::default()
        };
        let node = NodeScene {
            sources: vec!["10.0.0.7".parse().unwrap()],
            links: vec![
                link("lo", &["127.0.0.1", "10.255.0.1"]),
                link("eth0", &["10.0.0.1", "fe80::1", "fd00::1"]),
                link("docker0", &["172.17.0.1"]),
                link("nodelocaldns", &["169.254.20.10"]),
                link("eth1", &["10.0.0.7", "10.1.0.1", "fd00::1"]),
            ],
        };
        let shown = |exclude: &[LinkPattern]| {
            let all: Vec<_> = node.addresses(exclude).iter().map(ToString::to_string).collect();
            all.join(" ")
        };
        assert_eq!(shown(&LinkPattern::defaults()), "10.0.0.7 10.0.0.1 fd00::1 10.1.0.1");
        assert_eq!(
            shown(&["eth0".parse().unwrap()]),
            "10.0.0.7 10.255.0.1 172.17.0.1 10.1.0.1 fd00::1"
        );
    }
}
