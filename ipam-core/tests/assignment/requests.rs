//! Requested addresses: had, or refused with the reason.

use ipam_core::{Family, Origin, PoolSpec, RangeSet, StickyNames, Strategy, WhenOnlyCooling};

use crate::node::{Node, attachment, demand, demand_of, pool, pool_with, requesting};

fn refusal(node: &Node, address: &str) -> String {
    let text = node.refusal(requesting("x", &[address]));
    let start = format!("requested address {address} cannot be had: ");
    text.strip_prefix(&start).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_requested_address_is_given_although_lower_ones_are_free() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    let demand = requesting("a", &["10.0.0.7", "10.0.0.7"]);
    assert_eq!(
        node.decide(std::slice::from_ref(&demand)).unwrap().grants[0].origin,
        Origin::Requested
    );
    assert_eq!(node.add(demand), "10.0.0.7");
}

/// Also from the second pool, and in one family only.
#[test]
fn the_other_family_is_chosen_as_ever() {
    let pools = [pool("a", "10.0.0.2"), pool("b", "10.0.0.9"), pool("six", "fd00::1-fd00::9")];
    let mut node = Node::new(pools);
    let given = node.try_add(&[requesting("a", &["10.0.0.9"])]).unwrap();
    assert_eq!(given, ["10.0.0.9", "fd00::1"]);
    let given = node.try_add(&[requesting("b", &["fd00::9"])]).unwrap();
    assert_eq!(given, ["10.0.0.2", "fd00::9"]);
}

#[test]
fn no_pool_has_it() {
    let node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    assert_eq!(refusal(&node, "10.0.0.10"), "no pool has it");
    assert_eq!(refusal(&node, "192.0.2.1"), "no pool has it");
    assert_eq!(refusal(&node, "fd00::1"), "no pool has it");
}

#[test]
fn its_pool_may_not_be_used() {
    let on = |node: &'static str| move |spec: &mut PoolSpec| spec.node_name = vec![node.into()];
    let not_default = |spec: &mut PoolSpec| spec.default = None;
    let disabled = |spec: &mut PoolSpec| spec.disable = Some(true);
    let node = Node::new([
        pool("a", "10.0.0.2"),
        pool_with("b", "10.0.0.3", on("other")),
        pool_with("c", "10.0.0.4", not_default),
        pool_with("d", "10.0.0.5", disabled),
    ]);
    let reason = "its pool may not be used here, ";
    assert_eq!(
        refusal(&node, "10.0.0.3"),
        format!("{reason}b: nodeName is [other], this node is node")
    );
    assert_eq!(
        refusal(&node, "10.0.0.4"),
        format!("{reason}c: default is not true and nobody names it")
    );
    assert_eq!(refusal(&node, "10.0.0.5"), format!("{reason}d: disable is true"));
    let mut demand = requesting("x", &["10.0.0.4"]);
    demand.source = ipam_core::Source::Named(ipam_core::NamedPools {
        v4: vec!["a".parse().unwrap()],
        v6: vec![],
    });
    assert!(node.refusal(demand).ends_with("here, c: other pools are named"));
}

#[test]
fn its_pool_excludes_it() {
    let excluding = |spec: &mut PoolSpec| spec.exclude_ips = vec!["10.0.0.4-10.0.0.5".into()];
    let node = Node::new([pool_with("a", "10.0.0.2-10.0.0.9", excluding), pool("b", "10.0.0.5")]);
    assert_eq!(refusal(&node, "10.0.0.4"), "excludeIPs of pool a has it");
    // Another pool claims what one excludes.
    let decision = node.decide(&[requesting("x", &["10.0.0.5"])]).unwrap();
    assert_eq!(decision.grants[0].pool.name().as_str(), "b");
}

