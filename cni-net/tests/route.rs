//! Routes, compared with what `ip` says.

use std::net::IpAddr;

use cni_net::{Netlink, Route, RouteScope};
use ipnet::IpNet;
use rustix::io::Errno;
use serde_json::Value;

mod namespace;
use namespace::{TestNetns, errno};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A namespace whose `up0` has an address of each family.
fn addressed() -> (TestNetns, Netlink, u32) {
    let test = TestNetns::with_parent();
    test.ip("address add 10.0.3.7/24 dev up0");
    test.ip("address add 2001:db8::7/64 dev up0 nodad");
    let mut netlink = test.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    (test, netlink, index)
}

#[test]
fn routes_are_added_as_ip_adds_them_and_read_back() {
    let (ours, mut netlink, index) = addressed();
    let (theirs, ..) = addressed();
    let routes = [
        (Route::new(net("0.0.0.0/0"), Some(ip("10.0.3.1")), index), "default via 10.0.3.1"),
        (Route::new(net("::/0"), Some(ip("2001:db8::1")), index), "default via 2001:db8::1"),
        (Route::new(net("10.9.0.0/16"), None, index), "10.9.0.0/16"),
        (Route::new(net("2001:db8:9::/48"), None, index), "2001:db8:9::/48"),
        (
            Route {
                onlink: true,
                ..Route::new(net("10.8.0.0/16"), Some(ip("169.254.1.1")), index)
            },
            "10.8.0.0/16 via 169.254.1.1 onlink",
        ),
        (
            Route {
                metric: Some(50),
                mtu: Some(1300),
                advmss: Some(1200),
                ..Route::new(net("10.7.0.0/16"), Some(ip("10.0.3.2")), index)
            },
            "10.7.0.0/16 via 10.0.3.2 metric 50 mtu 1300 advmss 1200",
        ),
        (
            Route {
                table: Some(1007),
                ..Route::new(net("0.0.0.0/0"), Some(ip("10.0.3.1")), index)
            },
            "default via 10.0.3.1 table 1007",
        ),
        (
            Route { table: Some(100), ..Route::new(net("::/0"), Some(ip("2001:db8::1")), index) },
            "default via 2001:db8::1 table 100",
        ),
        (
            Route { scope: Some(RouteScope::HOST), ..Route::new(net("10.6.0.1/32"), None, index) },
            "10.6.0.1/32 scope host",
        ),
        (
            Route::new(net("10.5.0.0/16"), Some(ip("2001:db8::1")), index),
            "10.5.0.0/16 via inet6 2001:db8::1",
        ),
        (
            Route {
                source: Some(ip("10.0.3.7")),
                protocol: Some(201),
                ..Route::new(net("10.4.0.0/16"), None, index)
            },
            "10.4.0.0/16 src 10.0.3.7 proto 201",
        ),
        (
            Route {
                source: Some(ip("2001:db8::7")),
                protocol: Some(201),
                ..Route::new(net("2001:db8:4::/48"), Some(ip("2001:db8::1")), index)
            },
            "2001:db8:4::/48 via 2001:db8::1 src 2001:db8::7 proto 201",
        ),
    ];
    for (route, command) in &routes {
        netlink.add_route(route).unwrap();
        let protocol = if command.contains("proto") { "" } else { "proto static" };
        theirs.ip(&format!("route add {command} dev up0 {protocol}"));
    }
    let listed = |test: &TestNetns, family: &str| -> Vec<Value> {
        // fe80::/64 comes with the links' carriers, at its own time.
        test.ip_json(&format!("{family} route show table all type unicast"))
            .into_iter()
            .filter(|route| route["dst"] != "fe80::/64")
            .collect()
    };
    for family in ["-4", "-6"] {
        assert_eq!(listed(&ours, family), listed(&theirs, family));
    }

    let read = netlink.routes(None).unwrap();
    for (route, _) in &routes {
        let v6 = route.dst.addr().is_ipv6();
        let near = if route.via.is_some() || v6 { RouteScope::UNIVERSE } else { RouteScope::LINK };
        let expected = Route {
            table: route.table.or(Some(254)),
            metric: route.metric.or(v6.then_some(1024)),
            scope: route.scope.or(Some(near)),
            protocol: route.protocol.or(Some(4)),
            ..route.clone()
        };
        assert!(read.contains(&expected), "{expected:?} not in {read:#?}");
    }
    let of_table = |netlink: &mut Netlink, table| -> Vec<IpNet> {
        netlink.routes(Some(table)).unwrap().into_iter().map(|route| route.dst).collect()
    };
    assert_eq!(of_table(&mut netlink, 1007), [net("0.0.0.0/0")]);
    assert_eq!(of_table(&mut netlink, 100), [net("::/0")]);
    assert_eq!(of_table(&mut netlink, 4711), []);
    assert!(of_table(&mut netlink, 254).contains(&net("10.0.3.0/24")));
}

