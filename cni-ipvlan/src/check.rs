//! The kernel against what an ADD answered: each difference in words.

use cni_net::{Link, Route};
use cni_proto::{AddResult, Interface};
use ipnet::IpNet;

use crate::config::IpvlanConfig;
use crate::link::IPVLAN;
use crate::plan::gateway_of;

/// What the pod has.
#[derive(Debug)]
pub(crate) struct Found {
    /// The interface.
    pub(crate) link: Link,
    /// The number by which the pod knows the master's namespace; `None` if that is the pod's own.
    pub(crate) netns_of_master: Option<i32>,
    /// Its addresses.
    pub(crate) addresses: Vec<IpNet>,
    /// The pod's routes, of all tables.
    pub(crate) routes: Vec<Route>,
}

/// All that differs; nothing if the interface is as it was made. What other plugins of the chain
/// added is no difference, and routes are looked for in every table: some plugins move them.
pub(crate) fn differences(
    config: &IpvlanConfig,
    master: &Link,
    interface: &Interface,
    result: &AddResult,
    found: &Found,
) -> Vec<String> {
    let mut all = of_link(config, master, interface, found);
    let position = result.interfaces.iter().position(|it| it == interface);
    for ip in result.ips.iter().filter(|ip| ip.interface.is_none() || ip.interface == position) {
        if !found.addresses.contains(&ip.address) {
            all.push(format!("address {} is missing", ip.address));
        }
    }
    for route in &result.routes {
        let dst = route.dst.trunc();
        let via = route.gw.or_else(|| gateway_of(result, dst));
        let is_it = |it: &&Route| it.dst == dst && (route.gw.is_none() || it.via == route.gw);
        let mut of_others = false;
        let ours = found.routes.iter().filter(is_it).any(|it| {
            of_others |= it.index != found.link.index;
            it.index == found.link.index
        });
        // A route of another interface of the chain is that plugin's to check.
        if !ours && !of_others {
            let via = via.map(|via| format!(" via {via}")).unwrap_or_default();
            all.push(format!("route {dst}{via} is missing in every table"));
        }
    }
    all
}

fn of_link(
    config: &IpvlanConfig,
    master: &Link,
    interface: &Interface,
    found: &Found,
) -> Vec<String> {
    let link = &found.link;
    let kind = link.kind.as_deref().unwrap_or("hardware");
    if kind != IPVLAN {
        return vec![format!("it is a link of kind {kind}, not ipvlan")];
    }
    let mut all = Vec::new();
    if !link.up {
        all.push("it is down".to_owned());
    }
    if link.ipvlan_mode.is_some_and(|mode| mode != config.mode) {
        let mode = link.ipvlan_mode.map(|mode| mode.to_string()).unwrap_or_default();
        all.push(format!("its mode is {mode}, not {}", config.mode));
    }
    if link.parent != Some(master.index) || link.parent_netns != found.netns_of_master {
        let name = &master.name;
        all.push(format!("its parent is not {name} (index {})", master.index));
    }
    let mac = link.mac.map(|mac| mac.to_string());
    if let Some(expected) = &interface.mac
        && mac.as_ref().is_none_or(|mac| !mac.eq_ignore_ascii_case(expected))
    {
        all.push(format!("its MAC is {}, not {expected}", mac.unwrap_or_default()));
    }
    // Without `mtu` the interface follows its master, also when that changes.
    let expected = config.mtu.or(interface.mtu.filter(|mtu| *mtu == master.mtu));
    let expected = expected.unwrap_or(master.mtu);
    // Below it is what a plugin behind this one makes of it (tuning's `mtu`), without a trace in the
    // result. Above it packets are lost.
    if link.mtu > expected {
        all.push(format!("its MTU is {}, not {expected}", link.mtu));
    }
    all
}

#[cfg(test)]
mod tests {
    use cni_net::{IpvlanFlag, IpvlanMode, MacAddr};
    use cni_proto::IpConfig;

    use super::*;
    use crate::precheck::tests::{config, link};

    const INDEX: u32 = 7;

    fn interface() -> Interface {
        Interface {
            name: "eth0".into(),
            mac: Some("02:00:00:00:00:01".into()),
            mtu: Some(1500),
            sandbox: Some("/run/netns/pod".into()),
            ..Interface::default()
        }
    }

