//! A second NIC in an underlay pod (coordinator.md §2.3), by which NIC the default route is.

use cni_coordinator::Route;

use crate::pods::{
    Stack, add_net1, assert_lines, attachment, config, nic, planned, route, underlay,
};
use crate::world::World;

/// A pod whose eth0 was wired, and which has a net1 by now.
fn two_nics(stack: Stack, fields: &str, metric: Option<u32>) -> World {
    let mut world = World::new(underlay(stack, 2));
    world.add(&config(fields));
    add_net1(&mut world.scene, stack, metric);
    world
}

const SETTINGS: [&str; 6] = [
    "ip netns exec POD sysctl -w net/ipv4/conf/all/rp_filter=0",
    "ip netns exec POD sysctl -w net/ipv4/conf/default/rp_filter=0",
    "ip netns exec POD sysctl -w net/ipv4/conf/veth0/rp_filter=0",
    "ip netns exec POD sysctl -w net/ipv4/conf/net1/rp_filter=0",
    "ip -n POD neigh replace 172.31.199.183 lladdr HMAC dev veth0 nud permanent",
    "ip -n POD neigh replace 192.168.0.10 lladdr HMAC dev veth0 nud permanent",
];

const ROUTES: [&str; 5] = [
    "ip -n POD route replace 172.31.199.183/32 dev veth0 table 102 OURS scope link src \
     192.168.0.160",
    "ip -n POD route replace 192.168.0.10/32 dev veth0 table 102 OURS scope link src 192.168.0.160",
    "ip -n POD route replace 10.233.64.0/18 via 172.31.199.183 dev veth0 table 102 OURS src \
     192.168.0.160",
    "ip -n POD route replace 10.233.0.0/18 via 172.31.199.183 dev veth0 table 102 OURS src \
     192.168.0.160",
    "ip -n POD route replace 169.254.0.0/16 via 172.31.199.183 dev veth0 table 102 OURS src \
     192.168.0.160",
];

const REPLIES: [&str; 3] = [
    "ip netns exec POD nft 'add table inet cni_coordinator; delete table inet cni_coordinator; \
     table inet cni_coordinator { chain prerouting { type filter hook prerouting priority mangle; \
     iifname \"veth0\" ct state new ct mark set ct mark or 0x80; }; chain output { type route hook \
     output priority mangle; ct mark and 0x80 == 0x80 meta mark set meta mark or 0x80; }; }'",
    "ip -n POD route replace 0.0.0.0/0 via 172.31.199.183 dev veth0 table 100 OURS",
    "ip -n POD rule add pref 500 from all fwmark 0x80/0x80 lookup 100 OURS",
];

const NODE: [&str; 5] = [
    "ip rule add pref 1000 from all lookup 500 OURS",
    "ip neigh flush to 192.168.0.160 nud all",
    "ip neigh replace 192.168.0.160 lladdr PMAC dev veth0123456789a nud permanent",
    "ip route flush table 500 exact 192.168.0.160/32",
    "ip route replace 192.168.0.160/32 dev veth0123456789a table 500 OURS scope link",
];

fn assert_tuned(fields: &str, metric: Option<u32>, tuned: &[&str]) {
    let world = two_nics(Stack::V4, fields, metric);
    let plan = planned(&config(fields), &world.scene);
    assert_lines(&plan, &[&SETTINGS[..], &ROUTES, &REPLIES, tuned, &NODE].concat());
    assert_eq!(plan.warnings, Vec::<String>::new());
}

#[test]
fn the_first_keeps_the_default_route_unless_told_otherwise() {
    for fields in ["", r#""podDefaultRouteNIC":"eth0""#, r#""podDefaultRouteNic":"eth0""#] {
        assert_tuned(
            fields,
            None,
            &[
                "ip -n POD route replace 192.168.0.0/24 dev net1 table 102 OURS scope link src \
                 192.168.0.160",
                "ip -n POD route replace 0.0.0.0/0 via 192.168.0.253 dev net1 table 102 OURS",
                "ip -n POD rule add pref 602 from 192.168.0.160/32 lookup 102 OURS",
                "ip -n POD route delete 0.0.0.0/0 via 192.168.0.253 dev net1 proto 3",
            ],
        );
    }
}

