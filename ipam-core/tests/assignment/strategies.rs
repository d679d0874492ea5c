//! The order in which each strategy hands out.

use std::collections::BTreeSet;

use ipam_core::{Origin, Strategy};

use crate::node::{Node, attachment, demand, pool, pool_with, requesting};

fn four() -> [ipam_core::Pool; 1] {
    [pool("a", "10.0.0.2-10.0.0.3,10.0.0.8-10.0.0.9")]
}

/// Adds sandboxes one after the other, named by their number from `first` on.
fn add(node: &mut Node, first: u32, count: u32) -> Vec<String> {
    (first..first + count).map(|n| node.add(demand(&n.to_string()))).collect()
}

#[test]
fn lowest_gives_the_lowest_free_one() {
    assert_eq!(ipam_core::Policy::default().strategy, Strategy::Lowest);
    let mut node = Node::new(four());
    assert_eq!(add(&mut node, 0, 3), ["10.0.0.2", "10.0.0.3", "10.0.0.8"]);
    node.del(&attachment("0", "eth0"));
    node.del(&attachment("2", "eth0"));
    assert_eq!(add(&mut node, 3, 3), ["10.0.0.2", "10.0.0.8", "10.0.0.9"]);
    let node = Node::new(four());
    assert_eq!(node.decide(&[demand("x")]).unwrap().grants[0].origin, Origin::Chosen);
}

/// Each strategy empties the first pool before it goes to the second.
#[test]
fn pools_are_used_up_one_after_the_other() {
    for strategy in [
        Strategy::Lowest,
        Strategy::RoundRobin,
        Strategy::Random { seed: 7 },
        Strategy::OldestReleased,
    ] {
        let pools = [pool("b", "10.0.0.8-10.0.0.10"), pool("a", "10.0.0.4-10.0.0.5")];
        let mut node = Node::with(pools, strategy, 0);
        let given = add(&mut node, 0, 5);
        let set = |range: &[String]| range.iter().cloned().collect::<BTreeSet<_>>();
        let names = |all: &[&str]| all.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        assert_eq!(set(&given[..3]), names(&["10.0.0.8", "10.0.0.9", "10.0.0.10"]), "{strategy:?}");
        assert_eq!(set(&given[3..]), names(&["10.0.0.4", "10.0.0.5"]), "{strategy:?}");
        assert!(node.refusal(demand("x")).contains("no free IPv4 address"), "{strategy:?}");
    }
}

#[test]
fn round_robin_goes_on_behind_the_last_given_and_starts_again_at_the_end() {
    let mut node = Node::with(four(), Strategy::RoundRobin, 0);
    assert_eq!(add(&mut node, 0, 2), ["10.0.0.2", "10.0.0.3"]);
    node.del(&attachment("0", "eth0"));
    node.del(&attachment("1", "eth0"));
    // Behind 10.0.0.3, over the gap; then over the end.
    assert_eq!(add(&mut node, 2, 4), ["10.0.0.8", "10.0.0.9", "10.0.0.2", "10.0.0.3"]);
    node.del(&attachment("2", "eth0"));
    assert_eq!(add(&mut node, 6, 1), ["10.0.0.8"]);
    // All behind it is held: from the start again.
    node.del(&attachment("4", "eth0"));
    assert_eq!(add(&mut node, 7, 1), ["10.0.0.2"]);
}

/// What has rested long enough is free, and takes its turn like the others.
#[test]
fn round_robin_passes_by_what_has_woken_below() {
    let mut node = Node::with(four(), Strategy::RoundRobin, 30);
    add(&mut node, 0, 2);
    node.del(&attachment("0", "eth0"));
    node.now += 30;
    assert_eq!(add(&mut node, 2, 3), ["10.0.0.8", "10.0.0.9", "10.0.0.2"]);
}

#[test]
fn round_robin_goes_on_in_each_pool_by_itself() {
    let v6 = pool("six", "fd00::2-fd00::9");
    let mut node = Node::with([pool("four", "10.0.0.2-10.0.0.9"), v6], Strategy::RoundRobin, 0);
    for n in 2..6 {
        let given = node.try_add(&[demand("c")]).unwrap();
        assert_eq!(given, [format!("10.0.0.{n}"), format!("fd00::{n}")]);
        node.del(&attachment("c", "eth0"));
    }
}