    fn result() -> AddResult {
        let ip = |address: &str| IpConfig {
            address: address.parse().unwrap(),
            gateway: None,
            interface: Some(0),
        };
        let route = |dst: &str, gw: Option<&str>| cni_proto::Route {
            gw: gw.map(|gw| gw.parse().unwrap()),
            ..cni_proto::Route::to(dst.parse().unwrap())
        };
        AddResult {
            interfaces: vec![interface()],
            ips: vec![ip("10.0.0.5/24"), ip("fd00::5/64")],
            routes: vec![route("0.0.0.0/0", Some("10.0.0.1")), route("10.9.0.0/16", None)],
            ..AddResult::default()
        }
    }

    fn found() -> Found {
        let route = |dst: &str, via: Option<&str>, table| Route {
            table: Some(table),
            ..Route::new(dst.parse().unwrap(), via.map(|via| via.parse().unwrap()), INDEX)
        };
        Found {
            link: Link {
                kind: Some("ipvlan".into()),
                mac: Some(MacAddr([2, 0, 0, 0, 0, 1])),
                parent: Some(2),
                parent_netns: Some(0),
                ipvlan_mode: Some(IpvlanMode::L2),
                ipvlan_flag: Some(IpvlanFlag::Bridge),
                ..link(INDEX, "eth0")
            },
            netns_of_master: Some(0),
            addresses: vec!["10.0.0.5/24".parse().unwrap(), "fd00::5/64".parse().unwrap()],
            routes: vec![
                route("0.0.0.0/0", Some("10.0.0.1"), 100),
                route("10.9.0.0/16", None, 254),
                route("10.0.0.0/24", None, 254),
            ],
        }
    }

    fn changed(change: impl FnOnce(&mut Found)) -> Vec<String> {
        let mut found = found();
        change(&mut found);
        differences(&config(), &link(2, "ens5"), &interface(), &result(), &found)
    }

    #[test]
    fn a_whole_interface_with_a_route_in_another_table_and_more_of_all_is_as_it_should_be() {
        assert_eq!(changed(|_| {}), Vec::<String>::new());
        let more = |found: &mut Found| {
            found.addresses.push("10.1.0.1/32".parse().unwrap());
            found.routes.push(Route::new("10.77.0.0/16".parse().unwrap(), None, 9));
        };
        assert_eq!(changed(more), Vec::<String>::new());
        assert_eq!(changed(|found| found.link.mtu = 1400), Vec::<String>::new());
    }

    #[test]
    fn each_difference_is_named() {
        for (expected, differences) in [
            (
                "it is a link of kind veth, not ipvlan",
                changed(|f| f.link.kind = Some("veth".into())),
            ),
            ("it is a link of kind hardware, not ipvlan", changed(|f| f.link.kind = None)),
            ("it is down", changed(|f| f.link.up = false)),
            ("its mode is l3, not l2", changed(|f| f.link.ipvlan_mode = Some(IpvlanMode::L3))),
            ("its parent is not ens5 (index 2)", changed(|f| f.link.parent = Some(3))),
            ("its parent is not ens5 (index 2)", changed(|f| f.link.parent_netns = Some(1))),
            ("its MTU is 1501, not 1500", changed(|f| f.link.mtu = 1501)),
            (
                "its MAC is 02:00:00:00:00:02, not 02:00:00:00:00:01",
                changed(|f| f.link.mac = Some(MacAddr([2, 0, 0, 0, 0, 2]))),
            ),
            ("address fd00::5/64 is missing", changed(|f| f.addresses.truncate(1))),
            (
                "route 0.0.0.0/0 via 10.0.0.1 is missing in every table",
                changed(|f| f.routes.retain(|it| it.dst.prefix_len() > 0)),
            ),
            (
                "route 0.0.0.0/0 via 10.0.0.1 is missing in every table",
                changed(|f| f.routes[0].via = Some("10.0.0.2".parse().unwrap())),
            ),
            (
                "route 10.9.0.0/16 is missing in every table",
                changed(|f| f.routes.retain(|it| it.dst.prefix_len() != 16)),
            ),
        ] {
            assert_eq!(differences, [expected]);
        }
        let two = changed(|found| {
            found.link.up = false;
            found.addresses.clear();
        });
        assert_eq!(two.len(), 3, "{two:?}");
    }
}
