//! The NAT gateway: a namespace between the VPC and the hosts outside.

use std::net::Ipv4Addr;

use crate::description::{Nat, OutsideSpec, VSwitch};
use crate::step::Step;

/// Both ends of the link between the VPC and the gateway; link-local (RFC 3927), so that they are
/// in no description's way.
const VPC_END: Ipv4Addr = Ipv4Addr::new(169, 254, 254, 1);
const NAT_END: Ipv4Addr = Ipv4Addr::new(169, 254, 254, 2);
const PREFIX_LENGTH: u8 = 30;

/// The VPC's share: the link to the gateway in the namespace with this name, and the way out.
pub(crate) fn vpc_lines(nat: &str) -> Vec<String> {
    vec![
        format!("link add name nat type veth peer name vpc netns {nat}"),
        "link set dev nat up".to_owned(),
        format!("address add {VPC_END}/{PREFIX_LENGTH} dev nat"),
        format!("route add default via {NAT_END}"),
    ]
}

/// The gateway's share, `outside` being the names of the hosts' namespaces. It makes the links to
/// them.
pub(crate) fn steps(nat: &Nat, vswitches: &[VSwitch], outside: &[&str]) -> Vec<Step> {
    let mut ip = vec![
        "link set dev lo up".to_owned(),
        "link set dev vpc up".to_owned(),
        format!("address add {NAT_END}/{PREFIX_LENGTH} dev vpc"),
    ];
    for vswitch in vswitches {
        ip.push(format!("route add {} via {VPC_END}", vswitch.subnet.trunc()));
    }
    for (host, name) in nat.outside.iter().zip(outside) {
        let (link, gateway, length) = (&host.name, host.gateway, host.address.prefix_len());
        ip.push(format!("link add name {link} type veth peer name eth0 netns {name}"));
        ip.push(format!("link set dev {link} up"));
        ip.push(format!("address add {gateway}/{length} dev {link}"));
    }
    let mut steps = vec![Step::no_ipv6(), Step::sysctl("ipv4/ip_forward", "1")];
    steps.extend(Step::no_rp_filter(["vpc"]));
    steps.push(Step::Ip(ip));
    steps.push(Step::Nft(ruleset(nat.inbound)));
    steps
}

/// An outside host's share.
pub(crate) fn outside_steps(host: &OutsideSpec) -> Vec<Step> {
    vec![Step::Ip(vec![
        "link set dev lo up".to_owned(),
        "link set dev eth0 up".to_owned(),
        format!("address add {} dev eth0", host.address),
        format!("route add default via {}", host.gateway),
    ])]
}

fn ruleset(inbound: bool) -> String {
    let masquerade = "table ip nat {
chain postrouting {
type nat hook postrouting priority srcnat
iifname \"vpc\" oifname != \"vpc\" masquerade
}
}
";
    let closed = "table ip filter {
chain forward {
type filter hook forward priority filter
oifname \"vpc\" ct status dnat accept
oifname \"vpc\" ct state != { established, related } drop
}
}
";
    if inbound { masquerade.to_owned() } else { format!("{masquerade}{closed}") }
}
