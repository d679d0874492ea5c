//! Who finds an address again: the next sandbox of the same pod, and pods by name.

use ipam_core::{Ledger, Origin, PoolSpec, RangeSet, StickyNames, Strategy};

use crate::node::{Node, attachment, demand, demand_of, pool, pool_with};

const WEB: Option<(&str, &str)> = Some(("web-0", "u1"));

fn two_families() -> Node {
    Node::new([pool("four", "10.0.0.2-10.0.0.9"), pool("six", "fd00::1-fd00::9")])
}

#[test]
fn a_new_sandbox_takes_the_addresses_of_the_old_one_over() {
    let mut node = two_families();
    node.try_add(&[demand("other")]).unwrap();
    let given = node.try_add(&[demand_of("old", "eth0", WEB)]).unwrap();
    assert_eq!(given, ["10.0.0.3", "fd00::2"]);
    node.del(&attachment("other", "eth0"));
    let decision = node.decide(&[demand_of("new", "eth0", WEB)]).unwrap();
    for grant in &decision.grants {
        let Origin::TakenOver { from } = &grant.origin else { panic!("{grant:?}") };
        assert_eq!(from.attachment, attachment("old", "eth0"));
    }
    assert_eq!(node.try_add(&[demand_of("new", "eth0", WEB)]).unwrap(), given);
    assert_eq!(node.held(), given);
    // The release of the old sandbox comes late and finds nothing.
    assert_eq!(node.del(&attachment("old", "eth0")), [""; 0]);
    assert_eq!(node.held(), given);
    assert_eq!(node.book.held_by(&attachment("new", "eth0")).unwrap().len(), 2);
    assert_eq!(node.del(&attachment("new", "eth0")), given);
}

#[test]
fn another_interface_network_or_pod_gets_another_address() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    assert_eq!(node.add(demand_of("old", "eth0", WEB)), "10.0.0.2");
    assert_eq!(node.add(demand_of("new", "net1", WEB)), "10.0.0.3");
    assert_eq!(node.add(demand_of("x", "eth0", Some(("web-0", "u2")))), "10.0.0.4");
    let mut demand = demand_of("y", "eth0", WEB);
    demand.attachment.network = "other".parse().unwrap();
    assert_eq!(node.add(demand), "10.0.0.5");
}

/// Also where another pool, which would be tried first, has free addresses again.
#[test]
fn an_address_is_taken_over_from_any_candidate_pool() {
    let mut node = Node::new([pool("a", "10.0.0.2"), pool("b", "10.0.0.20-10.0.0.29")]);
    node.add(demand("filler"));
    assert_eq!(node.add(demand_of("old", "eth0", WEB)), "10.0.0.20");
    node.del(&attachment("filler", "eth0"));
    assert_eq!(node.add(demand_of("new", "eth0", WEB)), "10.0.0.20");
}

#[test]
fn nothing_is_taken_over_from_a_pool_that_may_not_be_used_any_more() {
    let disabled = |spec: &mut PoolSpec| spec.disable = Some(true);
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9"), pool("b", "10.0.0.20-10.0.0.29")]);
    assert_eq!(node.add(demand_of("old", "eth0", WEB)), "10.0.0.2");
    node.change_pools([
        pool_with("a", "10.0.0.2-10.0.0.9", disabled),
        pool("b", "10.0.0.20-10.0.0.29"),
    ]);
    assert_eq!(node.add(demand_of("new", "eth0", WEB)), "10.0.0.20");
    // Two addresses now; the old sandbox's release frees its own only.
    assert_eq!(node.del(&attachment("old", "eth0")), ["10.0.0.2"]);
    assert_eq!(node.held(), ["10.0.0.20"]);
}

#[test]
fn nothing_is_taken_over_that_was_reserved_meanwhile() {
    let whole = pool("a", "10.0.0.2-10.0.0.9");
    let mut node = Node::new([whole.clone()]);
    assert_eq!(node.add(demand_of("old", "eth0", WEB)), "10.0.0.2");
    node.change_pools([whole.among(&"10.0.0.2".parse().unwrap(), &RangeSet::new())]);
    assert_eq!(node.add(demand_of("new", "eth0", WEB)), "10.0.0.3");
}