#[test]
fn a_dump_of_many_routes_is_complete() {
    let (test, mut netlink, _) = addressed();
    let commands = (0..1000)
        .map(|n| format!("route add 10.{}.{}.0/24 via 10.0.3.1 dev up0", 100 + n / 250, n % 250))
        .chain((1..=1000).map(|n| format!("route add 2001:db8:1:{n:x}::/64 dev up0")));
    test.ip_batch(commands);
    let mut read: Vec<IpNet> = netlink
        .routes(Some(254))
        .unwrap()
        .into_iter()
        .map(|route| route.dst)
        .filter(|dst| *dst != net("fe80::/64"))
        .collect();
    let mut expected: Vec<IpNet> = ["-4", "-6"]
        .iter()
        .flat_map(|family| test.ip_json(&format!("{family} route show table main type unicast")))
        .map(|route| net(route["dst"].as_str().unwrap()))
        .filter(|dst| *dst != net("fe80::/64"))
        .collect();
    read.sort();
    expected.sort();
    assert!(read.len() >= 2000);
    assert_eq!(read, expected);
}

#[test]
fn a_route_of_several_next_hops_is_read_once_for_each() {
    let (test, mut netlink, index) = addressed();
    for (dst, [one, other]) in [
        ("10.4.0.0/16", ["10.0.3.1", "10.0.3.2"]),
        ("2001:db8:4::/48", ["2001:db8::1", "2001:db8::2"]),
    ] {
        test.ip(&format!("route add {dst} nexthop via {one} dev up0 nexthop via {other} dev up0"));
        let read: Vec<_> = netlink
            .routes(Some(254))
            .unwrap()
            .into_iter()
            .filter(|route| route.dst == net(dst))
            .map(|route| (route.via, route.index))
            .collect();
        assert_eq!(read, [(Some(ip(one)), index), (Some(ip(other)), index)]);
    }
}

#[test]
fn an_unreachable_gateway_is_said_so() {
    let (_test, mut netlink, index) = addressed();
    let result = netlink.add_route(&Route::new(net("0.0.0.0/0"), Some(ip("192.0.2.1")), index));
    assert_eq!(errno(&result), Errno::NETUNREACH);
    let text = result.unwrap_err().to_string();
    let start =
        format!("add route 0.0.0.0/0 via 192.0.2.1 on link {index}: Network is unreachable");
    assert!(text.starts_with(&start), "{text}");
    // The kernel's own words, and ours.
    assert!(text.contains("(errno 101): Nexthop has invalid gateway; the gateway is"), "{text}");
    let result = netlink.add_route(&Route::new(net("::/0"), Some(ip("2001:db8:ffff::1")), index));
    assert_eq!(errno(&result), Errno::HOSTUNREACH);
    assert!(result.unwrap_err().remedy().unwrap().contains("onlink"));
}