/// Another pool claims it and may not be used: that is the reason, not the exclusion here.
#[test]
fn its_pool_may_not_be_used_and_another_excludes_it() {
    let excluding = |spec: &mut PoolSpec| spec.exclude_ips = vec!["10.0.0.5".into()];
    let disabled = |spec: &mut PoolSpec| spec.disable = Some(true);
    let node = Node::new([
        pool_with("a", "10.0.0.2-10.0.0.9", excluding),
        pool_with("b", "10.0.0.5", disabled),
    ]);
    assert_eq!(refusal(&node, "10.0.0.5"), "its pool may not be used here, b: disable is true");
}

#[test]
fn it_is_reserved() {
    let whole = pool("a", "10.0.0.2-10.0.0.9");
    let reserved: RangeSet = "10.0.0.4".parse().unwrap();
    let mut node = Node::new([whole.clone()]);
    node.add(demand_of("old", "eth0", Some(("p", "u"))));
    node.change_pools([whole.among(&reserved, &RangeSet::new())]);
    assert_eq!(refusal(&node, "10.0.0.4"), "it is reserved on all nodes");
}

#[test]
fn somebody_holds_it() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    node.add(demand("a"));
    node.add(demand_of("b", "net1", Some(("web", "u1"))));
    assert_eq!(refusal(&node, "10.0.0.2"), "net/a/eth0 holds it");
    assert_eq!(refusal(&node, "10.0.0.3"), "pod default/web holds it (net/b/net1)");
}

#[test]
fn it_cools_down() {
    let mut node = Node::with([pool("a", "10.0.0.2-10.0.0.9")], Strategy::Lowest, 30);
    node.policy.when_only_cooling = WhenOnlyCooling::Refuse;
    node.add(demand("a"));
    node.del(&attachment("a", "eth0"));
    node.now += 29;
    assert_eq!(refusal(&node, "10.0.0.2"), "it cools down after its release, for 1 s more");
    let asked = requesting("x", &["10.0.0.2"]);
    // Who asks for it by name takes the risk, where the policy does.
    node.policy.when_only_cooling = WhenOnlyCooling::TakeOldest;
    assert_eq!(
        node.decide(std::slice::from_ref(&asked)).unwrap().grants[0].origin,
        Origin::Requested
    );
    node.policy.when_only_cooling = WhenOnlyCooling::Refuse;
    node.now += 1;
    assert_eq!(node.decide(&[asked]).unwrap().grants[0].origin, Origin::Requested);
}

#[test]
fn it_waits_for_another_pod() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    node.policy.sticky = StickyNames::All;
    node.policy.sticky_seconds = 100;
    node.add(demand_of("a", "eth0", Some(("web-0", "u1"))));
    node.del(&attachment("a", "eth0"));
    assert_eq!(refusal(&node, "10.0.0.2"), "it waits for pod default/web-0 eth0, for 100 s more");
    let asked_by = |name| {
        let mut demand = demand_of("x", "eth0", Some((name, "u2")));
        demand.requested = vec!["10.0.0.2".parse().unwrap()];
        demand
    };
    assert!(node.decide(&[asked_by("web-1")]).is_err());
    assert_eq!(node.add(asked_by("web-0")), "10.0.0.2");
}

#[test]
fn two_of_a_family_are_requested() {
    let node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    assert_eq!(
        node.refusal(requesting("x", &["10.0.0.2", "10.0.0.3"])),
        "requested address 10.0.0.3 cannot be had: one address per family can be requested"
    );
}

#[test]
fn another_interface_of_the_decision_gets_it() {
    let node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    let first = requesting("x", &["10.0.0.4"]);
    let second = requesting("y", &["10.0.0.4"]);
    assert_eq!(
        node.decide(&[first, second]).unwrap_err().to_string(),
        "requested address 10.0.0.4 cannot be had: another interface of the same decision gets it"
    );
}

