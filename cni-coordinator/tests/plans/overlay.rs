//! A NIC beside that of an overlay network (coordinator.md §2.4).

use crate::pods::{Stack, assert_lines, config, overlay, planned};
use crate::world::World;

const SETTINGS: [&str; 13] = [
    "ip netns exec POD sysctl -w net/ipv4/conf/all/rp_filter=0",
    "ip netns exec POD sysctl -w net/ipv4/conf/default/rp_filter=0",
    "ip netns exec POD sysctl -w net/ipv4/conf/eth0/rp_filter=0",
    "ip netns exec POD sysctl -w net/ipv4/conf/net1/rp_filter=0",
    "ip -n POD neigh replace 172.31.199.183 lladdr 00:16:3e:01:00:09 dev eth0 nud permanent",
    "ip -n POD route replace 172.31.199.183/32 dev eth0 table 101 OURS scope link src \
     172.31.199.187",
    "ip -n POD route replace 172.31.199.183/32 dev eth0 OURS scope link src 10.233.105.154",
    "ip -n POD route replace 10.233.64.0/18 via 172.31.199.183 dev eth0 table 101 OURS src \
     172.31.199.187",
    "ip -n POD route replace 10.233.64.0/18 via 172.31.199.183 dev eth0 OURS src 10.233.105.154",
    "ip -n POD route replace 10.233.0.0/18 via 172.31.199.183 dev eth0 table 101 OURS src \
     172.31.199.187",
    "ip -n POD route replace 10.233.0.0/18 via 172.31.199.183 dev eth0 OURS src 10.233.105.154",
    "ip -n POD route replace 169.254.0.0/16 via 172.31.199.183 dev eth0 table 101 OURS src \
     172.31.199.187",
    "ip -n POD route replace 169.254.0.0/16 via 172.31.199.183 dev eth0 OURS src 10.233.105.154",
];

const NODE: [&str; 5] = [
    "ip rule add pref 1000 from all lookup 500 OURS",
    "ip neigh flush to 172.31.199.187 nud all",
    "ip neigh replace 172.31.199.187 lladdr 00:16:3e:00:00:03 dev cali12345 nud permanent",
    "ip route flush table 500 exact 172.31.199.187/32",
    "ip route replace 172.31.199.187/32 dev cali12345 table 500 OURS scope link",
];

fn assert_tuned(fields: &str, tuned: &[&str]) {
    let plan = planned(&config(fields), &overlay(Stack::V4));
    assert_lines(&plan, &[&SETTINGS[..], tuned, &NODE].concat());
    assert_eq!(plan.warnings, Vec::<String>::new());
}

#[test]
fn the_overlays_nic_keeps_the_default_route_unless_told_otherwise() {
    for fields in ["", r#""podDefaultRouteNIC":"eth0""#, r#""mode":"overlay""#] {
        assert_tuned(
            fields,
            &[
                "ip -n POD route replace 0.0.0.0/0 via 169.254.1.1 dev eth0 table 100 OURS",
                "ip -n POD rule add pref 600 from 10.233.105.154/32 lookup 100 OURS",
                "ip -n POD route replace 172.31.192.0/20 dev net1 table 101 OURS scope link src \
                 172.31.199.187",
                "ip -n POD route replace 0.0.0.0/0 via 172.31.207.253 dev net1 table 101 OURS \
                 metric 4096",
                "ip -n POD rule add pref 601 from 172.31.199.187/32 lookup 101 OURS",
                "ip -n POD route delete 0.0.0.0/0 via 172.31.207.253 dev net1 proto 3 metric 4096",
            ],
        );
    }
}

#[test]
fn net1_takes_the_default_route_over() {
    assert_tuned(
        r#""podDefaultRouteNIC":"net1""#,
        &[
            "ip -n POD route replace 169.254.1.1/32 dev eth0 table 100 OURS scope link",
            "ip -n POD route replace 0.0.0.0/0 via 169.254.1.1 dev eth0 table 100 OURS",
            "ip -n POD rule add pref 600 from 10.233.105.154/32 lookup 100 OURS",
            "ip -n POD route delete 0.0.0.0/0 via 169.254.1.1 dev eth0 proto 3",
        ],
    );
}

#[test]
fn untuned_routes_stay_where_they_are() {
    assert_tuned(r#""tunePodRoutes":false"#, &[]);
}

#[test]
fn policy_routes_are_in_the_nics_table() {
    let fields = r#""policyRoutes":[{"dst":"10.10.0.0/16","gw":"172.31.207.253"}]"#;
    let plan = planned(&config(fields), &overlay(Stack::V4));
    let lines: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
    let line = "ip -n POD route replace 10.10.0.0/16 via 172.31.207.253 dev net1 table 101 \
                proto 157";
    assert!(lines.iter().any(|it| it == line), "{}", lines.join("\n"));
}

#[test]
fn every_packet_leaves_by_the_right_link() {
    for stack in Stack::ALL {
        for default in ["", "eth0", "net1"] {
            let mut world = World::new(overlay(stack));
            let plan = world.add(&config(&format!(r#""podDefaultRouteNIC":"{default}""#)));
            assert_eq!(plan.wiring.unwrap().ordinal, 1);
            let families = [
                ("10.233.105.154", "172.31.199.187", "8.8.8.8", "10.233.0.10", "172.31.199.200"),
                (
                    "fd00:10:233:64::9a",
                    "fd00:172:31::187",
                    "2001:db8::8",
                    "fd00:10:233::a",
                    "fd00:172:31::200",
                ),
            ];
            for (number, (eth0, net1, outside, service, near)) in families.iter().enumerate() {
                if matches!((stack, number), (Stack::V4, 1) | (Stack::V6, 0)) {
                    continue;
                }
                let link = |from, dst| {
                    let way = world.way(from, false, dst);
                    way.split(' ').next().unwrap_or_default().to_owned()
                };
                let expected = if default == "net1" { "net1" } else { "eth0" };
                assert_eq!(link(None, outside), expected, "{stack:?} {default}");
                assert_eq!(link(Some(*eth0), outside), "eth0");
                assert_eq!(link(Some(*net1), outside), "net1");
                // The peer's issue 3683.
                assert_eq!(link(Some(*eth0), near), "eth0", "{stack:?} {default}");
                assert_eq!(link(Some(*net1), near), "net1");
                for from in [None, Some(*eth0), Some(*net1)] {
                    assert_eq!(link(from, service), "eth0", "{stack:?} {default} {from:?}");
                }
            }
        }
    }
}
