//! The first NIC of an underlay pod (coordinator.md §2.2 in our variant).

use crate::pods::{Stack, assert_lines, config, lines, planned, underlay};

const MARKS: &str = "ip netns exec POD nft 'add table inet cni_coordinator; delete table inet \
     cni_coordinator; table inet cni_coordinator { chain prerouting { type filter hook prerouting \
     priority mangle; iifname \"veth0\" ct state new ct mark set ct mark or 0x80; }; chain output \
     { type route hook output priority mangle; ct mark and 0x80 == 0x80 meta mark set meta mark or \
     0x80; }; }'";

#[test]
fn the_specifications_example() {
    let plan = planned(&config(""), &underlay(Stack::Dual, 1));
    assert_eq!(plan.warnings, Vec::<String>::new());
    assert_lines(
        &plan,
        &[
            "ip -n POD link add veth0 address PMAC mtu 1500 type veth peer name veth0123456789a \
             address HMAC mtu 1500 netns NODE",
            "ip link set veth0123456789a alias \
             cni-coordinator/0123456789abcdef0123456789abcdef/eth0",
            "sysctl -w net/ipv6/conf/veth0123456789a/accept_ra=0",
            "sysctl -w net/ipv6/conf/veth0123456789a/accept_redirects=0",
            "sysctl -w net/ipv4/conf/veth0123456789a/rp_filter=0",
            "ip netns exec POD sysctl -w net/ipv6/conf/all/disable_ipv6=0",
            "ip netns exec POD sysctl -w net/ipv6/conf/veth0/disable_ipv6=0",
            "ip netns exec POD sysctl -w net/ipv6/conf/eth0/disable_ipv6=0",
            "ip netns exec POD sysctl -w net/ipv6/conf/veth0/accept_ra=0",
            "ip netns exec POD sysctl -w net/ipv4/conf/all/rp_filter=0",
            "ip netns exec POD sysctl -w net/ipv4/conf/default/rp_filter=0",
            "ip netns exec POD sysctl -w net/ipv4/conf/veth0/rp_filter=0",
            "ip netns exec POD sysctl -w net/ipv4/conf/eth0/rp_filter=0",
            "ip link set veth0123456789a up",
            "ip -n POD link set veth0 up",
            "ip -n POD neigh replace 172.31.199.183 lladdr HMAC dev veth0 nud permanent",
            "ip -n POD neigh replace fd00:172:31::183 lladdr HMAC dev veth0 nud permanent",
            "ip -n POD route replace 172.31.199.183/32 dev veth0 table 101 OURS scope link src \
             172.31.199.187",
            "ip -n POD route replace 172.31.199.183/32 dev veth0 OURS scope link src \
             172.31.199.187",
            "ip -n POD route replace fd00:172:31::183/128 dev veth0 table 101 OURS",
            "ip -n POD route replace fd00:172:31::183/128 dev veth0 OURS",
            "ip -n POD route replace 10.233.64.0/18 via 172.31.199.183 dev veth0 table 101 OURS \
             src 172.31.199.187",
            "ip -n POD route replace 10.233.64.0/18 via 172.31.199.183 dev veth0 OURS src \
             172.31.199.187",
            "ip -n POD route replace 10.233.0.0/18 via 172.31.199.183 dev veth0 table 101 OURS \
             src 172.31.199.187",
            "ip -n POD route replace 10.233.0.0/18 via 172.31.199.183 dev veth0 OURS src \
             172.31.199.187",
            "ip -n POD route replace fd00:10:233::/116 via fd00:172:31::183 dev veth0 table 101 \
             OURS",
            "ip -n POD route replace fd00:10:233::/116 via fd00:172:31::183 dev veth0 OURS",
            "ip -n POD route replace 169.254.0.0/16 via 172.31.199.183 dev veth0 table 101 OURS \
             src 172.31.199.187",
            "ip -n POD route replace 169.254.0.0/16 via 172.31.199.183 dev veth0 OURS src \
             172.31.199.187",
            MARKS,
            "ip -n POD route replace 0.0.0.0/0 via 172.31.199.183 dev veth0 table 100 OURS",
            "ip -n POD rule add pref 500 from all fwmark 0x80/0x80 lookup 100 OURS",
            "ip -n POD route replace ::/0 via fd00:172:31::183 dev veth0 table 100 OURS",
            "ip -n POD -6 rule add pref 500 from all fwmark 0x80/0x80 lookup 100 OURS",
            "ip rule add pref 1000 from all lookup 500 OURS",
            "ip -6 rule add pref 1000 from all lookup 500 OURS",
            "ip neigh flush to 172.31.199.187 nud all",
            "ip neigh replace 172.31.199.187 lladdr PMAC dev veth0123456789a nud permanent",
            "ip route flush table 500 exact 172.31.199.187/32",
            "ip route replace 172.31.199.187/32 dev veth0123456789a table 500 OURS scope link",
            "ip -6 neigh flush to fd00:172:31::187 nud all",
            "ip neigh replace fd00:172:31::187 lladdr PMAC dev veth0123456789a nud permanent",
            "ip -6 route flush table 500 exact fd00:172:31::187/128",
            "ip route replace fd00:172:31::187/128 dev veth0123456789a table 500 OURS",
        ],
    );
}

