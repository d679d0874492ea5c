//! Cooldown and quarantine: what is not given, until when, and what the user reads.

use ipam_core::{
    Counts, Demand, Ledger, Moment, Origin, PoolState, Refused, Rest, RestKind, Strategy,
    WhenOnlyCooling,
};

use crate::node::{Node, attachment, demand, pool, pool_with, requesting};

/// Two addresses; the cooldown is 30 s and nothing is given early.
fn strict(ips: &str) -> Node {
    let mut node = Node::with([pool("a", ips)], Strategy::Lowest, 30);
    node.policy.when_only_cooling = WhenOnlyCooling::Refuse;
    node
}

fn quarantine(node: &mut Node, address: &str, seconds: u64) {
    let now = Moment(node.now);
    let rest = Rest::quarantine("02:00:00:00:00:01 answers".into(), now, now.after(seconds));
    node.book.rest_for(address.parse().unwrap(), node.pools[0].name(), rest);
}

/// The pools that are exhausted.
fn exhausted(node: &Node, demands: &[Demand]) -> Vec<PoolState> {
    match *node.decide(demands).unwrap_err() {
        Refused::Exhausted { pools, .. } => pools,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_released_address_rests_to_the_last_second_of_its_cooldown() {
    let mut node = strict("10.0.0.2-10.0.0.3");
    node.add(demand("a"));
    node.del(&attachment("a", "eth0"));
    node.now += 29;
    assert_eq!(node.decide(&[demand("b")]).unwrap().grants[0].address.to_string(), "10.0.0.3");
    for late in [1, 1, 1000] {
        node.now += late;
        assert_eq!(node.decide(&[demand("b")]).unwrap().grants[0].address.to_string(), "10.0.0.2");
    }
    let demands = [demand("b"), demand("c")];
    assert_eq!(node.try_add(&demands).unwrap(), ["10.0.0.2", "10.0.0.3"]);
}

/// Those that have rested long enough are free for each interface of a decision, once.
#[test]
fn each_demand_gets_another_woken_address() {
    let mut node = strict("10.0.0.2-10.0.0.3");
    for container in ["a", "b"] {
        node.add(demand(container));
        node.del(&attachment(container, "eth0"));
    }
    node.now += 30;
    let demands = [demand("x"), demand("y")];
    assert_eq!(node.try_add(&demands).unwrap(), ["10.0.0.2", "10.0.0.3"]);
}

/// Nothing is written for a rest of no length, unless its order matters.
#[test]
fn without_a_cooldown_a_released_address_is_free_at_once() {
    let mut policy = ipam_core::Policy { cooldown_seconds: 0, ..ipam_core::Policy::default() };
    assert_eq!(policy.rest(None, Moment(5)), None);
    policy.strategy = Strategy::OldestReleased;
    assert_eq!(policy.rest(None, Moment(5)), Some(Rest::cooling(Moment(5), Moment(5))));
    policy.cooldown_seconds = 1;
    policy.strategy = Strategy::Lowest;
    assert_eq!(policy.rest(None, Moment(5)), Some(Rest::cooling(Moment(5), Moment(6))));
}

#[test]
fn the_refusal_says_what_is_held_and_how_long_to_wait() {
    let mut node = strict("10.0.0.2-10.0.0.5");
    for container in ["a", "b", "c"] {
        node.add(demand(container));
    }
    quarantine(&mut node, "10.0.0.5", 600);
    node.del(&attachment("b", "eth0"));
    node.now += 10;
    node.del(&attachment("a", "eth0"));
    node.now += 5;
    assert_eq!(
        node.refusal(demand("x")),
        "no free IPv4 address in pool a (1 of 4 held, 2 cooling down and the next free in 15 s, \
         1 in quarantine): wait for a release or add addresses"
    );
    node.now += 15;
    assert_eq!(node.add(demand("x")), "10.0.0.3");
}

#[test]
fn take_oldest_gives_the_one_that_cools_longest() {
    let mut node = strict("10.0.0.2-10.0.0.4");
    node.policy.when_only_cooling = WhenOnlyCooling::TakeOldest;
    for container in ["a", "b", "c"] {
        node.add(demand(container));
    }
    for container in ["b", "a"] {
        node.del(&attachment(container, "eth0"));
        node.now += 1;
    }
    let decision = node.decide(&[demand("x"), demand("y")]).unwrap();
    let given: Vec<_> = decision.grants.iter().map(|grant| grant.address.to_string()).collect();
    assert_eq!(given, ["10.0.0.3", "10.0.0.2"]);
    assert!(decision.grants.iter().all(|grant| grant.origin == Origin::Early));
    assert!(node.decide(&["x", "y", "z"].map(demand)).is_err());
}

/// A free address of the last pool is better than a cooling one of the first.
#[test]
fn nothing_is_given_early_while_any_pool_has_a_free_address() {
    let mut node = Node::with([pool("a", "10.0.0.2"), pool("b", "10.0.0.8")], Strategy::Lowest, 30);
    node.add(demand("a"));
    node.del(&attachment("a", "eth0"));
    assert_eq!(node.add(demand("b")), "10.0.0.8");
    assert_eq!(node.add(demand("c")), "10.0.0.2");
}

#[test]
fn a_quarantine_is_never_ended_early() {
    for when in [WhenOnlyCooling::TakeOldest, WhenOnlyCooling::Refuse] {
        for strategy in [Strategy::Lowest, Strategy::OldestReleased] {
            let mut node = Node::with([pool("a", "10.0.0.2")], strategy, 30);
            node.policy.when_only_cooling = when;
            quarantine(&mut node, "10.0.0.2", 100);
            for at in [0, 50, 99] {
                node.now = 1000 + at;
                let text = node.refusal(demand("x"));
                assert!(text.contains("(0 of 1 held, 1 in quarantine)"), "{text}");
                assert_eq!(
                    node.refusal(requesting("x", &["10.0.0.2"])),
                    format!(
                        "requested address 10.0.0.2 cannot be had: it is in quarantine: \
                         02:00:00:00:00:01 answers, for {} s more",
                        100 - at
                    )
                );
            }
            node.now = 1100;
            assert_eq!(node.add(demand("x")), "10.0.0.2");
        }
    }
}

/// A conflict ends the lease of an address, and its release later changes nothing.
#[test]
fn a_held_address_can_go_into_quarantine() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.3")]);
    node.add(demand("a"));
    quarantine(&mut node, "10.0.0.2", 100);
    assert_eq!(node.del(&attachment("a", "eth0")), [""; 0]);
    assert_eq!(node.add(demand("b")), "10.0.0.3");
    assert!(node.decide(&[demand("c")]).is_err());
}

#[test]
fn the_decision_names_what_has_woken_and_was_not_given() {
    let mut node = strict("10.0.0.2-10.0.0.4");
    for container in ["a", "b"] {
        node.add(demand(container));
        node.del(&attachment(container, "eth0"));
    }
    quarantine(&mut node, "10.0.0.4", 30);
    node.now += 30;
    let decision = node.decide(&[demand("x")]).unwrap();
    assert_eq!(decision.grants[0].address.to_string(), "10.0.0.2");
    let woken: Vec<_> = decision.woken.iter().map(ToString::to_string).collect();
    assert_eq!(woken, ["10.0.0.3", "10.0.0.4"]);
    node.try_add(&[demand("x")]).unwrap();
    let expected = Counts { held: 1, ..Counts::default() };
    assert_eq!(node.book.counts(&node.pools[0]), Ok(expected));
}

/// A woken address that was reserved meanwhile stays where it is.
#[test]
fn what_was_reserved_while_it_rested_is_not_given() {
    for (strategy, after) in [
        (Strategy::Lowest, 0),
        (Strategy::Lowest, 60),
        (Strategy::OldestReleased, 0),
        (Strategy::OldestReleased, 60),
    ] {
        let whole = pool("a", "10.0.0.2-10.0.0.3");
        let mut node = Node::with([whole.clone()], strategy, 30);
        node.add(demand("a"));
        node.add(demand("b"));
        node.del(&attachment("a", "eth0"));
        node.now += 5;
        node.change_pools([whole.among(&"10.0.0.2".parse().unwrap(), &"".parse().unwrap())]);
        node.now += after;
        let pools = exhausted(&node, &[demand("x")]);
        assert_eq!(pools[0].next_in_seconds, None, "{strategy:?} after {after} s: {pools:?}");
        node.del(&attachment("b", "eth0"));
        assert_eq!(node.add(demand("x")), "10.0.0.3", "{strategy:?}");
        node.del(&attachment("x", "eth0"));
        // With the reservation gone it is an address like any other.
        node.change_pools([whole]);
        node.now += 60;
        let given = node.try_add(&[demand("x"), demand("y")]).unwrap();
        assert_eq!(given.len(), 2, "{strategy:?}");
    }
}

/// A shrunk pool must not look through its lost addresses in every decision.
#[test]
fn lost_addresses_leave_the_queue_when_their_rest_is_over() {
    let mut node = Node::with([pool("a", "10.0.0.2-10.0.0.9")], Strategy::OldestReleased, 30);
    for container in ["0", "1", "2", "3", "4", "5", "6", "7"] {
        node.add(demand(container));
    }
    for container in ["0", "1", "2", "3", "4"] {
        node.del(&attachment(container, "eth0"));
    }
    node.change_pools([pool("a", "10.0.0.5-10.0.0.9")]);
    node.now += 30;
    let decision = node.decide(&[demand("x")]).unwrap();
    let woken: Vec<_> = decision.woken.iter().map(ToString::to_string).collect();
    assert_eq!(woken, ["10.0.0.2", "10.0.0.3", "10.0.0.4"]);
    assert_eq!(node.add(demand("x")), "10.0.0.5");
    let cooling = node.book.counts(&node.pools[0]).unwrap().cooling;
    assert_eq!(cooling, 1, "10.0.0.6 only");
}

/// Two interfaces, one of them served early, then nothing: waiting would not help, so that no time
/// is named.
#[test]
fn the_next_free_address_is_none_that_this_decision_takes_itself() {
    let mut node = Node::with([pool("a", "10.0.0.2-10.0.0.3")], Strategy::Lowest, 30);
    node.add(demand("a"));
    node.add(demand("b"));
    node.del(&attachment("a", "eth0"));
    let pools = exhausted(&node, &[demand("x"), demand("y")]);
    let [PoolState { total: 2, counts, next_in_seconds: None, .. }] = &pools[..] else {
        panic!("{pools:?}")
    };
    assert_eq!(*counts, Counts { held: 1, cooling: 1, ..Counts::default() });
}

/// The old pool could not give the address back: it would be lost.
#[test]
fn a_resting_address_moves_with_its_range_to_another_pool() {
    let mut node = Node::with([pool("a", "10.0.0.2-10.0.0.3")], Strategy::Lowest, 30);
    node.policy.when_only_cooling = WhenOnlyCooling::Refuse;
    node.add(demand("a"));
    node.del(&attachment("a", "eth0"));
    node.change_pools([pool("a", "10.0.0.3"), pool("b", "10.0.0.2")]);
    let (old, new) = (node.pools[0].clone(), node.pools[1].clone());
    assert_eq!(node.book.counts(&old).unwrap().cooling, 0);
    assert_eq!(node.book.counts(&new).unwrap().cooling, 1);
    let next = node.book.next_resting(&new, RestKind::Cooldown, None).unwrap().unwrap();
    assert_eq!(next.0.to_string(), "10.0.0.2");
    assert_eq!(node.add(demand("b")), "10.0.0.3");
    assert!(node.decide(&[demand("c")]).is_err());
    // It stays there when the old pool is put again.
    node.change_pools([new.clone(), old]);
    assert_eq!(node.book.counts(&new).unwrap().cooling, 1);
    node.now += 30;
    assert_eq!(node.add(demand("c")), "10.0.0.2");
}

/// A store reads its leases in any order.
#[test]
fn leases_can_be_written_before_their_pool_is_known() {
    let mut first = Node::new([pool("a", "10.0.0.2-10.0.0.3")]);
    first.add(demand("a"));
    let mut node = Node::new([]);
    for lease in first.book.leases() {
        node.book.hold(lease.clone());
    }
    node.change_pools(first.pools.clone());
    assert_eq!(node.book.counts(&node.pools[0]).unwrap().held, 1);
    assert_eq!(node.add(demand("b")), "10.0.0.3");
    assert_eq!(node.del(&attachment("a", "eth0")), ["10.0.0.2"]);
    assert_eq!(node.book.counts(&node.pools[0]).unwrap().held, 1);
}

#[test]
fn the_gateway_of_a_pool_is_not_given_even_as_the_last() {
    let gateway = |spec: &mut ipam_core::PoolSpec| spec.gateway = Some("10.0.0.2".into());
    let mut node = Node::with([pool_with("a", "10.0.0.2-10.0.0.3", gateway)], Strategy::Lowest, 30);
    node.add(requesting("a", &["10.0.0.2"]));
    node.add(demand("b"));
    node.del(&attachment("a", "eth0"));
    let text = node.refusal(demand("x"));
    assert!(text.contains("1 of 1 held, 1 cooling down)"), "{text}");
    node.now += 60;
    assert!(node.decide(&[demand("x")]).is_err());
    assert_eq!(node.add(requesting("x", &["10.0.0.2"])), "10.0.0.2");
}

/// One family of an attachment can be dead while the other is alive on an interface: `reclaim`
/// then frees one lease, and the address rests like any other.
#[test]
fn one_lease_of_an_attachment_ends_alone() {
    let mut node = strict("10.0.0.2-10.0.0.3");
    node.add(demand("a"));
    let address = "10.0.0.2".parse().unwrap();
    let lease = node.book.end(address, &node.policy, Moment(node.now)).unwrap();
    assert_eq!(lease.attachment, attachment("a", "eth0"));
    assert_eq!(node.book.end(address, &node.policy, Moment(node.now)), None);
    let counts = node.book.counts(&node.pools[0]).unwrap();
    assert_eq!(counts, Counts { cooling: 1, ..Counts::default() });
    assert_eq!(node.book.release(&attachment("a", "eth0"), &node.policy, Moment(node.now)), []);
}
