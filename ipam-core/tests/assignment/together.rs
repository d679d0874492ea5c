//! Both families and several interfaces: all or nothing.

use ipam_core::{Family, NamedPools, PoolSpec, Refused, Source, Strategy};

use crate::node::{Node, attachment, demand, demand_of, pool, pool_with};

fn named(v4: &[&str], v6: &[&str]) -> Source {
    let list = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    Source::Named(NamedPools { v4: list(v4), v6: list(v6) })
}

#[test]
fn with_one_family_full_the_other_is_not_taken() {
    let mut node = Node::new([pool("four", "10.0.0.2-10.0.0.9"), pool("six", "fd00::1")]);
    assert_eq!(node.try_add(&[demand("a")]).unwrap(), ["10.0.0.2", "fd00::1"]);
    let before = node.book.clone();
    for _ in 0..500 {
        let refused = node.try_add(&[demand("b")]).unwrap_err();
        let Refused::Exhausted { family, pools } = &*refused else { panic!("{refused}") };
        assert_eq!((*family, pools.len()), (Family::V6, 1));
    }
    assert_eq!(format!("{before:?}"), format!("{:?}", node.book));
    assert_eq!(node.held(), ["10.0.0.2", "fd00::1"]);
}

/// A pod with two interfaces, the second of which has no address left, is tried again and again:
/// the pool of the first interface is not drained (pain.md §3.8).
#[test]
fn five_hundred_retries_of_a_failing_pair_drain_nothing() {
    for strategy in [Strategy::Lowest, Strategy::RoundRobin, Strategy::OldestReleased] {
        let not_default = |spec: &mut PoolSpec| spec.default = None;
        let pools = [pool("a", "10.0.0.2-10.0.0.9"), pool_with("b", "10.0.0.20", not_default)];
        let mut node = Node::with(pools, strategy, 60);
        let mut filler = demand("filler");
        filler.source = named(&["b"], &[]);
        node.add(filler);
        let before = format!("{:?}", node.book);
        for n in 0..500 {
            let pod = Some(("web", "u1"));
            let mut second = demand_of(&n.to_string(), "net1", pod);
            second.source = named(&["b"], &[]);
            let demands = [demand_of(&n.to_string(), "eth0", pod), second];
            let refused = node.try_add(&demands).unwrap_err().to_string();
            assert!(refused.contains("pool b (1 of 1 held)"), "{refused}");
            node.del(&attachment(&n.to_string(), "eth0"));
            node.del(&attachment(&n.to_string(), "net1"));
        }
        assert_eq!(before, format!("{:?}", node.book));
    }
}

#[test]
fn several_interfaces_get_different_addresses_in_their_order() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.3,10.0.0.5")]);
    let demands = [demand("a"), demand_of("a", "net1", None), demand_of("a", "net2", None)];
    let decision = node.decide(&demands).unwrap();
    let order: Vec<_> = decision.grants.iter().map(|grant| grant.demand).collect();
    assert_eq!(order, [0, 1, 2]);
    assert_eq!(node.try_add(&demands).unwrap(), ["10.0.0.2", "10.0.0.3", "10.0.0.5"]);
    assert_eq!(node.del(&attachment("a", "net1")), ["10.0.0.3"]);
}

#[test]
fn who_holds_already_must_release_first() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9"), pool("six", "fd00::1-fd00::9")]);
    node.try_add(&[demand("a")]).unwrap();
    assert_eq!(
        node.refusal(demand("a")),
        "net/a/eth0 already holds 10.0.0.2, fd00::1: release it first (DEL)"
    );
    // Also as the second of a decision: the first gets nothing either.
    let refused = node.try_add(&[demand("b"), demand("a")]).unwrap_err();
    assert!(matches!(*refused, Refused::AlreadyHeld { leases, .. } if leases.len() == 2));
    assert_eq!(node.held().len(), 2);
    node.del(&attachment("a", "eth0"));
    assert_eq!(node.try_add(&[demand("a")]).unwrap(), ["10.0.0.2", "fd00::1"]);
}

#[test]
fn a_family_without_pool_is_missed_only_where_it_is_required() {
    let node = Node::new([pool("four", "10.0.0.2-10.0.0.9")]);
    assert_eq!(node.decide(&[demand("a")]).unwrap().grants.len(), 1);
    let mut required = demand("a");
    required.required = vec![Family::V4];
    assert_eq!(node.decide(&[required.clone()]).unwrap().grants.len(), 1);
    required.required = vec![Family::V6];
    let text = node.refusal(required);
    assert!(text.starts_with("no IPv6 pool for node node and network net"), "{text}");
    let mut both = demand("a");
    both.source = named(&["four"], &["six"]);
    let text = node.refusal(both);
    assert!(text.starts_with("no IPv6 pool for node node and network net: six: no such"), "{text}");
    let mut four_only = demand("a");
    four_only.source = named(&["four"], &[]);
    assert_eq!(node.decide(&[four_only]).unwrap().grants.len(), 1);
    let six_only = Node::new([pool("six", "fd00::1-fd00::9")]);
    let mut named_four = demand("a");
    named_four.source = named(&["four"], &[]);
    assert!(six_only.refusal(named_four).starts_with("no IPv4 pool for"));
}

#[test]
fn without_any_pool_the_refusal_says_why_for_each() {
    assert_eq!(
        Node::new([]).refusal(demand("a")),
        "no pool for node node and network net: no pool is stored, apply one"
    );
    let disabled = |spec: &mut PoolSpec| spec.disable = Some(true);
    let node = Node::new([pool_with("a", "10.0.0.2", disabled)]);
    assert_eq!(
        node.refusal(demand("a")),
        "no pool for node node and network net: a: disable is true"
    );
    // A second interface without any pool fails the first.
    let mut second = demand_of("a", "net1", None);
    second.source = named(&[], &[]);
    let node = Node::new([pool("a", "10.0.0.2")]);
    let refused = node.decide(&[demand("a"), second]).unwrap_err();
    assert!(matches!(*refused, Refused::NoPool(reason) if reason.family.is_none()));
}

#[test]
fn a_pool_without_any_assignable_address_is_passed_over() {
    for strategy in [Strategy::Lowest, Strategy::RoundRobin, Strategy::Random { seed: 1 }] {
        let pools = [pool("edge", "10.0.0.0"), pool("a", "10.0.0.2")];
        assert_eq!(Node::with(pools, strategy, 0).add(demand("a")), "10.0.0.2");
        let text = Node::with([pool("edge", "10.0.0.0")], strategy, 0).refusal(demand("a"));
        assert!(text.contains("pool edge (0 of 0 held)"), "{text}");
    }
}