#[test]
fn a_route_twice_is_eexist_and_a_link_that_is_down_enetdown() {
    let (test, mut netlink, index) = addressed();
    for (dst, via) in [("0.0.0.0/0", "10.0.3.1"), ("::/0", "2001:db8::1")] {
        let route = Route::new(net(dst), Some(ip(via)), index);
        netlink.add_route(&route).unwrap();
        let again = netlink.add_route(&route);
        assert_eq!(errno(&again), Errno::EXIST);
    }
    test.ip("link set up0 down");
    let result = netlink.add_route(&Route::new(net("10.9.0.0/16"), None, index));
    assert_eq!(errno(&result), Errno::NETDOWN);
    assert!(result.unwrap_err().to_string().contains("must be up"));
}

#[test]
fn an_ipv6_route_with_an_ipv4_gateway_is_not_even_sent() {
    let (_test, mut netlink, index) = addressed();
    let error =
        netlink.add_route(&Route::new(net("::/0"), Some(ip("10.0.3.1")), index)).unwrap_err();
    assert!(error.to_string().contains("cannot have an IPv4 gateway"), "{error}");
    assert_eq!(error.errno(), None);
}

#[test]
fn an_address_of_the_other_family_is_no_source() {
    let (_test, mut netlink, index) = addressed();
    let route =
        Route { source: Some(ip("2001:db8::7")), ..Route::new(net("10.9.0.0/16"), None, index) };
    let error = netlink.add_route(&route).unwrap_err();
    assert!(error.to_string().contains("another family"), "{error}");
}

/// The gateways and metrics of the routes to a destination in main.
fn ways(netlink: &mut Netlink, dst: IpNet) -> Vec<(Option<IpAddr>, Option<u32>)> {
    let routes = netlink.routes(Some(254)).unwrap();
    routes.iter().filter(|it| it.dst == dst).map(|it| (it.via, it.metric)).collect()
}

#[test]
fn a_replaced_route_stands_in_the_place_of_the_one_with_its_metric() {
    let (test, mut netlink, index) = addressed();
    for (dst, [one, other, third], default) in [
        ("10.9.0.0/16", ["10.0.3.1", "10.0.3.2", "10.0.3.3"], None),
        ("2001:db8:9::/48", ["2001:db8::1", "2001:db8::2", "2001:db8::3"], Some(1024)),
    ] {
        let dst = net(dst);
        let by = |via: &str, metric| Route {
            metric,
            protocol: Some(201),
            ..Route::new(dst, Some(ip(via)), index)
        };
        // New, the same, and by another gateway.
        for via in [one, one, other] {
            netlink.replace_route(&by(via, None)).unwrap();
            assert_eq!(ways(&mut netlink, dst), [(Some(ip(via)), default)]);
        }
        netlink.replace_route(&by(third, Some(2048))).unwrap();
        assert_eq!(
            ways(&mut netlink, dst),
            [(Some(ip(other)), default), (Some(ip(third)), Some(2048))]
        );
        assert!(netlink.delete_route(&by(third, Some(2048))).unwrap());
        // A route of several next hops goes whole, and one on the link takes its place.
        test.ip(&format!(
            "route replace {dst} nexthop via {one} dev up0 nexthop via {other} dev up0"
        ));
        assert_eq!(ways(&mut netlink, dst).len(), 2);
        netlink.replace_route(&by(third, None)).unwrap();
        assert_eq!(ways(&mut netlink, dst), [(Some(ip(third)), default)]);
        netlink.replace_route(&Route::new(dst, None, index)).unwrap();
        assert_eq!(ways(&mut netlink, dst), [(None, default)]);
    }
}