/// kubelet makes a sandbox anew again and again while it fails, and the DELs never come.
#[test]
fn a_hundred_sandboxes_of_one_pod_use_one_address() {
    for strategy in [
        Strategy::Lowest,
        Strategy::RoundRobin,
        Strategy::Random { seed: 1 },
        Strategy::OldestReleased,
    ] {
        let mut node = Node::with([pool("a", "10.0.0.2-10.0.0.9")], strategy, 60);
        let first = node.add(demand_of("sandbox", "eth0", WEB));
        for n in 0..100 {
            node.now += 1;
            assert_eq!(node.add(demand_of(&format!("sandbox{n}"), "eth0", WEB)), first);
            assert_eq!(node.held(), [first.as_str()]);
        }
        let counts = node.book.counts(&node.pools[0]).unwrap();
        assert_eq!((counts.held, counts.cooling), (1, 0));
    }
}

/// Two sandboxes of one pod in one decision cannot both have the old address.
#[test]
fn an_address_is_taken_over_once() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    node.add(demand_of("old", "eth0", WEB));
    let demands = [demand_of("x", "eth0", WEB), demand_of("y", "eth0", WEB)];
    assert_eq!(node.try_add(&demands).unwrap(), ["10.0.0.2", "10.0.0.3"]);
}

#[test]
fn a_statefulset_pod_finds_its_address_again_by_ordinal() {
    let mut node = Node::with([pool("a", "10.0.0.2-10.0.0.9")], Strategy::Lowest, 0);
    node.policy.sticky = StickyNames::Ordinal;
    node.policy.sticky_seconds = 100;
    node.add(demand("filler"));
    assert_eq!(node.add(demand_of("a", "eth0", WEB)), "10.0.0.3");
    assert_eq!(node.add(demand_of("b", "eth0", Some(("job-x", "u2")))), "10.0.0.4");
    for container in ["filler", "a", "b"] {
        node.del(&attachment(container, "eth0"));
    }
    let again = demand_of("d", "eth0", Some(("web-0", "another uid")));
    let decision = node.decide(std::slice::from_ref(&again)).unwrap();
    assert_eq!(decision.grants[0].origin, Origin::Returned);
    // The name without an ordinal has nothing that waits; nobody else gets what waits.
    assert_eq!(node.add(demand_of("c", "eth0", Some(("job-x", "u3")))), "10.0.0.2");
    assert_eq!(node.add(demand_of("e", "eth0", Some(("web-1", "u4")))), "10.0.0.4");
    assert_eq!(node.add(again), "10.0.0.3");
}

#[test]
fn any_pod_finds_its_address_again_by_name() {
    let mut node = two_families();
    node.policy.sticky = StickyNames::All;
    node.try_add(&[demand("filler")]).unwrap();
    let given = node.try_add(&[demand_of("a", "eth0", Some(("job-x", "u1")))]).unwrap();
    assert_eq!(given, ["10.0.0.3", "fd00::2"]);
    node.del(&attachment("a", "eth0"));
    node.del(&attachment("filler", "eth0"));
    let again = |ifname| demand_of("b", ifname, Some(("job-x", "u2")));
    let other = node.decide(&[again("net1")]).unwrap().grants[0].address.to_string();
    assert_eq!(other, "10.0.0.2", "another interface");
    // Switched off, nothing is returned, but it still waits.
    node.policy.sticky = StickyNames::None;
    let other = node.decide(&[again("eth0")]).unwrap().grants[0].address.to_string();
    assert_eq!(other, "10.0.0.2");
    node.policy.sticky = StickyNames::All;
    assert_eq!(node.try_add(&[again("eth0")]).unwrap(), given);
}

