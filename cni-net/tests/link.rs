//! Links: found, listed, created in another namespace, renamed, set up, deleted.

use cni_net::{Link, MacAddr, NewMacvlan};
use rustix::io::Errno;

mod namespace;
use namespace::{TestNetns, errno};

#[test]
fn a_link_is_what_ip_says() {
    let test = TestNetns::with_parent();
    let mut netlink = test.netlink();
    for name in ["up0", "peer0", "lo"] {
        let link = netlink.link(name).unwrap().unwrap();
        let ip = &test.ip_json(&format!("-d link show dev {name}"))[0];
        assert_eq!(u64::from(link.index), ip["ifindex"]);
        assert_eq!(link.name, name);
        assert_eq!(u64::from(link.mtu), ip["mtu"]);
        assert_eq!(link.mac.unwrap().to_string(), ip["address"].as_str().unwrap());
        assert_eq!(link.kind.as_deref(), ip["linkinfo"]["info_kind"].as_str());
        let up = ip["flags"].as_array().unwrap().iter().any(|flag| flag == "UP");
        assert_eq!(link.up, up);
        assert_eq!(netlink.link_by_index(link.index).unwrap(), Some(link));
    }
    let up0 = netlink.link("up0").unwrap().unwrap();
    let peer0 = netlink.link("peer0").unwrap().unwrap();
    assert_eq!((up0.parent, peer0.parent), (Some(peer0.index), Some(up0.index)));
    assert_eq!(up0.ipvlan_mode, None);
    assert_eq!(netlink.link("lo").unwrap().unwrap().kind, None);
}

#[test]
fn a_link_that_is_not_there_is_none() {
    let test = TestNetns::new();
    let mut netlink = test.netlink();
    assert_eq!(netlink.link("eth0").unwrap(), None);
    assert_eq!(netlink.link_by_index(4711).unwrap(), None);
    // Not an object of the kernel's at all, and the socket goes on to work.
    assert_eq!(errno(&netlink.link("a-name-above-fifteen-bytes")), Errno::RANGE);
    assert!(netlink.link("lo").unwrap().is_some());
}

