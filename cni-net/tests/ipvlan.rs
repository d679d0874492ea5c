//! ipvlan links on a kernel that has them: `cargo test -p cni-net --test ipvlan`. A plain
//! `cargo test` leaves this file out.

use cni_net::{AddressOptions, IpvlanFlag, IpvlanMode, Link, Netns, NewIpvlan, Route};
use rustix::io::Errno;

mod namespace;
use namespace::{TestNetns, errno};

fn new<'a>(name: &'a str, parent: u32, netns: &'a Netns) -> NewIpvlan<'a> {
    let (mode, flag) = (IpvlanMode::L2, IpvlanFlag::Bridge);
    NewIpvlan { name, parent, mode, flag, mtu: None, netns, index: None }
}

#[test]
fn a_pods_link_lives_and_goes() {
    let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
    let (mut outside, mut inside, netns) = (host.netlink(), pod.netlink(), pod.open());
    let parent = outside.link("up0").unwrap().unwrap();
    outside
        .add_ipvlan(&NewIpvlan { mtu: Some(1400), ..new("tmp4f1a", parent.index, &netns) })
        .unwrap();
    let link = inside.link("tmp4f1a").unwrap().unwrap();
    let expected = Link {
        index: link.index,
        name: "tmp4f1a".into(),
        kind: Some("ipvlan".into()),
        mac: parent.mac,
        mtu: 1400,
        broadcast: true,
        multicast: true,
        tx_queue_len: link.tx_queue_len,
        parent: Some(parent.index),
        parent_netns: inside.netns_number(&host.open()).unwrap(),
        ipvlan_mode: Some(IpvlanMode::L2),
        ipvlan_flag: Some(IpvlanFlag::Bridge),
        ..Link::default()
    };
    assert_eq!(link, expected);
    assert!(expected.parent_netns.is_some());
    assert_eq!(inside.ipvlan_links().unwrap(), [expected]);
    assert_eq!(inside.macvlan_links().unwrap(), []);
    inside.rename_link(link.index, "eth0").unwrap();
    let nodad = AddressOptions { nodad: true };
    for address in ["10.0.3.7/24", "2001:db8::7/64"] {
        inside.add_address(link.index, address.parse().unwrap(), nodad).unwrap();
    }
    inside.set_link_up(link.index).unwrap();
    for (dst, via) in [("0.0.0.0/0", "10.0.3.1"), ("::/0", "2001:db8::1")] {
        let via = Some(via.parse().unwrap());
        inside.add_route(&Route::new(dst.parse().unwrap(), via, link.index)).unwrap();
    }
    let ip = &pod.ip_json("-d link show dev eth0")[0];
    assert_eq!(ip["linkinfo"]["info_kind"], "ipvlan");
    assert_eq!(ip["linkinfo"]["info_data"]["mode"], "l2");
    assert_eq!(pod.ip_json("route show default")[0]["gateway"], "10.0.3.1");
    assert!(inside.delete_link(link.index).unwrap());
    assert_eq!(inside.link("eth0").unwrap(), None);
}

#[test]
fn each_mode_and_flag_is_read_back() {
    for mode in [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s] {
        for flag in [IpvlanFlag::Bridge, IpvlanFlag::Private, IpvlanFlag::Vepa] {
            let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
            let mut outside = host.netlink();
            let parent = outside.link("up0").unwrap().unwrap().index;
            let netns = pod.open();
            outside.add_ipvlan(&NewIpvlan { mode, flag, ..new("eth0", parent, &netns) }).unwrap();
            let link = pod.netlink().link("eth0").unwrap().unwrap();
            assert_eq!((link.ipvlan_mode, link.ipvlan_flag), (Some(mode), Some(flag)));
            let ip = &pod.ip_json("-d link show dev eth0")[0];
            assert_eq!(ip["linkinfo"]["info_data"]["mode"], mode.to_string());
        }
    }
}

#[test]
fn an_address_of_another_pod_on_the_parent_is_eaddrinuse() {
    let (host, one, other) = (TestNetns::with_parent(), TestNetns::new(), TestNetns::new());
    let mut outside = host.netlink();
    let parent = outside.link("up0").unwrap().unwrap().index;
    let add = |outside: &mut cni_net::Netlink, pod: &TestNetns, address: &str| {
        let netns = pod.open();
        let mut inside = pod.netlink();
        if inside.link("tmp0").unwrap().is_none() {
            outside.add_ipvlan(&new("tmp0", parent, &netns)).unwrap();
        }
        let index = inside.link("tmp0").unwrap().unwrap().index;
        inside.add_address(index, address.parse().unwrap(), AddressOptions { nodad: true })
    };
    for address in ["10.0.3.7/24", "2001:db8::7/64"] {
        add(&mut outside, &one, address).unwrap();
        let result = add(&mut outside, &other, address);
        assert_eq!(errno(&result), Errno::ADDRINUSE);
        let text = result.unwrap_err().to_string();
        assert!(text.contains("another ipvlan link of the same parent"), "{text}");
    }
}

#[test]
fn a_parent_that_macvlan_uses_is_ebusy() {
    let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
    host.ip("link add link up0 name mac0 type macvlan mode bridge");
    let mut outside = host.netlink();
    let parent = outside.link("up0").unwrap().unwrap().index;
    let result = outside.add_ipvlan(&new("eth0", parent, &pod.open()));
    assert_eq!(errno(&result), Errno::BUSY);
    let text = result.unwrap_err().to_string();
    let start =
        format!("create ipvlan eth0 on parent {parent}: Device or resource busy (errno 16)");
    assert!(text.starts_with(&start) && text.contains("already used by macvlan"), "{text}");
}

#[test]
fn a_missing_parent_is_enodev() {
    let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
    let result = host.netlink().add_ipvlan(&new("eth0", 4711, &pod.open()));
    assert_eq!(errno(&result), Errno::NODEV);
}

/// The number is the link's, and it keeps the kernel from asking for the name in the wrong place.
#[test]
fn a_number_lets_the_link_have_a_name_that_the_parents_namespace_has_too() {
    let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
    let (mut outside, mut inside, netns) = (host.netlink(), pod.netlink(), pod.open());
    let parent = outside.link("up0").unwrap().unwrap().index;
    let numbered = NewIpvlan { index: Some(0x5f_0001), ..new("up0", parent, &netns) };
    outside.add_ipvlan(&numbered).unwrap();
    let link = inside.link("up0").unwrap().unwrap();
    assert_eq!((link.index, link.parent), (0x5f_0001, Some(parent)));
    // The kernel's own numbers go on as before.
    outside.add_ipvlan(&new("other", parent, &netns)).unwrap();
    assert_eq!(inside.link("other").unwrap().unwrap().index, 2);

    let taken = outside.add_ipvlan(&NewIpvlan { name: "third", ..numbered });
    assert_eq!(errno(&taken), Errno::BUSY);
    let of_parent = NewIpvlan { index: Some(parent), ..new("third", parent, &netns) };
    assert_eq!(errno(&outside.add_ipvlan(&of_parent)), Errno::EXIST);
    assert_eq!(inside.link("third").unwrap(), None);
}
