//! The VPC: a namespace with a bridge that the NICs of all nodes are plugged into.
//!
//! With proxied ARP one bridge carries every `VSwitch`. It has the cloud's MAC and learns and
//! floods nothing: the kernel's ARP proxy answers every request, and the ruleset addresses each
//! frame to the NIC that owns its destination. With resolved ARP there is a learning bridge per
//! `VSwitch`, and the bridge device is the gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::description::{Arp, Cluster, VSwitch, port};
use crate::mac::Mac;
use crate::namespace::Namespace;
use crate::nat;
use crate::ruleset;
use crate::step::Step;

/// The running VPC.
#[derive(Debug)]
pub struct Vpc {
    namespace: Namespace,
    /// The ports, in the order of the cluster's NICs.
    ports: Vec<String>,
}

/// How many frames from one NIC the source check dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NicDrops {
    /// Frames whose source MAC, or ARP sender MAC, is not the NIC's.
    pub unknown_mac: u64,
    /// Frames with the NIC's MAC whose source IP, or ARP sender IP, the cloud did not give to it.
    pub unknown_ip: u64,
}

/// How many frames the VPC dropped, whichever NIC they came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VpcDrops {
    /// Frames to an address that no NIC has.
    pub unknown_destination: u64,
    /// IP broadcasts and multicasts, which the cloud does not carry.
    pub broadcast: u64,
    /// Frames to another `VSwitch` where the cloud does not route between them.
    pub not_routed: u64,
}

impl Vpc {
    pub(crate) fn new(namespace: Namespace, cluster: &Cluster) -> Self {
        let ports = cluster.nics().map(|(node, nic)| port(node, nic)).collect();
        Self { namespace, ports }
    }

    /// Its namespace, for captures: a NIC's port is named `NODE-NIC`.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What the source check dropped of this NIC's frames since the start.
    ///
    /// # Errors
    ///
    /// There is no such NIC, or `nft` failed.
    pub fn nic_drops(&self, node: &str, nic: &str) -> Result<NicDrops> {
        let port = format!("{node}-{nic}");
        let index = self.ports.iter().position(|known| *known == port);
        let index = index.with_context(|| format!("no port {port}, there are {:?}", self.ports))?;
        let counters = self.counters()?;
        Ok(NicDrops {
            unknown_mac: counters[&ruleset::unknown_mac(index)],
            unknown_ip: counters[&ruleset::unknown_ip(index)],
        })
    }

    /// What else was dropped since the start.
    ///
    /// # Errors
    ///
    /// `nft` failed.
    pub fn drops(&self) -> Result<VpcDrops> {
        let counters = self.counters()?;
        Ok(VpcDrops {
            unknown_destination: counters[ruleset::UNKNOWN_DESTINATION],
            broadcast: counters[ruleset::BROADCAST],
            not_routed: counters[ruleset::NOT_ROUTED],
        })
    }

    fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let list = ["nft", "--json", "list", "counters", "table", "bridge", ruleset::TABLE];
        let text = self.namespace.run(list)?.success()?;
        let answer: Value = serde_json::from_str(&text).context("nft --json")?;
        let items = answer["nftables"].as_array().into_iter().flatten();
        Ok(items
            .filter_map(|item| {
                let counter = &item["counter"];
                Some((counter["name"].as_str()?.to_owned(), counter["packets"].as_u64()?))
            })
            .collect())
    }
}

