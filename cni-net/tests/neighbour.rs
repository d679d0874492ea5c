//! Neighbours, compared with what `ip` says.

use std::net::IpAddr;

use cni_net::{MacAddr, Neighbour, NeighbourEntry};
use rustix::io::Errno;

mod namespace;
use namespace::{TestNetns, errno};

const MAC: MacAddr = MacAddr([0x02, 0, 0x5e, 0x10, 0, 0x01]);
const OTHER: MacAddr = MacAddr([0x02, 0, 0x5e, 0x10, 0, 0x02]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_permanent_neighbour_is_added_replaced_and_deleted() {
    let test = TestNetns::with_parent();
    let mut netlink = test.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    for address in ["172.31.199.187", "fd00:172:31::187"] {
        let neighbour = Neighbour { address: ip(address), mac: MAC, index };
        let entry =
            |mac| NeighbourEntry { address: ip(address), mac: Some(mac), index, permanent: true };
        // Learned before, or wrong: ours takes its place.
        test.ip(&format!("neighbour add {address} lladdr {OTHER} dev up0 nud stale"));
        for mac in [MAC, MAC, OTHER] {
            netlink.replace_neighbour(&Neighbour { mac, ..neighbour }).unwrap();
            let found = netlink.neighbours(Some(index)).unwrap();
            let of_it: Vec<_> = found.iter().filter(|it| it.address == ip(address)).collect();
            assert_eq!(of_it, [&entry(mac)]);
            let told = &test.ip_json(&format!("neighbour show to {address} dev up0"))[0];
            assert_eq!(told["lladdr"], mac.to_string());
            assert_eq!(told["state"][0], "PERMANENT");
        }
        assert!(netlink.delete_neighbour(ip(address), index).unwrap());
        assert!(test.ip_json(&format!("neighbour show to {address} nud permanent")).is_empty());
    }
}

#[test]
fn what_is_gone_is_deleted_already() {
    let test = TestNetns::with_parent();
    let mut netlink = test.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    for address in ["10.0.3.9", "2001:db8::9"] {
        assert!(!netlink.delete_neighbour(ip(address), index).unwrap());
        assert!(!netlink.delete_neighbour(ip(address), 4711).unwrap());
        let neighbour = Neighbour { address: ip(address), mac: MAC, index: 4711 };
        let result = netlink.replace_neighbour(&neighbour);
        assert_eq!(errno(&result), Errno::NODEV);
        let message = result.unwrap_err().to_string();
        let start = format!("replace neighbour {address} at {MAC} on link 4711: No such device");
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn a_list_has_one_link_or_all_and_tells_what_was_learned() {
    let test = TestNetns::with_parent();
    let mut netlink = test.netlink();
    let up0 = netlink.link("up0").unwrap().unwrap().index;
    let peer0 = netlink.link("peer0").unwrap().unwrap().index;
    test.ip(&format!("neighbour add 10.0.3.1 lladdr {MAC} dev up0 nud permanent"));
    test.ip(&format!("neighbour add 10.0.3.2 lladdr {MAC} dev up0 nud stale"));
    test.ip(&format!("neighbour add 10.0.3.1 lladdr {OTHER} dev peer0 nud permanent"));
    test.ip(&format!("neighbour add 2001:db8::1 lladdr {OTHER} dev peer0 nud permanent"));
    let list = |netlink: &mut cni_net::Netlink, index| {
        // Multicast groups come and go with the links.
        let entries = netlink.neighbours(index).unwrap().into_iter();
        let mut all: Vec<_> = entries
            .filter(|it| !it.address.is_multicast())
            .map(|it| (it.address, it.mac, it.index, it.permanent))
            .collect();
        all.sort();
        all
    };
    let on_up0 = [(ip("10.0.3.1"), Some(MAC), up0, true), (ip("10.0.3.2"), Some(MAC), up0, false)];
    let on_peer0 =
        [(ip("10.0.3.1"), Some(OTHER), peer0, true), (ip("2001:db8::1"), Some(OTHER), peer0, true)];
    assert_eq!(list(&mut netlink, Some(up0)), on_up0);
    assert_eq!(list(&mut netlink, Some(peer0)), on_peer0);
    let mut all = [on_up0, on_peer0].concat();
    all.sort();
    assert_eq!(list(&mut netlink, None), all);
    assert_eq!(list(&mut netlink, Some(4711)), []);
}
