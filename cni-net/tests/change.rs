//! Several changes at once: all of them, in their order, each with its own outcome.

use cni_net::{AddressOptions, Change, Family, MacAddr, Mark, Neighbour, Netlink, Route, Rule};
use ipnet::IpNet;
use rustix::io::Errno;

mod namespace;
use namespace::{TestNetns, errno};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn down() -> (TestNetns, Netlink, u32) {
    let test = TestNetns::with_parent();
    test.ip("link set up0 down");
    let mut netlink = test.netlink();
    let index = netlink.link("up0").unwrap().unwrap().index;
    (test, netlink, index)
}

fn address(index: u32, address: &str) -> Change<'static> {
    let options = AddressOptions { nodad: true };
    Change::AddAddress { index, address: net(address), options }
}

#[test]
fn each_change_is_that_of_the_method_of_its_name() {
    let (test, mut netlink, index) = down();
    let route = Route::new(net("0.0.0.0/0"), Some("10.0.3.1".parse().unwrap()), index);
    let route6 = Route::new(net("::/0"), Some("2001:db8::1".parse().unwrap()), index);
    let rule = Rule { mark: Some(Mark::bits(0x80)), ..Rule::new(Family::V4, 500, 100) };
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    let neighbour = Neighbour { address: "10.0.3.9".parse().unwrap(), mac, index };
    let outcomes = netlink.make_all(&[
        address(index, "10.0.3.7/24"),
        address(index, "2001:db8::7/64"),
        Change::SetLinkUp(index),
        Change::AddRoute(&route),
        Change::ReplaceRoute(&route6),
        Change::AddRule(&rule),
        Change::ReplaceNeighbour(&neighbour),
        Change::SetLinkAlias { index, alias: "seven" },
    ]);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(outcomes.len(), 8);
    let link = netlink.link_by_index(index).unwrap().unwrap();
    assert_eq!((link.up, link.alias.as_deref()), (true, Some("seven")));
    let addresses = netlink.addresses(index).unwrap();
    for expected in ["10.0.3.7/24", "2001:db8::7/64"] {
        assert!(addresses.iter().any(|address| address.net == net(expected)), "{addresses:?}");
    }
    assert_eq!(test.ip_json("-4 route show default")[0]["gateway"], "10.0.3.1");
    assert_eq!(test.ip_json("-6 route show default")[0]["gateway"], "2001:db8::1");
    assert!(netlink.rules().unwrap().contains(&rule));
    let known = netlink.neighbours(Some(index)).unwrap();
    assert!(known.iter().any(|it| it.address == neighbour.address && it.permanent), "{known:?}");
    assert!(netlink.make_all(&[]).is_empty());
}

#[test]
fn a_refusal_is_that_changes_own_and_the_others_are_made() {
    let (_test, mut netlink, index) = down();
    netlink.add_address(index, net("10.0.3.7/24"), AddressOptions::default()).unwrap();
    let far = Route::new(net("10.9.0.0/16"), Some("192.0.2.1".parse().unwrap()), index);
    let near = Route::new(net("10.8.0.0/16"), Some("10.0.3.1".parse().unwrap()), index);
    let odd = Route::new(net("::/0"), Some("10.0.3.1".parse().unwrap()), index);
    let changes = [
        address(index, "10.0.3.7/24"),
        address(index, "10.0.4.7/24"),
        Change::SetLinkUp(4711),
        Change::SetLinkUp(index),
        Change::AddRoute(&odd),
        Change::AddRoute(&far),
        Change::AddRoute(&near),
    ];
    let outcomes = netlink.make_all(&changes);
    assert_eq!(errno(&outcomes[0]), Errno::EXIST);
    assert!(outcomes[1].is_ok());
    assert_eq!(errno(&outcomes[2]), Errno::NODEV);
    assert!(outcomes[3].is_ok());
    assert_eq!(outcomes[4].as_ref().unwrap_err().errno(), None, "not even sent");
    assert_eq!(errno(&outcomes[5]), Errno::NETUNREACH);
    assert!(outcomes[6].is_ok());
    // Each error is what the method alone answers.
    for (change, outcome) in changes.iter().zip(&outcomes) {
        let alone = match *change {
            Change::AddAddress { index, address, options } if outcome.is_err() => {
                netlink.add_address(index, address, options)
            }
            Change::SetLinkUp(index) if outcome.is_err() => netlink.set_link_up(index),
            Change::AddRoute(route) if outcome.is_err() => netlink.add_route(route),
            _ => continue,
        };
        let text = |result: &cni_net::Result<()>| result.as_ref().unwrap_err().to_string();
        assert_eq!(text(outcome), text(&alone));
    }
    let routes = netlink.routes(Some(254)).unwrap();
    assert!(routes.iter().any(|route| route.dst == near.dst));
    assert!(routes.iter().all(|route| route.dst != far.dst));
}

/// A refusal of the last one is both its answer and the end.
#[test]
fn the_last_may_be_refused_and_the_socket_goes_on() {
    let (_test, mut netlink, index) = down();
    for _ in 0..3 {
        let outcomes = netlink.make_all(&[Change::SetLinkUp(index), Change::SetLinkUp(4711)]);
        assert!(outcomes[0].is_ok());
        assert_eq!(errno(&outcomes[1]), Errno::NODEV);
        assert!(netlink.link("up0").unwrap().unwrap().up);
    }
    // More answers than a socket holds.
    let many: Vec<_> = (0..500).map(|_| Change::SetLinkUp(4711)).collect();
    assert!(netlink.make_all(&many).iter().all(|it| errno(it) == Errno::NODEV));
}