#[test]
fn a_route_is_deleted_once_and_another_protocols_not_at_all() {
    let (test, mut netlink, index) = addressed();
    for (dst, via) in [("10.9.0.0/16", "10.0.3.1"), ("2001:db8:9::/48", "2001:db8::1")] {
        let route = Route {
            table: Some(500),
            protocol: Some(201),
            ..Route::new(net(dst), Some(ip(via)), index)
        };
        // No such table yet.
        assert!(!netlink.delete_route(&route).unwrap());
        test.ip(&format!("route add {dst} via {via} dev up0 table 500 proto boot"));
        assert!(!netlink.delete_route(&route).unwrap(), "somebody else's");
        netlink.replace_route(&route).unwrap();
        assert!(netlink.delete_route(&route).unwrap());
        assert!(!netlink.delete_route(&route).unwrap());
        // Whoever made it, and as it was read.
        for read in [false, true] {
            test.ip(&format!("route add {dst} dev up0 table 500 proto boot"));
            let any = Route { table: Some(500), ..Route::new(net(dst), None, index) };
            let listed = netlink.routes(Some(500)).unwrap();
            let [only] = &listed[..] else { panic!("{listed:?}") };
            assert!(netlink.delete_route(if read { only } else { &any }).unwrap());
            assert_eq!(netlink.routes(Some(500)).unwrap(), []);
        }
        let gone = Route { index: 4711, ..route };
        assert!(!netlink.delete_route(&gone).unwrap());
    }
}

#[test]
fn the_way_to_an_address_is_what_ip_says() {
    let (test, mut netlink, index) = addressed();
    let lo = netlink.link("lo").unwrap().unwrap().index;
    test.ip("link set lo up");
    for destination in ["192.0.2.9", "2001:db8:ffff::9"] {
        assert_eq!(netlink.route_to(ip(destination)).unwrap(), None);
    }
    test.ip("route add default via 10.0.3.1 dev up0");
    test.ip("route add default via 2001:db8::1 dev up0");
    test.ip("rule add pref 1000 lookup 500");
    test.ip("route add 192.0.2.10/32 dev up0 table 500");
    let mut check = |destination: &str, link, via: Option<&str>, source: &str, table| {
        let found = netlink.route_to(ip(destination)).unwrap().unwrap();
        let expected = (link, via.map(ip), Some(ip(source)), Some(table));
        assert_eq!((found.index, found.via, found.source, found.table), expected);
        let told = &test.ip_json(&format!("route get {destination}"))[0];
        assert_eq!(told["prefsrc"], source);
        assert_eq!(told["gateway"].as_str(), via);
    };
    check("192.0.2.9", index, Some("10.0.3.1"), "10.0.3.7", 254);
    check("192.0.2.10", index, None, "10.0.3.7", 500);
    check("10.0.3.20", index, None, "10.0.3.7", 254);
    check("10.0.3.7", lo, None, "10.0.3.7", 255);
    check("2001:db8:ffff::9", index, Some("2001:db8::1"), "2001:db8::7", 254);
    check("2001:db8::20", index, None, "2001:db8::7", 254);
    test.ip("route add prohibit 192.0.2.11/32");
    assert_eq!(errno(&netlink.route_to(ip("192.0.2.11"))), Errno::ACCESS);
}

#[test]
fn the_routes_of_one_link_are_in_all_tables() {
    let (test, mut netlink, index) = addressed();
    test.ip("route add 10.9.0.0/16 dev up0 table 500");
    test.ip("route add 10.8.0.0/16 dev peer0");
    test.ip("route add 10.7.0.0/16 nexthop via 10.0.3.1 dev up0 nexthop dev peer0");
    test.ip("route add 2001:db8:9::/48 dev up0 table 101");
    let found: Vec<_> = netlink.routes_by_link(index).unwrap();
    let mut tables: Vec<_> = found
        .iter()
        .filter(|route| route.dst != net("fe80::/64"))
        .map(|route| (route.dst, route.table.unwrap()))
        .collect();
    tables.sort();
    assert!(found.iter().all(|route| route.index == index));
    assert_eq!(
        tables,
        [
            (net("10.0.3.0/24"), 254),
            (net("10.7.0.0/16"), 254),
            (net("10.9.0.0/16"), 500),
            (net("2001:db8::/64"), 254),
            (net("2001:db8:9::/48"), 101),
        ]
    );
    assert_eq!(netlink.routes_by_link(4711).unwrap(), []);
}
