//! What an ADD does to the kernel, as a value: computed first, applied by [`crate::apply`].

use std::fmt;
use std::net::IpAddr;

use cni_net::{IpvlanFlag, IpvlanMode, Link, RouteScope};
use cni_proto::{AddResult, Route};
use ipnet::IpNet;

use crate::config::IpvlanConfig;

/// One change, in the order in which the plan has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Create the link under its temporary name, directly in the pod's namespace.
    Create { name: String, parent: u32, mode: IpvlanMode, flag: IpvlanFlag, mtu: Option<u32> },
    /// Give it its final name, in the pod's namespace.
    Rename { from: String, to: String },
    /// Set a value below `/proc/sys/net` of the pod.
    Sysctl { key: String, value: &'static str, need: Need },
    /// Add an address, with the prefix length of its subnet.
    Address { ifname: String, address: IpNet },
    /// Set it up.
    Up { ifname: String },
    /// Add a route over it: the one at this place of the result.
    Route { ifname: String, position: usize, route: cni_net::Route },
}

/// What becomes of an ADD whose step cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// It fails.
    Must,
    /// It goes on, and a person is told.
    Should,
}

impl fmt::Display for Step {
    /// The same change as an iproute2 command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { name, parent, mode, flag, mtu } => {
                write!(f, "ip link add {name} netns POD link if{parent}")?;
                if let Some(mtu) = mtu {
                    write!(f, " mtu {mtu}")?;
                }
                write!(f, " type ipvlan mode {mode} {flag}")
            }
            Self::Rename { from, to } => write!(f, "ip -n POD link set {from} name {to}"),
            Self::Sysctl { key, value, need: _ } => {
                write!(f, "ip netns exec POD sysctl -w net/{key}={value}")
            }
            Self::Address { ifname, address } => {
                write!(f, "ip -n POD address add {address} dev {ifname}")?;
                if matches!(address, IpNet::V6(_)) { f.write_str(" nodad") } else { Ok(()) }
            }
            Self::Up { ifname } => write!(f, "ip -n POD link set {ifname} up"),
            Self::Route { ifname, position: _, route } => {
                write!(f, "ip -n POD route add {}", route.dst)?;
                if let Some(via) = route.via {
                    write!(f, " via {via}")?;
                }
                write!(f, " dev {ifname}")?;
                for (word, value) in [
                    ("table", route.table),
                    ("metric", route.metric),
                    ("scope", route.scope.map(|scope| scope.0.into())),
                    ("mtu", route.mtu),
                    ("advmss", route.advmss),
                ] {
                    if let Some(value) = value {
                        write!(f, " {word} {value}")?;
                    }
                }
                Ok(())
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
    let name = || ifname.to_owned();
    let mut steps = vec![
        Step::Create {
            name: temporary.to_owned(),
            parent: parent.index,
            mode: config.mode,
            flag: config.flag,
            mtu: config.mtu,
        },
        Step::Rename { from: temporary.to_owned(), to: name() },
    ];
    steps.extend(settings(ifname, given));
    steps.extend(given.ips.iter().map(|ip| Step::Address { ifname: name(), address: ip.address }));
    steps.push(Step::Up { ifname: name() });
    steps.extend(given.routes.iter().enumerate().map(|(position, route)| Step::Route {
        ifname: name(),
        position,
        route: over_link(route, gateway_of(given, route.dst)),
    }));
    steps
}

/// Before the addresses: IPv6 is there, and both families announce themselves as soon as the link
/// is up, by gratuitous ARP (`inetdev_event` in `net/ipv4/devinet.c`) and an unsolicited neighbour
/// advertisement (`addrconf_dad_completed` in `net/ipv6/addrconf.c`), so that nobody keeps the MAC
/// of who had the address before.
fn settings(ifname: &str, given: &AddResult) -> Vec<Step> {
    let (v4, v6) = families(given);
    let sysctl = |key: String, value, need| Step::Sysctl { key, value, need };
    let mut steps = Vec::new();
    if v4 {
        steps.push(sysctl(format!("ipv4/conf/{ifname}/arp_notify"), "1", Need::Should));
    }
    if v6 {
        // The loopback carries what a pod sends to itself.
        steps.push(sysctl("ipv6/conf/lo/disable_ipv6".to_owned(), "0", Need::Must));
        steps.push(sysctl(format!("ipv6/conf/{ifname}/disable_ipv6"), "0", Need::Must));
        // As IPv4: an address outlives a time during which its link is down.
        steps.push(sysctl(format!("ipv6/conf/{ifname}/keep_addr_on_down"), "1", Need::Should));
        steps.push(sysctl(format!("ipv6/conf/{ifname}/ndisc_notify"), "1", Need::Should));
    }
    steps
}

