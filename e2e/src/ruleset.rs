//! The VPC's nftables ruleset: the source check, and delivery by destination address.
//!
//! It is loaded in the bridge family, in front of the forwarding decision of the VPC's bridges.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;

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
    if let Arp::Proxied { .. } = cluster.cloud.arp {
        deliver_ipv6(&mut text, cluster);
    }
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

/// What makes of the ruleset of one description that of another, in which NICs have other
/// addresses.
pub(crate) fn changes(before: &Cluster, after: &Cluster) -> String {
    let mut text = String::new();
    for (digit, _) in FAMILIES {
        let ((addresses, owners), (later_addresses, later_owners)) =
            (owned(before, digit), owned(after, digit));
        for (name, had, has) in [
            (format!("nic_ip{digit}"), addresses, later_addresses),
            (format!("owner{digit}"), owners, later_owners),
        ] {
            for (verb, elements) in [("delete", &had - &has), ("add", &has - &had)] {
                for element in elements {
                    let _ = writeln!(text, "{verb} element bridge {TABLE} {name} {{ {element} }}");
                }
            }
        }
    }
    text
}

/// What the names of a family's sets end with, and the type of its addresses.
const FAMILIES: [(&str, &str); 2] = [("", "ipv4_addr"), ("6", "ipv6_addr")];

/// The elements of a family's `nic_ip` and `owner`.
fn owned(cluster: &Cluster, digit: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut addresses, mut owners) = (BTreeSet::new(), BTreeSet::new());
    for (node, nic) in cluster.nics() {
        for address in nic.addresses().filter(|it| it.is_ipv6() == (digit == "6")) {
            addresses.insert(format!("\"{}\" . {address}", port(node, nic)));
            owners.insert(format!("{address} : {}", nic.mac));
        }
    }
    (addresses, owners)
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
    for (digit, kind) in FAMILIES {
        let here = |address: &IpAddr| address.is_ipv6() == (digit == "6");
        let (addresses, owners) = owned(cluster, digit);
        set(text, &format!("set nic_ip{digit} {{ type ifname . {kind};"), addresses.iter());
        set(text, &format!("map owner{digit} {{ type {kind} : ether_addr;"), owners.iter());
        let gateways: BTreeSet<_> = subnets(cluster).map(|(_, it)| it).filter(here).collect();
        set(text, &format!("set gateway{digit} {{ type {kind};"), gateways.iter());
        let subnets = subnets(cluster).filter(|(_, gateway)| here(gateway));
        let subnets = subnets.map(|(subnet, _)| subnet);
        set(text, &format!("set vswitch{digit} {{ type {kind}; flags interval;"), subnets);
    }
}

/// The subnets of both families, each with its gateway.
fn subnets(cluster: &Cluster) -> impl Iterator<Item = (IpNet, IpAddr)> {
    cluster.vswitches.iter().flat_map(|vswitch| {
        let ipv6 = vswitch.ipv6.map(|ipv6| (ipv6.subnet.trunc(), ipv6.gateway));
        [(vswitch.subnet.trunc(), vswitch.gateway)].into_iter().chain(ipv6)
    })
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
         ether type ip iifname . ip saddr != @nic_ip counter name iifname map {{ {ip} }} drop\n\
         ether type ip6 ip6 saddr != {{ ::, fe80::/10 }} iifname . ip6 saddr != @nic_ip6 \
         counter name iifname map {{ {ip} }} drop"
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
         ether type ip6 jump deliver_ipv6\n\
         ether type != ip drop\n\
         ether daddr & 01:00:00:00:00:00 != 0 counter name {BROADCAST} drop\n\
         ip daddr @gateway accept"
    );
    if !cluster.cloud.routes_between_vswitches {
        for (subnet, _) in subnets(cluster).filter(|(subnet, _)| subnet.addr().is_ipv4()) {
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

/// As [`deliver`], for IPv6, of which nothing leaves the VPC. Solicitations go up to the VPC's own
/// stack, but for those of duplicate detection, which its proxy would answer as well.
fn deliver_ipv6(text: &mut String, cluster: &Cluster) {
    let _ = writeln!(
        text,
        "chain deliver_ipv6 {{\n\
         icmpv6 type nd-neighbor-solicit ip6 saddr :: drop\n\
         icmpv6 type nd-neighbor-solicit accept\n\
         ether daddr & 01:00:00:00:00:00 != 0 drop\n\
         ip6 daddr @gateway6 accept"
    );
    if !cluster.cloud.routes_between_vswitches {
        for (subnet, _) in subnets(cluster).filter(|(subnet, _)| subnet.addr().is_ipv6()) {
            let _ = writeln!(
                text,
                "ip6 saddr {subnet} ip6 daddr @vswitch6 ip6 daddr != {subnet} \
                 counter name {NOT_ROUTED} drop"
            );
        }
    }
    let _ = writeln!(
        text,
        "ether daddr set ip6 daddr map @owner6 ether saddr set {} accept\n\
         ip6 daddr @vswitch6 counter name {UNKNOWN_DESTINATION} drop\n\
         drop\n}}",
        Mac::VPC
    );
}

/// The gateways of an ordinary network are the namespace's own routing, from bridge to bridge.
fn forbid_routing(text: &mut String) {
    let _ = writeln!(
        text,
        "table inet {TABLE} {{ chain forward {{\n\
         type filter hook forward priority filter\n\
         iifname \"vsw*\" oifname \"vsw*\" drop\n}}\n}}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed;

    #[test]
    fn an_address_that_moves_leaves_the_one_nic_and_comes_to_the_other() {
        let before = seed::cluster();
        let mut after = before.clone();
        let moved = after.nodes[0].nics[0].secondary.remove(0);
        after.nodes[1].nics[0].secondary.push(moved);
        let (old, new) = (after.nodes[0].nics[0].mac, after.nodes[1].nics[0].mac);
        assert_eq!(
            changes(&before, &after),
            format!(
                "delete element bridge vpc nic_ip {{ \"master-eth0\" . {moved} }}\n\
                 add element bridge vpc nic_ip {{ \"worker-eth0\" . {moved} }}\n\
                 delete element bridge vpc owner {{ {moved} : {old} }}\n\
                 add element bridge vpc owner {{ {moved} : {new} }}\n"
            )
        );
        assert_eq!(changes(&after, &after), "");
    }
}