/// The gateway, the network's and the broadcast address, the subnet-router anycast address and the
/// node's own: for those who ask for the very address, and for nobody else.
#[test]
fn special_addresses_are_given_on_request_only() {
    let gateway = |spec: &mut PoolSpec| {
        spec.subnet = "10.0.0.0/29".into();
        spec.gateway = Some("10.0.0.1".into());
    };
    let own: RangeSet =
        ["10.0.0.2", "fd00::2"].iter().map(|a| a.parse::<std::net::IpAddr>().unwrap()).collect();
    let four = pool_with("four", "10.0.0.0-10.0.0.7", gateway).among(&RangeSet::new(), &own);
    let six = pool("six", "fd00::-fd00::3").among(&RangeSet::new(), &own);
    for strategy in [Strategy::Lowest, Strategy::RoundRobin, Strategy::OldestReleased] {
        let mut node = Node::with([four.clone()], strategy, 0);
        for n in 3..=6 {
            assert_eq!(node.add(demand(&n.to_string())), format!("10.0.0.{n}"));
        }
        assert!(node.decide(&[demand("x")]).is_err());
        for address in ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.7"] {
            assert_eq!(node.add(requesting(address, &[address])), address);
            node.del(&attachment(address, "eth0"));
            assert!(node.decide(&[demand("x")]).is_err(), "{address} is given to somebody");
        }
        let mut node = Node::with([six.clone()], strategy, 0);
        assert_eq!(node.add(demand("a")), "fd00::1");
        assert_eq!(node.add(demand("b")), "fd00::3");
        assert!(node.decide(&[demand("x")]).is_err());
        for address in ["fd00::", "fd00::2"] {
            assert_eq!(node.add(requesting("c", &[address])), address);
            node.del(&attachment("c", "eth0"));
        }
    }
}

/// A sandbox that is made anew asks for the same address again while the old one holds it.
#[test]
fn a_pod_may_request_what_its_earlier_sandbox_holds() {
    let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
    let of = |container, pod| {
        let mut demand = demand_of(container, "eth0", pod);
        demand.requested = vec!["10.0.0.5".parse().unwrap()];
        demand
    };
    node.add(of("old", Some(("web", "u1"))));
    let decision = node.decide(&[of("new", Some(("web", "u1")))]).unwrap();
    assert!(matches!(decision.grants[0].origin, Origin::TakenOver { .. }));
    for pod in [None, Some(("web", "u2"))] {
        assert!(node.refusal(of("new", pod)).contains("pod default/web holds it"));
    }
    let mut other_interface = of("new", Some(("web", "u1")));
    other_interface.attachment.ifname = "net1".parse().unwrap();
    assert!(node.refusal(other_interface).contains("pod default/web holds it"));
    let mut other_network = of("new", Some(("web", "u1")));
    other_network.attachment.network = "other".parse().unwrap();
    assert!(node.refusal(other_network).contains("pod default/web holds it"));
}

/// Without a uid nobody can be told from anybody else.
#[test]
fn nobody_takes_over_without_a_uid() {
    for uid in [None, Some(String::new())] {
        let mut node = Node::new([pool("a", "10.0.0.2-10.0.0.9")]);
        let of = |container| {
            let mut demand = demand_of(container, "eth0", Some(("web", "")));
            demand.pod.as_mut().unwrap().uid.clone_from(&uid);
            demand
        };
        assert_eq!(node.add(of("old")), "10.0.0.2");
        assert_eq!(node.add(of("new")), "10.0.0.3", "{uid:?}");
        let mut asking = of("newer");
        asking.requested = vec!["10.0.0.2".parse().unwrap()];
        assert!(node.refusal(asking).contains("pod default/web holds it"), "{uid:?}");
    }
}

/// A requested address counts for its family.
#[test]
fn a_required_family_is_met_by_a_request() {
    let mut node = Node::new([pool("six", "fd00::1-fd00::9")]);
    let mut demand = requesting("a", &["fd00::5"]);
    demand.required = vec![Family::V6];
    assert_eq!(node.add(demand), "fd00::5");
}