/// Whether there are addresses of IPv4, and of IPv6.
fn families(given: &AddResult) -> (bool, bool) {
    let is_v6 = |ip: &cni_proto::IpConfig| ip.address.addr().is_ipv6();
    (given.ips.iter().any(|ip| !is_v6(ip)), given.ips.iter().any(is_v6))
}

/// The gateway of a route that names none: that of its family's first address.
pub(crate) fn gateway_of(given: &AddResult, dst: IpNet) -> Option<IpAddr> {
    let is_v4 = |net: &IpNet| matches!(net, IpNet::V4(_));
    given.ips.iter().find(|ip| is_v4(&ip.address) == is_v4(&dst))?.gateway
}

fn over_link(route: &Route, gateway: Option<IpAddr>) -> cni_net::Route {
    // A destination on the link itself has no gateway, whatever the address has.
    let near = route.scope.is_some_and(|scope| scope >= RouteScope::LINK.0);
    let via = route.gw.or(gateway.filter(|_| !near));
    cni_net::Route {
        // An index is not known before the link is there.
        table: route.table.filter(|table| *table != 0),
        metric: route.priority,
        scope: route.scope.map(RouteScope),
        mtu: route.mtu,
        advmss: route.advmss,
        ..cni_net::Route::new(route.dst.trunc(), via, 0)
    }
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
    use cni_proto::IpConfig;

    use super::*;
    use crate::precheck::tests::{config, link};

    fn ip(address: &str, gateway: Option<&str>) -> IpConfig {
        let gateway = gateway.map(|gateway| gateway.parse().unwrap());
        IpConfig { address: address.parse().unwrap(), gateway, interface: None }
    }

    fn lines(config: &IpvlanConfig, given: &AddResult) -> Vec<String> {
        let steps = plan(config, &link(2, "eth0"), "TEMP", "eth0", given);
        steps.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_seeds_first_pod_in_ip_commands() {
        let given = AddResult {
            ips: vec![ip("172.31.199.185/20", Some("172.31.207.253"))],
            routes: vec![Route {
                gw: Some("172.31.207.253".parse().unwrap()),
                ..Route::to("0.0.0.0/0".parse().unwrap())
            }],
            ..AddResult::default()
        };
        assert_eq!(
            lines(&config(), &given),
            [
                "ip link add TEMP netns POD link if2 type ipvlan mode l2 bridge",
                "ip -n POD link set TEMP name eth0",
                "ip netns exec POD sysctl -w net/ipv4/conf/eth0/arp_notify=1",
                "ip -n POD address add 172.31.199.185/20 dev eth0",
                "ip -n POD link set eth0 up",
                "ip -n POD route add 0.0.0.0/0 via 172.31.207.253 dev eth0",
            ]
        );
    }

    #[test]
    fn dual_stack_with_every_option_in_ip_commands() {
        let config = IpvlanConfig {
            mode: IpvlanMode::L3,
            flag: IpvlanFlag::Private,
            mtu: Some(1400),
            ..config()
        };
        let route = |dst: &str| Route::to(dst.parse().unwrap());
        let given = AddResult {
            ips: vec![ip("10.0.0.5/24", Some("10.0.0.1")), ip("fd00::5/64", Some("fd00::1"))],
            routes: vec![
                route("0.0.0.0/0"),
                route("::/0"),
                Route {
                    gw: Some("10.0.0.9".parse().unwrap()),
                    mtu: Some(1300),
                    advmss: Some(1200),
                    priority: Some(7),
                    table: Some(100),
                    ..route("10.9.0.7/16")
                },
                Route { scope: Some(253), ..route("10.8.0.0/16") },
            ],
            ..AddResult::default()
        };
        assert_eq!(
            lines(&config, &given),
            [
                "ip link add TEMP netns POD link if2 mtu 1400 type ipvlan mode l3 private",
                "ip -n POD link set TEMP name eth0",
                "ip netns exec POD sysctl -w net/ipv4/conf/eth0/arp_notify=1",
                "ip netns exec POD sysctl -w net/ipv6/conf/lo/disable_ipv6=0",
                "ip netns exec POD sysctl -w net/ipv6/conf/eth0/disable_ipv6=0",
                "ip netns exec POD sysctl -w net/ipv6/conf/eth0/keep_addr_on_down=1",
                "ip netns exec POD sysctl -w net/ipv6/conf/eth0/ndisc_notify=1",
                "ip -n POD address add 10.0.0.5/24 dev eth0",
                "ip -n POD address add fd00::5/64 dev eth0 nodad",
                "ip -n POD link set eth0 up",
                "ip -n POD route add 0.0.0.0/0 via 10.0.0.1 dev eth0",
                "ip -n POD route add ::/0 via fd00::1 dev eth0",
                "ip -n POD route add 10.9.0.0/16 via 10.0.0.9 dev eth0 table 100 metric 7 mtu \
                 1300 advmss 1200",
                "ip -n POD route add 10.8.0.0/16 dev eth0 scope 253",
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
