//! Addresses, compared with what `ip` says.

use cni_net::{AddressOptions, RouteScope, sysctl};
use ipnet::IpNet;
use rustix::io::Errno;
use serde_json::Value;

mod namespace;
use namespace::{TestNetns, errno};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip_addresses(test: &TestNetns) -> Vec<Value> {
    let link = test.ip_json("address show dev up0").remove(0);
    link["addr_info"].as_array().unwrap().clone()
}

#[test]
fn addresses_are_added_as_ip_adds_them() {
    let (ours, theirs) = (TestNetns::with_parent(), TestNetns::with_parent());
    let mut netlink = ours.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    for address in ["10.0.3.7/24", "10.0.4.7/32", "2001:db8::7/64", "2001:db8:1::7/128"] {
        netlink.add_address(index, net(address), AddressOptions { nodad: true }).unwrap();
        theirs.ip(&format!("address add {address} dev up0 nodad"));
    }
    let global = |test: &TestNetns| -> Vec<Value> {
        ip_addresses(test).into_iter().filter(|address| address["scope"] != "link").collect()
    };
    // The v4 addresses have no broadcast address, the v6 ones nodad, and all live forever.
    assert_eq!(global(&ours), global(&theirs));
    assert_eq!(global(&ours).len(), 4);
    let listed = netlink.addresses(index).unwrap();
    for address in ["10.0.3.7/24", "10.0.4.7/32", "2001:db8::7/64", "2001:db8:1::7/128"] {
        let found = listed.iter().find(|listed| listed.net == net(address)).unwrap();
        assert_eq!((found.index, found.scope), (index, RouteScope::UNIVERSE));
        assert!(!found.tentative && !found.deprecated && !found.duplicate, "{found:?}");
    }
}

#[test]
fn without_nodad_an_ipv6_address_is_tentative_first() {
    let test = TestNetns::with_parent();
    let mut netlink = test.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    netlink.add_address(index, net("2001:db8::8/64"), AddressOptions::default()).unwrap();
    netlink.add_address(index, net("2001:db8::9/64"), AddressOptions { nodad: true }).unwrap();
    let find = |address: &str| {
        ip_addresses(&test).into_iter().find(|entry| entry["local"] == address).unwrap()
    };
    assert_eq!(find("2001:db8::8")["nodad"], Value::Null);
    assert_eq!(find("2001:db8::9")["nodad"], true);
    assert_eq!(find("2001:db8::9")["tentative"], Value::Null);

    let mut read = |address: &str| {
        let all = netlink.all_addresses().unwrap();
        *all.iter().find(|it| it.net == net(address)).unwrap()
    };
    test.ip("address change 2001:db8::9/64 dev up0 nodad preferred_lft 0");
    let old = read("2001:db8::9/64");
    assert!(old.deprecated && !old.tentative, "{old:?}");
    // While a link is down its new addresses wait.
    test.ip("link set up0 down");
    test.ip("address add 2001:db8::a/64 dev up0");
    let waiting = read("2001:db8::a/64");
    assert!(waiting.tentative && !waiting.deprecated, "{waiting:?}");
}

#[test]
fn only_the_links_own_addresses_are_listed_and_all_of_them() {
    let test = TestNetns::with_parent();
    let commands = (0..300)
        .map(|n| format!("address add 10.1.{}.{}/16 dev up0", n / 200, n % 200 + 1))
        .chain((1..=300).map(|n| format!("address add 2001:db8::{n:x}/64 dev up0 nodad")))
        .chain(["address add 10.9.9.9/24 dev peer0".into()]);
    test.ip_batch(commands);
    let mut netlink = test.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    let mut listed: Vec<IpNet> =
        netlink.addresses(index).unwrap().into_iter().map(|address| address.net).collect();
    let mut expected: Vec<IpNet> = ip_addresses(&test)
        .iter()
        .map(|entry| net(&format!("{}/{}", entry["local"].as_str().unwrap(), entry["prefixlen"])))
        .collect();
    // The link's fe80:: address comes with its carrier, at its own time.
    for addresses in [&mut listed, &mut expected] {
        addresses.retain(|address| !net("fe80::/64").contains(address));
        addresses.sort();
    }
    assert_eq!(listed.len(), 600);
    assert_eq!(listed, expected);
}

#[test]
fn an_address_twice_is_eexist_and_a_missing_link_enodev() {
    let test = TestNetns::with_parent();
    let mut netlink = test.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    let add = |netlink: &mut cni_net::Netlink, index| {
        netlink.add_address(index, net("10.0.3.7/24"), AddressOptions::default())
    };
    add(&mut netlink, index).unwrap();
    let again = add(&mut netlink, index);
    assert_eq!(errno(&again), Errno::EXIST);
    let message = again.unwrap_err().to_string();
    let start = format!("add address 10.0.3.7/24 to link {index}: File exists (errno 17)");
    assert!(message.starts_with(&start), "{message}");
    assert!(message.ends_with("; the link already has this address"), "{message}");
    assert_eq!(errno(&add(&mut netlink, 4711)), Errno::NODEV);
    assert_eq!(errno(&netlink.addresses(4711)), Errno::NODEV);
}

#[test]
fn ipv6_disabled_on_the_link_is_said_so() {
    let test = TestNetns::with_parent();
    let key = "ipv6/conf/up0/disable_ipv6";
    let written = test.open().run(|| sysctl::write(key, "1")).unwrap().unwrap();
    assert_eq!(written, sysctl::Written::Changed { previous: "0".into() });
    let mut netlink = test.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    let result = netlink.add_address(index, net("2001:db8::7/64"), AddressOptions::default());
    assert_eq!(errno(&result), Errno::ACCESS);
    let message = result.unwrap_err().to_string();
    assert!(message.contains("disable_ipv6 must be 0"), "{message}");
}