/// What waits is given to others when its time is over, and not a second before; the pod itself
/// may be late as long as nobody has it.
#[test]
fn a_sticky_address_waits_for_its_time() {
    let mut node = Node::new([pool("a", "10.0.0.2")]);
    node.policy.sticky = StickyNames::All;
    node.policy.sticky_seconds = 100;
    node.add(demand_of("a", "eth0", WEB));
    node.del(&attachment("a", "eth0"));
    node.now += 99;
    let text = node.refusal(demand("x"));
    assert!(text.contains("(0 of 1 held, 1 kept for pods)"), "{text}");
    node.now += 1;
    assert_eq!(node.decide(&[demand("x")]).unwrap().grants[0].origin, Origin::Chosen);
    let late = demand_of("b", "eth0", WEB);
    assert_eq!(node.decide(&[late]).unwrap().grants[0].origin, Origin::Returned);
}

#[test]
fn a_returning_pod_is_held_against_the_filters_again() {
    let a = |change: fn(&mut PoolSpec)| pool_with("a", "10.0.0.2-10.0.0.3", change);
    let b = || pool("b", "10.0.0.20-10.0.0.29");
    let mut node = Node::new([a(|_| {}), b()]);
    node.policy.sticky = StickyNames::Ordinal;
    assert_eq!(node.add(demand_of("a", "eth0", WEB)), "10.0.0.2");
    node.del(&attachment("a", "eth0"));
    let again = [demand_of("b", "eth0", WEB)];
    let given = |node: &Node| node.decide(&again).unwrap().grants[0].address.to_string();
    assert_eq!(given(&node), "10.0.0.2");
    node.change_pools([a(|spec| spec.disable = Some(true)), b()]);
    assert_eq!(given(&node), "10.0.0.20");
    node.change_pools([a(|spec| spec.node_name = vec!["other".into()]), b()]);
    assert_eq!(given(&node), "10.0.0.20");
    node.change_pools([a(|spec| spec.exclude_ips = vec!["10.0.0.2".into()]), b()]);
    assert_eq!(given(&node), "10.0.0.3");
    let address: RangeSet = "10.0.0.2".parse().unwrap();
    node.change_pools([a(|_| {}).among(&address, &RangeSet::new()), b()]);
    assert_eq!(given(&node), "10.0.0.3");
    // What has become the gateway or the node's own is given on request only.
    node.change_pools([a(|spec| spec.gateway = Some("10.0.0.2".into())), b()]);
    assert_eq!(given(&node), "10.0.0.3");
    node.change_pools([a(|_| {}).among(&RangeSet::new(), &address), b()]);
    assert_eq!(given(&node), "10.0.0.3");
    node.change_pools([a(|_| {}), b()]);
    assert_eq!(given(&node), "10.0.0.2");
}

/// Two sandboxes of one name in one decision: the first gets what waits.
#[test]
fn an_address_is_returned_once() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    node.policy.sticky = StickyNames::All;
    node.add(demand_of("a", "eth0", Some(("web-0", "u1"))));
    node.del(&attachment("a", "eth0"));
    let demands = [
        demand_of("x", "eth0", Some(("web-0", "u2"))),
        demand_of("y", "eth0", Some(("web-0", "u3"))),
    ];
    assert_eq!(node.try_add(&demands).unwrap(), ["10.0.0.2", "10.0.0.3"]);
}

/// What the earlier sandbox holds comes before what waits by name.
#[test]
fn the_earlier_sandbox_comes_before_the_name() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    node.policy.sticky = StickyNames::All;
    node.add(demand_of("a", "eth0", Some(("web-0", "u1"))));
    node.del(&attachment("a", "eth0"));
    node.policy.sticky = StickyNames::None;
    assert_eq!(node.add(demand_of("b", "eth0", Some(("web-0", "u2")))), "10.0.0.3");
    node.policy.sticky = StickyNames::All;
    assert_eq!(node.add(demand_of("c", "eth0", Some(("web-0", "u2")))), "10.0.0.3");
}
