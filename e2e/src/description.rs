//! The description: a cluster, its VPC and what is outside, as plain data.
//!
//! Nothing here touches the machine. [`Lab::start`](crate::Lab::start) reads it, refuses what
//! cannot be built, and builds the rest.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;

use crate::Mac;

/// Everything a lab holds.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The subnets of the VPC.
    pub vswitches: Vec<VSwitch>,
    /// How the VPC treats frames.
    pub cloud: Cloud,
    /// The way out of the VPC; `None` closes it.
    pub nat: Option<Nat>,
    /// The cloud servers.
    pub nodes: Vec<NodeSpec>,
    /// The pods that exist from the start; [`Lab::run_pods`](crate::Lab::run_pods) adds others.
    pub pods: Vec<PodSpec>,
}

/// One subnet of the VPC.
#[derive(Clone, Debug)]
pub struct VSwitch {
    /// What a NIC names it by.
    pub name: String,
    /// The subnet.
    pub subnet: IpNet,
    /// The address of the router of the VPC in this subnet.
    pub gateway: IpAddr,
    /// The same for IPv6; `None` if the subnet has none.
    pub ipv6: Option<Ipv6Subnet>,
}

/// The IPv6 half of a `VSwitch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Subnet {
    /// The subnet.
    pub subnet: IpNet,
    /// The address of the router of the VPC in this subnet.
    pub gateway: IpAddr,
}

/// How the VPC treats frames. The default is the strict cloud, as Alibaba's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Forward a frame only if its source MAC is the NIC's own and its source IP (an ARP frame's
    /// sender IP) is one that the cloud gave to that NIC. ARP probes, whose sender is 0.0.0.0
    /// (RFC 5227), have no source to check; nor have IPv6 packets from :: or a link-local address.
    pub source_check: bool,
    /// Who answers ARP, and by what a frame finds its NIC.
    pub arp: Arp,
    /// Carry packets from one `VSwitch` to another.
    pub routes_between_vswitches: bool,
}

/// Who answers ARP, and by what a frame finds its NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arp {
    /// The VPC answers every request, for any address, with [`Mac::VPC`]. A frame then goes to
    /// the NIC that owns its destination IP, whatever its destination MAC; if none does, or if
    /// it is a broadcast, it is dropped. Like the real one this router leaves the TTL alone
    /// between two NICs, even of different `VSwitch`es. Of IPv6 it answers solicitations for the
    /// addresses that some NIC owns, and carries no multicast, hence no duplicate detection.
    Proxied {
        /// Whether requests with the sender 0.0.0.0 (RFC 5227 probes) are answered too.
        answers_probes: bool,
    },
    /// The owner of an address answers, over a learning bridge per `VSwitch`: an ordinary segment.
    Resolved,
}

impl Cloud {
    /// An ordinary network: no source check, real ARP, routed subnets.
    pub const PLAIN: Self =
        Self { source_check: false, arp: Arp::Resolved, routes_between_vswitches: true };
}

impl Default for Cloud {
    fn default() -> Self {
        Self {
            source_check: true,
            arp: Arp::Proxied { answers_probes: true },
            routes_between_vswitches: true,
        }
    }
}

/// The NAT gateway between the VPC and the hosts outside. It masquerades what leaves the VPC.
#[derive(Clone, Debug)]
pub struct Nat {
    /// Whether a host outside may open a connection to a private address; a cloud says no.
    pub inbound: bool,
    /// The hosts outside, each on a link of its own.
    pub outside: Vec<OutsideSpec>,
}

/// A host outside the VPC.
#[derive(Clone, Debug)]
pub struct OutsideSpec {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its address with the prefix of its link.
    pub address: IpNet,
    /// The NAT gateway's address on that link: what the host sees masqueraded traffic come from.
    pub gateway: IpAddr,
}

/// A cloud server.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Its name in Kubernetes.
    pub name: String,
    /// Its NICs; the first has the default route.
    pub nics: Vec<NicSpec>,
    /// Files below `/proc/sys/net` and what is written there, after `ip_forward=1`,
    /// `rp_filter=0` and, where a NIC has IPv6, forwarding of that.
    pub sysctls: Vec<(String, String)>,
}

/// A NIC of a cloud server and what the cloud gave to it.
#[derive(Clone, Debug)]
pub struct NicSpec {
    /// Its name on the node. `NODE-NIC` names the port of the VPC, so both together have at
    /// most 14 bytes.
    pub name: String,
    /// Its MAC.
    pub mac: Mac,
    /// The `VSwitch` it is plugged into.
    pub vswitch: String,
    /// The address that the node itself uses.
    pub primary: IpAddr,
    /// The other addresses that the cloud gave to the NIC: those for pods.
    pub secondary: Vec<IpAddr>,
    /// The IPv6 addresses that the cloud gave to the NIC, the node's own first; empty if none.
    pub ipv6: Vec<IpAddr>,
    /// The MTU of both ends of the cable: the VPC drops what is longer without a word.
    pub mtu_bytes: u32,
}

impl NicSpec {
    /// Every address that the cloud gave to the NIC, the primary one first, IPv6 last.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let further = self.secondary.iter().chain(&self.ipv6);
        std::iter::once(self.primary).chain(further.copied())
    }

    /// The addresses that the node itself uses: the primary one, and the first of IPv6.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.primary).chain(self.ipv6.first().copied())
    }
}

/// A pod, as the kubelet and the runtime know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSpec {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The id of its sandbox: the container id of CNI.
    pub sandbox_id: String,
    /// The node it runs on.
    pub node: String,
    /// Its `v1.multus-cni.io/default-network`, as `namespace/name`.
    pub network: String,
}

impl PodSpec {
    /// A pod whose uid and sandbox id follow from its namespace and name, so that they are the
    /// same in every run.
    pub fn new(namespace: &str, name: &str, node: &str, network: &str) -> Self {
        let hex = |salt: &str| {
            let mut hasher = DefaultHasher::new();
            (salt, namespace, name).hash(&mut hasher);
            format!("{:016x}", hasher.finish())
        };
        let (high, low) = (hex("uid"), hex("uid, low half"));
        let uid = [&high[..8], &high[8..12], &high[12..], &low[..4], &low[4..]].join("-");
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid,
            sandbox_id: ["a", "b", "c", "d"].map(hex).concat(),
            node: node.to_owned(),
            network: network.to_owned(),
        }
    }
}

impl Cluster {
    /// Every NIC with the node that has it, in the order of the description.
    pub fn nics(&self) -> impl Iterator<Item = (&NodeSpec, &NicSpec)> {
        self.nodes.iter().flat_map(|node| node.nics.iter().map(move |nic| (node, nic)))
    }

    /// The `VSwitch` with this name.
    ///
    /// # Errors
    ///
    /// There is none; the error lists those there are.
    pub fn vswitch(&self, name: &str) -> Result<&VSwitch> {
        self.vswitches.iter().find(|vswitch| vswitch.name == name).with_context(|| {
            let known: Vec<_> = self.vswitches.iter().map(|vswitch| &vswitch.name).collect();
            format!("no vswitch {name:?}, there are {known:?}")
        })
    }
}

/// The name of the VPC's port that a NIC is plugged into.
pub(crate) fn port(node: &NodeSpec, nic: &NicSpec) -> String {
    format!("{}-{}", node.name, nic.name)
}