#[test]
fn ipv6_alone_has_no_step_of_ipv4_but_rp_filter() {
    let all = lines(&planned(&config(""), &underlay(Stack::V6, 1)).steps);
    let v4 = |line: &&String| {
        ["172.", "10.233", "169.254", "0.0.0.0"].iter().any(|it| line.contains(it))
            || line.starts_with("ip -n POD rule")
            || line.starts_with("ip rule")
    };
    assert_eq!(all.iter().find(v4), None);
    for line in [
        "ip netns exec POD sysctl -w net/ipv4/conf/veth0/rp_filter=0",
        "ip netns exec POD sysctl -w net/ipv6/conf/veth0/disable_ipv6=0",
        "ip -n POD route replace fd00:172:31::183/128 dev veth0 OURS",
        "ip -n POD route replace fd00:10:233::/116 via fd00:172:31::183 dev veth0 OURS",
        "ip -n POD -6 rule add pref 500 from all fwmark 0x80/0x80 lookup 100 OURS",
        MARKS,
    ] {
        assert!(all.iter().any(|it| it == line), "{line}\n{}", all.join("\n"));
    }
}

#[test]
fn ipv4_alone_leaves_ipv6_of_the_pod_alone() {
    let all = lines(&planned(&config(""), &underlay(Stack::V4, 1)).steps);
    let v6: Vec<_> = all.iter().filter(|it| it.contains("fd00") || it.contains("ipv6")).collect();
    assert_eq!(
        v6,
        [
            "sysctl -w net/ipv6/conf/veth0123456789a/accept_ra=0",
            "sysctl -w net/ipv6/conf/veth0123456789a/accept_redirects=0",
            "ip netns exec POD sysctl -w net/ipv6/conf/veth0/accept_ra=0",
        ]
    );
}

/// The lines that a field adds to the plan, and those that it takes away.
fn difference(fields: &str) -> (Vec<String>, Vec<String>) {
    let scene = underlay(Stack::Dual, 1);
    let plain = lines(&planned(&config(""), &scene).steps);
    let other = lines(&planned(&config(fields), &scene).steps);
    let without = |of: &[String], all: &[String]| {
        of.iter().filter(|line| !all.contains(line)).cloned().collect::<Vec<_>>()
    };
    (without(&other, &plain), without(&plain, &other))
}