/// What to do first of all in the VPC's namespace, `nodes` being the names of the nodes'
/// namespaces and `nat` that of the NAT gateway's. It makes the links that end there too.
pub(crate) fn link_steps(
    cluster: &Cluster,
    nodes: &[&str],
    nat: Option<&str>,
) -> Result<Vec<Step>> {
    let mut steps = vec![Step::no_ipv6(), Step::sysctl("ipv4/ip_forward", "1")];
    steps.extend(Step::no_rp_filter([]));
    for scope in ["all", "default"] {
        steps.push(Step::sysctl(format!("ipv4/conf/{scope}/send_redirects"), "0"));
    }
    // With br_netfilter, bridged packets would pass the tables of the IP family as well.
    for family in ["iptables", "ip6tables", "arptables"] {
        let path = format!("bridge/bridge-nf-call-{family}");
        steps.push(Step::SysctlIfPresent(path, "0".to_owned()));
    }
    let mut ip = vec!["link set dev lo up".to_owned()];
    ip.extend(bridges(cluster));
    for (node, name) in cluster.nodes.iter().zip(nodes) {
        for nic in &node.nics {
            let port = port(node, nic);
            let bridge = bridge_of(cluster, cluster.vswitch(&nic.vswitch)?);
            let (nic, mac, mtu) = (&nic.name, nic.mac, nic.mtu_bytes);
            ip.push(format!(
                "link add name {port} mtu {mtu} type veth \
                 peer name {nic} netns {name} address {mac} mtu {mtu}"
            ));
            ip.push(format!("link set dev {port} master {bridge} up"));
        }
    }
    let proxied = matches!(cluster.cloud.arp, Arp::Proxied { .. });
    if proxied {
        ip.extend(owners(cluster));
    }
    if let Some(nat) = nat {
        ip.extend(nat::vpc_lines(nat));
    } else if proxied {
        // So that the kernel's proxy has a route, and thus an answer, for every address.
        ip.push(format!("route add default dev {BRIDGE}"));
    }
    steps.push(Step::Ip(ip));
    Ok(steps)
}

/// What to do there once the links are there.
pub(crate) fn steps(cluster: &Cluster) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Arp::Proxied { .. } = cluster.cloud.arp {
        steps.push(Step::Bridge(forwarding(cluster)));
        steps.push(Step::sysctl(format!("ipv4/conf/{BRIDGE}/proxy_arp"), "1"));
        // A request whose target is behind the bridge that it came from (RFC 3069).
        steps.push(Step::sysctl(format!("ipv4/conf/{BRIDGE}/proxy_arp_pvlan"), "1"));
        // Else the kernel waits for a random time of up to 0.8 s.
        steps.push(Step::sysctl(format!("ipv4/neigh/{BRIDGE}/proxy_delay"), "0"));
    }
    steps.extend(ipv6_steps(cluster));
    steps.push(Step::Nft(ruleset::of(cluster)));
    steps
}

/// What makes of the VPC of one description that of another, in which NICs have other addresses.
/// The counters go on.
pub(crate) fn change_steps(before: &Cluster, after: &Cluster) -> Vec<Step> {
    let owned = |cluster: &Cluster| -> BTreeSet<(IpAddr, Mac)> {
        let nics = cluster.nics();
        nics.flat_map(|(_, nic)| nic.addresses().map(|it| (it, nic.mac))).collect()
    };
    let (had, has) = (owned(before), owned(after));
    let mut ip = Vec::new();
    for (address, _) in had.difference(&has) {
        ip.push(format!("neigh del {address} dev {BRIDGE}"));
        if address.is_ipv6() {
            ip.push(format!("neigh del proxy {address} dev {BRIDGE}"));
        }
    }
    ip.extend(has.difference(&had).flat_map(|(address, mac)| answers(*address, *mac)));
    vec![Step::Ip(ip), Step::Nft(ruleset::changes(before, after))]
}

/// Where frames to an address go and, for IPv6, who answers for it.
fn answers(address: IpAddr, mac: Mac) -> Vec<String> {
    let mut lines = vec![format!("neigh add {address} lladdr {mac} dev {BRIDGE} nud permanent")];
    if address.is_ipv6() {
        lines.push(format!("neigh add proxy {address} dev {BRIDGE}"));
    }
    lines
}