#[test]
fn round_robin_goes_on_behind_a_requested_address_that_it_never_gives() {
    let gateway = |spec: &mut ipam_core::PoolSpec| spec.gateway = Some("10.0.0.4".into());
    let pools = [pool_with("a", "10.0.0.2-10.0.0.6", gateway)];
    let mut node = Node::with(pools, Strategy::RoundRobin, 0);
    node.add(requesting("0", &["10.0.0.4"]));
    assert_eq!(add(&mut node, 1, 3), ["10.0.0.5", "10.0.0.6", "10.0.0.2"]);
}

/// The same seed gives the same addresses, now and in every later version.
#[test]
fn random_follows_from_the_seed() {
    let give = |seed| {
        let pools = [pool("a", "10.0.0.0/24"), pool("b", "fd00::/64")];
        let node = Node::with(pools, Strategy::Random { seed }, 0);
        let decision = node.decide(&[demand("0"), demand("1")]).unwrap();
        decision.grants.iter().map(|grant| grant.address.to_string()).collect::<Vec<_>>()
    };
    // SplitMix64 by its definition, computed elsewhere.
    assert_eq!(
        give(1),
        ["10.0.0.118", "fd00::d1cb:87f7:3bcb:d069", "10.0.0.142", "fd00::28bd:6441:4a01:a797"]
    );
    assert_eq!(
        give(2),
        ["10.0.0.163", "fd00::9c3c:afa6:867b:319e", "10.0.0.201", "fd00::b820:f293:6960:bc7c"]
    );
}

#[test]
fn random_spreads_over_the_pool() {
    let mut seen = BTreeSet::new();
    let mut quarters = [0; 4];
    for seed in 0..400 {
        let mut node = Node::with([pool("a", "10.0.0.0/24")], Strategy::Random { seed }, 0);
        let address = node.add(demand("c"));
        let last: usize = address.rsplit('.').next().unwrap().parse().unwrap();
        quarters[last / 64] += 1;
        seen.insert(last);
    }
    // Of 254 addresses, 400 even draws leave about a fifth untouched.
    assert!(seen.len() > 170, "{} different ones", seen.len());
    assert!(quarters.iter().all(|count| (60..140).contains(count)), "{quarters:?}");
}

#[test]
fn random_finds_the_only_free_one_from_anywhere() {
    for free in ["10.0.0.1", "10.0.0.100", "10.0.0.254"] {
        let mut node = Node::new([pool("a", "10.0.0.0/24")]);
        add(&mut node, 0, 254);
        let holder = node.book.leases().find(|lease| lease.address.to_string() == free);
        let holder = holder.unwrap().attachment.clone();
        node.del(&holder);
        for seed in 0..50 {
            node.policy.strategy = Strategy::Random { seed };
            let decision = node.decide(&[demand("x")]).unwrap();
            assert_eq!(decision.grants[0].address.to_string(), free);
        }
    }
}

#[test]
fn oldest_released_gives_new_ones_first_and_then_in_the_order_of_release() {
    for cooldown in [0, 20] {
        let mut node = Node::with(four(), Strategy::OldestReleased, cooldown);
        assert_eq!(add(&mut node, 0, 3), ["10.0.0.2", "10.0.0.3", "10.0.0.8"]);
        for container in ["1", "2", "0"] {
            node.now += 1;
            node.del(&attachment(container, "eth0"));
        }
        node.now += 1 + cooldown;
        let expected = ["10.0.0.9", "10.0.0.3", "10.0.0.8", "10.0.0.2"];
        assert_eq!(add(&mut node, 3, 4), expected, "cooldown {cooldown}");
    }
}

/// Several interfaces in one decision do not get the same one of the queue.
#[test]
fn oldest_released_takes_from_the_queue_for_each_demand() {
    let mut node = Node::with([pool("a", "10.0.0.2-10.0.0.3")], Strategy::OldestReleased, 5);
    add(&mut node, 0, 2);
    node.del(&attachment("1", "eth0"));
    node.now += 1;
    node.del(&attachment("0", "eth0"));
    node.now += 5;
    assert_eq!(node.try_add(&[demand("x"), demand("y")]).unwrap(), ["10.0.0.3", "10.0.0.2"]);
}

#[test]
fn oldest_released_still_rests_for_the_whole_cooldown() {
    let mut node = Node::with([pool("a", "10.0.0.2")], Strategy::OldestReleased, 20);
    node.policy.when_only_cooling = ipam_core::WhenOnlyCooling::Refuse;
    add(&mut node, 0, 1);
    node.del(&attachment("0", "eth0"));
    node.now += 19;
    assert!(node.refusal(demand("x")).contains("the next free in 1 s"));
    node.now += 1;
    assert_eq!(node.decide(&[demand("x")]).unwrap().grants[0].origin, Origin::Chosen);
}
