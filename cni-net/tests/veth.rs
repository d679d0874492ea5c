//! A veth pair across two namespaces, and what can be set on a link.

use cni_net::{MacAddr, NewVeth};
use rustix::io::Errno;

mod namespace;
use namespace::{TestNetns, errno};

const MAC: MacAddr = MacAddr([0x02, 0, 0x5e, 0x10, 0, 0x01]);
const PEER_MAC: MacAddr = MacAddr([0x02, 0, 0x5e, 0x10, 0, 0x02]);

fn pair(peer_netns: &cni_net::Netns) -> NewVeth<'_> {
    NewVeth {
        name: "veth0",
        peer_name: "veth0123456789a",
        peer_netns,
        mac: MAC,
        peer_mac: PEER_MAC,
        mtu: Some(1400),
        tx_queue_len: Some(77),
    }
}

#[test]
fn both_ends_are_whole_from_the_first_moment() {
    let (host, pod) = (TestNetns::new(), TestNetns::new());
    let (mut outside, mut inside) = (host.netlink(), pod.netlink());
    inside.add_veth(&pair(&host.open())).unwrap();

    let end = inside.link("veth0").unwrap().unwrap();
    let peer = outside.link("veth0123456789a").unwrap().unwrap();
    for (link, mac) in [(&end, MAC), (&peer, PEER_MAC)] {
        assert_eq!(link.mac, Some(mac));
        assert_eq!((link.mtu, link.tx_queue_len, link.up), (1400, 77, false));
        assert_eq!(link.kind.as_deref(), Some("veth"));
        assert!(link.broadcast && link.multicast && !link.noarp);
        assert_eq!(link.alias, None);
    }
    // Each is the other's, and in the other's namespace.
    assert_eq!((end.parent, peer.parent), (Some(peer.index), Some(end.index)));
    assert_eq!(end.parent_netns, inside.netns_number(&host.open()).unwrap());
    assert_eq!(peer.parent_netns, outside.netns_number(&pod.open()).unwrap());
    assert!(end.parent_netns.is_some());
    assert_eq!(inside.links().unwrap().len(), 2, "lo and one end");

    inside.set_link_up(end.index).unwrap();
    outside.set_link_up(peer.index).unwrap();
    assert!(outside.delete_link(peer.index).unwrap());
    assert_eq!(inside.link("veth0").unwrap(), None);
}

#[test]
fn a_taken_name_makes_nothing() {
    let (host, pod) = (TestNetns::new(), TestNetns::new());
    let mut inside = pod.netlink();
    let netns = host.open();
    inside.add_veth(&pair(&netns)).unwrap();
    let again = inside.add_veth(&NewVeth { peer_name: "other", ..pair(&netns) });
    assert_eq!(errno(&again), Errno::EXIST);
    let text = again.unwrap_err().to_string();
    assert!(text.starts_with("create veth veth0 with peer other: File exists"), "{text}");
    let again = inside.add_veth(&NewVeth { name: "other", ..pair(&netns) });
    assert_eq!(errno(&again), Errno::EXIST);
    assert_eq!((inside.links().unwrap().len(), host.netlink().links().unwrap().len()), (2, 2));
    // The name that the other end has elsewhere is free here.
    let here = NewVeth { name: "veth0123456789a", peer_name: "veth0", ..pair(&netns) };
    inside.add_veth(&here).unwrap();
}

#[test]
fn a_multicast_address_is_refused_with_the_remedy() {
    let (host, pod) = (TestNetns::new(), TestNetns::new());
    let netns = host.open();
    let odd = NewVeth { peer_mac: MacAddr([1, 0, 0x5e, 0, 0, 1]), ..pair(&netns) };
    let result = pod.netlink().add_veth(&odd);
    assert_eq!(errno(&result), Errno::ADDRNOTAVAIL);
    assert!(result.unwrap_err().remedy().unwrap().contains("unicast"));
    assert_eq!(pod.netlink().links().unwrap().len(), 1, "only lo");
}

#[test]
fn address_alias_and_queue_are_set() {
    let test = TestNetns::with_parent();
    let mut netlink = test.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    netlink.set_link_mac(index, PEER_MAC).unwrap();
    netlink.set_link_alias(index, "cni-coordinator/0123/eth0").unwrap();
    netlink.set_tx_queue_len(index, 10).unwrap();
    let link = netlink.link_by_index(index).unwrap().unwrap();
    assert_eq!(link.mac, Some(PEER_MAC));
    assert_eq!(link.alias.as_deref(), Some("cni-coordinator/0123/eth0"));
    assert_eq!(link.tx_queue_len, 10);
    let told = &test.ip_json("link show dev up0")[0];
    assert_eq!(told["ifalias"], "cni-coordinator/0123/eth0");
    assert_eq!(told["txqlen"], 10);

    netlink.set_link_alias(index, "").unwrap();
    assert_eq!(netlink.link_by_index(index).unwrap().unwrap().alias, None);
    netlink.set_link_alias(index, &"x".repeat(255)).unwrap();
    assert_eq!(errno(&netlink.set_link_alias(index, &"x".repeat(256))), Errno::RANGE);
    assert_eq!(errno(&netlink.set_link_alias(4711, "x")), Errno::NODEV);
    assert_eq!(errno(&netlink.set_link_mac(index, MacAddr([0; 6]))), Errno::ADDRNOTAVAIL);
}