#[test]
fn an_address_on_the_veth() {
    let added = |address: &str| difference(&format!(r#""vethLinkAddress":"{address}""#)).0;
    assert_eq!(added("169.254.200.1"), ["ip -n POD address replace 169.254.200.1/32 dev veth0"]);
    assert_eq!(added("fd00::7"), ["ip -n POD address replace fd00::7/128 dev veth0 nodad"]);
    let only_v6 = planned(&config(r#""vethLinkAddress":"169.254.200.1""#), &underlay(Stack::V6, 1));
    assert!(!lines(&only_v6.steps).iter().any(|line| line.contains("address replace")));
    assert_eq!(
        only_v6.warnings,
        ["vethLinkAddress 169.254.200.1 is of a family that the pod lacks"]
    );
}

#[test]
fn the_mtu_of_the_veth_is_the_nics_or_the_configured_one() {
    let mut scene = underlay(Stack::V4, 1);
    scene.pod.links[1].mtu = 8500;
    let first = |fields: &str| lines(&planned(&config(fields), &scene).steps)[0].clone();
    assert_eq!(first("").matches("mtu 8500").count(), 2);
    assert_eq!(first(r#""vethMTU":0"#).matches("mtu 8500").count(), 2);
    assert_eq!(first(r#""vethMTU":1400"#).matches("mtu 1400").count(), 2);
}

#[test]
fn policy_routes_of_the_first_nic_are_in_the_main_table() {
    let fields = r#""policyRoutes":[{"dst":"10.10.3.4/16","gw":"172.31.207.253"},
        {"dst":"fd00:9::1","gw":"fd00:172:31::253"}]"#;
    let (added, gone) = difference(fields);
    assert_eq!(
        added,
        [
            "ip -n POD route replace 10.10.0.0/16 via 172.31.207.253 dev eth0 OURS",
            "ip -n POD route replace fd00:9::1/128 via fd00:172:31::253 dev eth0 OURS",
        ]
    );
    assert!(gone.is_empty());
}

#[test]
fn the_queue_the_filter_the_table_and_the_mark_are_as_configured() {
    let (added, _) = difference(r#""txQueueLen":2000"#);
    assert_eq!(added, ["ip -n POD link set eth0 txqueuelen 2000"]);

    let (added, gone) = difference(r#""podRPFilter":-1"#);
    assert_eq!((added.len(), gone.len()), (0, 4));
    let (added, _) = difference(r#""podRPFilter":2"#);
    assert!(added.iter().all(|it| it.ends_with("/rp_filter=2")) && added.len() == 4);

    let (added, gone) = difference(r#""hostRuleTable":600"#);
    assert_eq!((added.len(), gone.len()), (6, 6));
    assert!(added.contains(&"ip rule add pref 1000 from all lookup 600 OURS".to_owned()));

    let (added, _) = difference(r#""mark":"0x1/0xffffffff""#);
    assert!(added[0].contains("ct mark set ct mark and 0x0 or 0x1"), "{added:?}");
    assert!(added[0].contains("ct mark and 0xffffffff == 0x1 meta mark"), "{added:?}");
    assert_eq!(
        added[1],
        "ip -n POD rule add pref 500 from all fwmark 0x1/0xffffffff lookup 100 OURS"
    );
}

#[test]
fn a_strict_or_loose_filter_is_warned_of() {
    for filter in [1, 2] {
        let fields = format!(r#""podRPFilter":{filter}"#);
        let plan = planned(&config(&fields), &underlay(Stack::V4, 1));
        assert!(plan.warnings[0].starts_with("podRPFilter is not 0"), "{:?}", plan.warnings);
    }
}

#[test]
fn an_address_of_the_node_is_hijacked_once() {
    let (added, _) = difference(r#""hijackCIDR":["172.31.199.183","169.254.20.10"]"#);
    assert_eq!(
        added,
        [
            "ip -n POD route replace 169.254.20.10/32 via 172.31.199.183 dev veth0 table 101 OURS \
             src 172.31.199.187",
            "ip -n POD route replace 169.254.20.10/32 via 172.31.199.183 dev veth0 OURS src \
             172.31.199.187",
        ]
    );
}

#[test]
fn disabled_does_nothing() {
    for word in ["disable", "disabled"] {
        let plan = planned(&config(&format!(r#""mode":"{word}""#)), &underlay(Stack::V4, 1));
        assert_eq!((plan.steps.len(), plan.wiring), (0, None));
    }
}
