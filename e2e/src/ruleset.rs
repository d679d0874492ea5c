//! The VPC's nftables ruleset: the source check, and delivery by destination address.
//!
//! It is loaded in the bridge family, in front of the forwarding decision of the VPC's bridges.

use std::fmt::{Display, Write as _};

use crate::description::{Arp, Cluster, port};
use crate::mac::Mac;

/// The bridge table's name.
pub(crate) const TABLE: &str = "vpc";

/// Counts frames to an address that no NIC owns.
pub(crate) const UNKNOWN_DESTINATION: &str = "unknown_destination";

/// Counts IP frames to a broadcast or multicast MAC.
pub(crate) const BROADCAST: &str = "broadcast";

/// Counts frames from one `VSwitch` to another where the VPC does not route between them.
pub(crate) const NOT_ROUTED: &str = "not_routed";

/// Stands in for the sender 0.0.0.0 of a probe: Linux does not answer a proxied request without a
/// sender (`arp_process` in net/ipv4/arp.c). RFC 7600 keeps this address for such ends.
const PROBE_SENDER: &str = "192.0.0.8";

/// The counter of frames whose source MAC is not that of the `index`th NIC of the cluster.
pub(crate) fn unknown_mac(index: usize) -> String {
    format!("unknown_mac_{index}")
}

/// The counter of frames of the `index`th NIC from an address that is not its own.
pub(crate) fn unknown_ip(index: usize) -> String {
    format!("unknown_ip_{index}")
}

/// The whole ruleset for this cluster.
pub(crate) fn of(cluster: &Cluster) -> String {
    let mut text = format!("table bridge {TABLE} {{\n");
    declare(&mut text, cluster);
    let _ = writeln!(text, "chain prerouting {{ type filter hook prerouting priority dstnat;");
    if cluster.cloud.source_check {
        check_source(&mut text, cluster);
    }
    match cluster.cloud.arp {
        Arp::Resolved => text.push_str("}\n"),
        Arp::Proxied { answers_probes } => {
            deliver(&mut text, cluster, answers_probes);
            // What the VPC itself would ask for is nobody's address: the others are permanent
            // neighbours.
            let _ = writeln!(
                text,
                "}}\nchain output {{ type filter hook output priority filter;\n\
                 ether type arp arp operation request drop\n\
                 ether type arp arp daddr ip {PROBE_SENDER} arp daddr ip set 0.0.0.0\n}}"
            );
        }
    }
    text.push_str("}\n");
    if cluster.cloud.arp == Arp::Resolved && !cluster.cloud.routes_between_vswitches {
        forbid_routing(&mut text);
    }
    text
}

fn declare(text: &mut String, cluster: &Cluster) {
    let ports: Vec<_> = cluster.nics().map(|(node, nic)| port(node, nic)).collect();
    for counter in [UNKNOWN_DESTINATION, BROADCAST, NOT_ROUTED] {
        let _ = writeln!(text, "counter {counter} {{ }}");
    }
    for index in 0..ports.len() {
        let _ = writeln!(
            text,
            "counter {} {{ }}\ncounter {} {{ }}",
            unknown_mac(index),
            unknown_ip(index)
        );
    }
    let macs = cluster.nics().map(|(node, nic)| format!("\"{}\" . {}", port(node, nic), nic.mac));
    set(text, "set nic_mac { type ifname . ether_addr;", macs);
    let addresses = cluster.nics().flat_map(|(node, nic)| {
        let port = port(node, nic);
        nic.addresses().map(move |address| format!("\"{port}\" . {address}")).collect::<Vec<_>>()
    });
    set(text, "set nic_ip { type ifname . ipv4_addr;", addresses);
    let owners = cluster
        .nics()
        .flat_map(|(_, nic)| nic.addresses().map(|address| format!("{address} : {}", nic.mac)));
    set(text, "map owner { type ipv4_addr : ether_addr;", owners);
    let gateways = cluster.vswitches.iter().map(|vswitch| vswitch.gateway);
    set(text, "set gateway { type ipv4_addr;", gateways);
    let subnets = cluster.vswitches.iter().map(|vswitch| vswitch.subnet.trunc());
    set(text, "set vswitch { type ipv4_addr; flags interval;", subnets);
}

/// A named set or map. An empty one is declared without elements, which nft wants so.
fn set<T: Display>(text: &mut String, head: &str, elements: impl Iterator<Item = T>) {
    let elements: Vec<_> = elements.map(|element| element.to_string()).collect();
    let _ = if elements.is_empty() {
        writeln!(text, "{head} }}")
    } else {
        writeln!(text, "{head} elements = {{ {} }} }}", elements.join(", "))
    };
}

fn check_source(text: &mut String, cluster: &Cluster) {
    let counters = |name: fn(usize) -> String| {
        let pairs = cluster.nics().enumerate();
        let pairs = pairs.map(|(i, (node, nic))| format!("\"{}\" : {}", port(node, nic), name(i)));
        pairs.collect::<Vec<_>>().join(", ")
    };
    let (mac, ip) = (counters(unknown_mac), counters(unknown_ip));
    if mac.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "iifname . ether saddr != @nic_mac counter name iifname map {{ {mac} }} drop\n\
         ether type arp iifname . arp saddr ether != @nic_mac \
         counter name iifname map {{ {mac} }} drop\n\
         ether type arp arp saddr ip != 0.0.0.0 iifname . arp saddr ip != @nic_ip \
         counter name iifname map {{ {ip} }} drop\n\
         ether type ip iifname . ip saddr != @nic_ip counter name iifname map {{ {ip} }} drop"
    );
}

/// To the owner of the destination address, from the VPC's MAC; the rest goes up to the VPC's own
/// stack, which answers ARP, is the gateways and routes what leaves.
fn deliver(text: &mut String, cluster: &Cluster, answers_probes: bool) {
    let _ = if answers_probes {
        let probe = "ether type arp arp operation request arp saddr ip 0.0.0.0";
        writeln!(text, "{probe} arp saddr ip set {PROBE_SENDER}")
    } else {
        writeln!(text, "ether type arp arp saddr ip 0.0.0.0 drop")
    };
    let _ = writeln!(
        text,
        "ether type arp arp operation request accept\n\
         ether type != ip drop\n\
         ether daddr & 01:00:00:00:00:00 != 0 counter name {BROADCAST} drop\n\
         ip daddr @gateway accept"
    );
    if !cluster.cloud.routes_between_vswitches {
        for vswitch in &cluster.vswitches {
            let subnet = vswitch.subnet.trunc();
            let _ = writeln!(
                text,
                "ip saddr {subnet} ip daddr @vswitch ip daddr != {subnet} \
                 counter name {NOT_ROUTED} drop"
            );
        }
    }
    // A rule ends where its map has no element: what nobody owns goes on to the next.
    let _ = writeln!(
        text,
        "ether daddr set ip daddr map @owner ether saddr set {} accept\n\
         ip daddr @vswitch counter name {UNKNOWN_DESTINATION} drop",
        Mac::VPC
    );
    if cluster.nat.is_none() {
        let _ = writeln!(text, "counter name {UNKNOWN_DESTINATION} drop");
    }
}

/// The gateways of an ordinary network are the namespace's own routing, from bridge to bridge.
fn forbid_routing(text: &mut String) {
    let _ = writeln!(
        text,
        "table ip {TABLE} {{ chain forward {{\n\
         type filter hook forward priority filter\n\
         iifname \"vsw*\" oifname \"vsw*\" drop\n}}\n}}"
    );
}