/// The gateways' IPv6 addresses and, with proxied ARP, the answers for every NIC's.
fn ipv6_steps(cluster: &Cluster) -> Vec<Step> {
    let proxied = matches!(cluster.cloud.arp, Arp::Proxied { .. });
    let (mut sysctls, mut ip) = (BTreeMap::new(), Vec::new());
    let vswitches = cluster.vswitches.iter();
    for (vswitch, ipv6) in vswitches.filter_map(|vswitch| vswitch.ipv6.map(|it| (vswitch, it))) {
        let (name, gateway, subnet) = (bridge_of(cluster, vswitch), ipv6.gateway, ipv6.subnet);
        sysctls.insert("ipv6/conf/all/forwarding".to_owned(), "1");
        // No link-local address: the cloud's router sends nothing by itself.
        sysctls.insert(format!("ipv6/conf/{name}/addr_gen_mode"), "1");
        sysctls.insert(format!("ipv6/conf/{name}/disable_ipv6"), "0");
        if proxied {
            sysctls.insert(format!("ipv6/conf/{name}/proxy_ndp"), "1");
            sysctls.insert(format!("ipv6/neigh/{name}/proxy_delay"), "0");
        }
        let line = format!("address add {gateway}/{} dev {name} nodad", subnet.prefix_len());
        // Routers may have one and the same link-local address in several subnets (AWS).
        if !ip.contains(&line) {
            ip.push(line);
        }
        if gateway_is_link_local(gateway) {
            ip.push(format!("route add {subnet} dev {name}"));
        }
    }
    let addresses = cluster.nics().flat_map(|(_, nic)| nic.ipv6.iter().map(move |it| (it, nic)));
    for (address, nic) in addresses.filter(|_| proxied) {
        ip.extend(answers(*address, nic.mac));
    }
    let sysctls = sysctls.into_iter().map(|(path, value)| Step::sysctl(path, value));
    sysctls.chain([Step::Ip(ip)]).collect()
}

fn gateway_is_link_local(gateway: IpAddr) -> bool {
    matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

const BRIDGE: &str = "vpc";

/// The bridge that carries a `VSwitch`.
fn bridge_of(cluster: &Cluster, vswitch: &VSwitch) -> String {
    match cluster.cloud.arp {
        Arp::Proxied { .. } => BRIDGE.to_owned(),
        Arp::Resolved => {
            let position = cluster.vswitches.iter().position(|other| other.name == vswitch.name);
            format!("vsw{}", position.unwrap_or_default())
        }
    }
}

fn bridges(cluster: &Cluster) -> Vec<String> {
    let bridge = |name: &str, options: &str| {
        let kind = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0";
        [format!("link add name {name} {options} {kind}"), format!("link set dev {name} up")]
    };
    let mut lines = Vec::new();
    if let Arp::Proxied { .. } = cluster.cloud.arp {
        lines.extend(bridge(BRIDGE, &format!("address {}", Mac::VPC)));
    }
    for vswitch in &cluster.vswitches {
        let name = bridge_of(cluster, vswitch);
        let (gateway, subnet) = (vswitch.gateway, vswitch.subnet.trunc());
        match cluster.cloud.arp {
            Arp::Proxied { .. } => {
                // A route instead of a prefix on the address: with that, the subnet's first and
                // last address would be broadcasts, for which the kernel's proxy does not answer.
                lines.push(format!("address add {gateway} dev {name}"));
                lines.push(format!("route add {subnet} dev {name} src {gateway}"));
            }
            Arp::Resolved => {
                lines.extend(bridge(&name, ""));
                let length = subnet.prefix_len();
                lines.push(format!("address add {gateway}/{length} dev {name}"));
            }
        }
    }
    lines
}

/// The ports neither learn nor flood, and the VPC's own stack asks nobody for an address.
fn owners(cluster: &Cluster) -> Vec<String> {
    let quiet = "type bridge_slave learning off flood off mcast_flood off bcast_flood off";
    let ports =
        cluster.nics().map(|(node, nic)| format!("link set dev {} {quiet}", port(node, nic)));
    let neighbours = cluster
        .nics()
        .flat_map(|(_, nic)| nic.addresses().map(move |address| (address, nic.mac)))
        .filter(|(address, _)| address.is_ipv4())
        .flat_map(|(address, mac)| answers(address, mac));
    ports.chain(neighbours).collect()
}

/// Which port a NIC's MAC is behind.
fn forwarding(cluster: &Cluster) -> Vec<String> {
    cluster
        .nics()
        .map(|(node, nic)| format!("fdb add {} dev {} master static", nic.mac, port(node, nic)))
        .collect()
}