#[test]
fn links_are_all_there() {
    let test = TestNetns::new();
    test.ip_batch((0..150).map(|pair| format!("link add a{pair} type veth peer name b{pair}")));
    let mut names: Vec<String> =
        test.netlink().links().unwrap().into_iter().map(|link| link.name).collect();
    let mut expected: Vec<String> = test
        .ip_json("link show")
        .iter()
        .map(|link| link["ifname"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    expected.sort();
    assert!(names.len() > 300);
    assert_eq!(names, expected);
}

/// The whole life of a pod's link, each step as `ip` sees it.
#[test]
fn macvlan_is_created_in_the_pod_renamed_set_up_and_deleted() {
    let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
    let (mut outside, mut inside, netns) = (host.netlink(), pod.netlink(), pod.open());
    let parent = outside.link("up0").unwrap().unwrap().index;
    let new = NewMacvlan { name: "tmp4f1a", parent, mtu: Some(1400), netns: &netns };
    outside.add_macvlan(&new).unwrap();
    assert_eq!(outside.link("tmp4f1a").unwrap(), None);

    let link = inside.link("tmp4f1a").unwrap().unwrap();
    assert_eq!((link.kind.as_deref(), link.mtu, link.up), (Some("macvlan"), 1400, false));
    assert_eq!(link.parent, Some(parent));
    inside.rename_link(link.index, "eth0").unwrap();
    inside.set_link_up(link.index).unwrap();
    let ip = &pod.ip_json("-d link show dev eth0")[0];
    assert_eq!(ip["linkinfo"]["info_kind"], "macvlan");
    assert_eq!(ip["linkinfo"]["info_data"]["mode"], "bridge");
    assert_eq!(ip["mtu"], 1400);
    assert_eq!(ip["address"], link.mac.unwrap().to_string());
    let after = inside.link_by_index(link.index).unwrap().unwrap();
    assert_eq!(after, Link { name: "eth0".into(), up: true, carrier: after.carrier, ..link });

    assert!(inside.delete_link(after.index).unwrap());
    assert_eq!(inside.link("eth0").unwrap(), None);
    assert!(!inside.delete_link(after.index).unwrap(), "a second time there is nothing to do");
}

#[test]
fn a_taken_name_is_eexist() {
    let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
    let (mut outside, mut inside, netns) = (host.netlink(), pod.netlink(), pod.open());
    let parent = outside.link("up0").unwrap().unwrap().index;
    for name in ["one", "two"] {
        outside.add_macvlan(&NewMacvlan { name, parent, mtu: None, netns: &netns }).unwrap();
    }
    let again = outside.add_macvlan(&NewMacvlan { name: "one", parent, mtu: None, netns: &netns });
    assert_eq!(errno(&again), Errno::EXIST);
    let text = again.unwrap_err().to_string();
    let start = format!("create macvlan one on parent {parent}: File exists (errno 17)");
    assert!(text.starts_with(&start) && text.contains("then rename"), "{text}");

    let two = inside.link("two").unwrap().unwrap();
    let renamed = inside.rename_link(two.index, "one");
    assert_eq!(errno(&renamed), Errno::EXIST);
    let text = renamed.unwrap_err().to_string();
    assert!(text.starts_with(&format!("rename link {} to one: ", two.index)), "{text}");
    assert_eq!(inside.link("two").unwrap(), Some(two));
}

#[test]
fn a_missing_parent_and_an_mtu_above_it_are_refused() {
    let (host, pod) = (TestNetns::with_parent(), TestNetns::new());
    let (mut outside, netns) = (host.netlink(), pod.open());
    let new = NewMacvlan { name: "eth0", parent: 4711, mtu: None, netns: &netns };
    let result = outside.add_macvlan(&new);
    assert_eq!(errno(&result), Errno::NODEV);
    assert_eq!(
        result.unwrap_err().to_string(),
        "create macvlan eth0 on parent 4711: No such device (errno 19); \
         the parent link does not exist"
    );
    let parent = outside.link("up0").unwrap().unwrap().index;
    let result = outside.add_macvlan(&NewMacvlan { parent, mtu: Some(9000), ..new });
    let text = result.unwrap_err().to_string();
    assert!(text.contains("mtu is not above the parent's"), "{text}");
    assert_eq!(pod.netlink().links().unwrap().len(), 1, "only lo");
}

#[test]
fn a_used_parent_is_ebusy() {
    let host = TestNetns::with_parent();
    host.ip("link add br0 type bridge");
    host.ip("link set up0 master br0");
    let mut netlink = host.netlink();
    let parent = netlink.link("up0").unwrap().unwrap().index;
    let netns = host.open();
    let result =
        netlink.add_macvlan(&NewMacvlan { name: "eth0", parent, mtu: None, netns: &netns });
    assert_eq!(errno(&result), Errno::BUSY);
    let text = result.unwrap_err().to_string();
    assert!(text.contains("Device or resource busy (errno 16)"), "{text}");
    assert!(text.contains("already used by ipvlan, a bridge"), "{text}");
}

#[test]
fn setting_a_missing_link_up_is_enodev() {
    let result = TestNetns::new().netlink().set_link_up(4711);
    assert_eq!(errno(&result), Errno::NODEV);
}

#[test]
fn the_mac_is_the_parents_own_text() {
    let test = TestNetns::with_parent();
    test.ip("link set up0 address 02:00:5e:10:00:AF");
    let mac = test.netlink().link("up0").unwrap().unwrap().mac;
    assert_eq!(mac, Some(MacAddr([0x02, 0, 0x5e, 0x10, 0, 0xaf])));
    assert_eq!(mac.unwrap().to_string(), "02:00:5e:10:00:af");
}