#[test]
fn the_second_takes_the_default_route_over() {
    assert_tuned(
        r#""podDefaultRouteNIC":"net1""#,
        Some(4096),
        &[
            "ip -n POD route replace 172.31.192.0/20 dev eth0 table 101 OURS scope link src \
             172.31.199.187",
            "ip -n POD route replace 0.0.0.0/0 via 172.31.207.253 dev eth0 table 101 OURS",
            "ip -n POD rule add pref 601 from 172.31.199.187/32 lookup 101 OURS",
            "ip -n POD route delete 0.0.0.0/0 via 172.31.207.253 dev eth0 proto 3",
        ],
    );
}

#[test]
fn untuned_routes_stay_where_they_are() {
    assert_tuned(r#""tunePodRoutes":false"#, None, &[]);
}

#[test]
fn policy_routes_are_where_packets_of_the_nic_look() {
    let routes = r#""policyRoutes":[{"dst":"10.10.0.0/16","gw":"192.168.0.253"}]"#;
    let table_of = |fields: &str| {
        let world = two_nics(Stack::V4, "", None);
        let plan = planned(&config(&format!("{routes}{fields}")), &world.scene);
        let lines: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
        lines.into_iter().find(|line| line.contains("10.10.0.0/16")).unwrap()
    };
    let own = "ip -n POD route replace 10.10.0.0/16 via 192.168.0.253 dev net1 table 102 proto 157";
    let main = "ip -n POD route replace 10.10.0.0/16 via 192.168.0.253 dev net1 proto 157";
    assert_eq!(table_of(""), own);
    assert_eq!(table_of(r#","podDefaultRouteNIC":"eth0""#), own);
    assert_eq!(table_of(r#","podDefaultRouteNIC":"net1""#), main);
    assert_eq!(table_of(r#","tunePodRoutes":false"#), main);
}

/// E13 as far as routes go: where packets leave, whichever NIC has the default route, in every
/// family and with either kind of second default route.
#[test]
fn every_packet_leaves_by_the_right_link() {
    for stack in Stack::ALL {
        for metric in [None, Some(4096)] {
            for default in ["", "eth0", "net1"] {
                let fields = format!(r#""podDefaultRouteNIC":"{default}""#);
                // The first NIC's configuration may or may not say it too.
                for first in ["", r#""podDefaultRouteNIC":"eth0""#] {
                    let mut world = two_nics(stack, first, metric);
                    world.add(&config(&fields));
                    let ways = if default == "net1" { NET1 } else { ETH0 };
                    assert_ways(&world, stack, ways, &fields);
                }
            }
        }
    }
}

const ETH0: [&str; 2] = ["eth0 via 172.31.207.253", "eth0 via fd00:172:31::253"];
const NET1: [&str; 2] = ["net1 via 192.168.0.253", "net1 via fd00:192::253"];

struct Family {
    eth0: &'static str,
    net1: &'static str,
    nodes: [&'static str; 2],
    service: &'static str,
    outside: &'static str,
    /// One of eth0's subnet, one of net1's.
    near: [&'static str; 2],
    host: &'static str,
}

const V4: Family = Family {
    eth0: "172.31.199.187",
    net1: "192.168.0.160",
    nodes: ["172.31.199.183", "192.168.0.10"],
    service: "10.233.0.10",
    outside: "8.8.8.8",
    near: ["172.31.199.200", "192.168.0.200"],
    host: "veth0 via 172.31.199.183",
};

const V6: Family = Family {
    eth0: "fd00:172:31::187",
    net1: "fd00:192::160",
    nodes: ["fd00:172:31::183", "fd00:192::10"],
    service: "fd00:10:233::a",
    outside: "2001:db8::8",
    near: ["fd00:172:31::200", "fd00:192::200"],
    host: "veth0 via fd00:172:31::183",
};

fn assert_ways(world: &World, stack: Stack, default: [&str; 2], context: &str) {
    for (number, family) in [V4, V6].iter().enumerate() {
        if matches!((stack, number), (Stack::V4, 1) | (Stack::V6, 0)) {
            continue;
        }
        let way = |from, dst| world.way(from, false, dst);
        // Whoever chose no address goes by the default route's NIC.
        assert_eq!(way(None, family.outside), default[number], "{context} {stack:?}");
        assert_eq!(way(None, family.near[0]), "eth0");
        assert_eq!(way(None, family.near[1]), "net1");
        // Each address leaves by its own NIC: a cloud drops it on another.
        for (from, gateway) in [(family.eth0, ETH0), (family.net1, NET1)] {
            assert_eq!(way(Some(from), family.outside), gateway[number], "{context} {stack:?}");
        }
        assert_eq!(way(Some(family.eth0), family.near[0]), "eth0", "{context}");
        assert_eq!(way(Some(family.net1), family.near[1]), "net1", "{context}");
        for from in [None, Some(family.eth0), Some(family.net1)] {
            // Services and the node: by the veth, from any address.
            assert_eq!(way(from, family.service), family.host, "{context} {from:?}");
            for node in family.nodes {
                assert_eq!(way(from, node), "veth0", "{context} {from:?}");
            }
            // What came by the veth is answered by the veth (E7, for both addresses).
            for client in [family.outside, family.near[0], family.near[1]] {
                assert_eq!(world.way(from, true, client), family.host, "{context} {from:?}");
            }
        }
    }
}

/// A first NIC without IPv6: the second is the first of that family, and is wired as such.
#[test]
fn a_family_that_only_the_second_has() {
    let mut world = World::new(underlay(Stack::V4, 2));
    world.add(&config(""));
    add_net1(&mut world.scene, Stack::Dual, None);
    world.add(&config(""));
    assert_eq!(world.way(None, false, V6.outside), NET1[1]);
    assert_eq!(world.way(None, false, V6.service), "veth0 via fd00:192::10");
    assert_eq!(world.way(Some(V6.net1), true, V6.outside), "veth0 via fd00:192::10");
    assert_eq!(world.way(Some(V4.net1), false, V4.outside), NET1[0]);
    assert_eq!(world.way(None, false, V4.outside), ETH0[0]);
}

#[test]
fn a_third_nic_has_the_next_numbers_and_can_take_over_too() {
    for (default, expected) in [("", ETH0[0]), ("net1", NET1[0]), ("net2", "net2 via 10.8.0.1")] {
        let mut world = two_nics(Stack::V4, "", None);
        world.add(&config(if default == "net1" { r#""podDefaultRouteNIC":"net1""# } else { "" }));
        world.scene.pod.links.push(nic(8, "net2", "ipvlan", &["10.8.0.2/24"]));
        let default_route = route("0.0.0.0/0 via 10.8.0.1", "net2", None);
        world.scene.pod.routes.push(Route { metric: Some(8192), ..default_route });
        world.scene.attachment = attachment("net2");
        let plan = world.add(&config(&format!(r#""podDefaultRouteNIC":"{default}""#)));
        assert_eq!(plan.wiring.unwrap().ordinal, 3);
        assert_eq!(world.way(None, false, "8.8.8.8"), expected, "{default}");
        for (from, way) in
            [(V4.eth0, ETH0[0]), (V4.net1, NET1[0]), ("10.8.0.2", "net2 via 10.8.0.1")]
        {
            assert_eq!(world.way(Some(from), false, "8.8.8.8"), way, "{default}");
            assert_eq!(world.way(Some(from), true, "8.8.8.8"), V4.host, "{default}");
            assert_eq!(world.way(Some(from), false, V4.service), V4.host, "{default}");
        }
    }
}
