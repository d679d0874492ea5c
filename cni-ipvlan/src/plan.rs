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
    /// Create the link, directly in the pod's namespace, with this name and number.
    Create {
        name: String,
        index: u32,
        parent: u32,
        mode: IpvlanMode,
        flag: IpvlanFlag,
        mtu: Option<u32>,
    },
    /// Set a value below `/proc/sys/net` of the pod.
    Sysctl { key: String, value: &'static str, need: Need },
    /// Add an address, with the prefix length of its subnet.
    Address { ifname: String, address: IpNet },
    /// Set it up.
    Up { ifname: String },
    /// Add a route over it: the one at this place of the result.
    Route { ifname: String, position: usize, route: cni_net::Route },
}

/// Which steps are taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Link,
    Settings,
    Addresses,
    Routes,
}

impl Stage {
    /// As a phase of an ADD.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Settings => "settings",
            Self::Addresses => "addresses",
            Self::Routes => "routes",
        }
    }
}

impl Step {
    /// Up and routes are one stage, and only when all addresses are there: what is announced on the
    /// way up is what the link has by then.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Create { .. } => Stage::Link,
            Self::Sysctl { .. } => Stage::Settings,
            Self::Address { .. } => Stage::Addresses,
            Self::Up { .. } | Self::Route { .. } => Stage::Routes,
        }
    }
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
            Self::Create { name, index, parent, mode, flag, mtu } => {
                write!(f, "ip link add {name} index {index} netns POD link if{parent}")?;
                if let Some(mtu) = mtu {
                    write!(f, " mtu {mtu}")?;
                }
                write!(f, " type ipvlan mode {mode} {flag}")
            }
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
    ifname: &str,
    index: u32,
    given: &AddResult,
) -> Vec<Step> {
    let name = || ifname.to_owned();
    let mut steps = vec![Step::Create {
        name: name(),
        index,
        parent: parent.index,
        mode: config.mode,
        flag: config.flag,
        mtu: config.mtu,
    }];
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

/// A name for a link that cannot be made under its own, until it has that. The same for every attempt
/// of one attachment, so that a DEL finds what a killed ADD left, and at most 15 bytes long
/// (`IFNAMSIZ`).
pub(crate) fn temporary_name(container: &str, ifname: &str) -> String {
    format!("ipvl{:08x}", hash(container, ifname))
}

/// A number for the link. It must be free in the pod's namespace and in the master's (where the
/// kernel counts from 1), so that it is one of sixteen million, far from those; 24 bits, for there
/// are places with no more for it (`IP_MULTICAST_IF` of the BSDs). One that is taken costs a rename.
pub(crate) fn chosen_index(container: &str, ifname: &str) -> u32 {
    LEAST_INDEX + hash(container, ifname) % (MOST_INDEX - LEAST_INDEX + 1)
}

const LEAST_INDEX: u32 = 0x10_0000;
const MOST_INDEX: u32 = 0xff_ffff;

fn hash(container: &str, ifname: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(container.as_bytes());
    hasher.update(&[0]);
    hasher.update(ifname.as_bytes());
    hasher.finalize()
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
        let steps = plan(config, &link(2, "eth0"), "eth0", 77, given);
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
                "ip link add eth0 index 77 netns POD link if2 type ipvlan mode l2 bridge",
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
                "ip link add eth0 index 77 netns POD link if2 mtu 1400 type ipvlan mode l3 private",
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

    #[test]
    fn chosen_numbers_are_in_their_range_and_differ() {
        let numbers: std::collections::BTreeSet<u32> =
            (0..1000).map(|pod| chosen_index(&format!("{pod:064x}"), "eth0")).collect();
        assert!(numbers.len() > 990, "{}", numbers.len());
        assert!(numbers.iter().all(|number| (LEAST_INDEX..=MOST_INDEX).contains(number)));
        assert_eq!(chosen_index("ab", "eth0"), chosen_index("ab", "eth0"));
        assert_ne!(chosen_index("ab", "eth0"), chosen_index("ab", "net1"));
    }
}
