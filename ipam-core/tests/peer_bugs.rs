//! The peer's defects, each as a test that it does not occur here. Those that need a cluster or a
//! kernel (racing webhooks, wrong neighbour advertisements) are not of this crate.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipam_core::{
    Asker, Attachment, Book, Decision, Demand, Facts, Labels, Moment, NamedPools, NotDecided,
    Origin, PodRef, Policy, Pool, PoolSpec, RangeSet, Refused, Rest, Source, Stamp, StickyNames,
    ValidAttachments, WhyKept, apply, decide, reclaim, select,
};

fn spec(subnet: &str, ips: &[&str]) -> PoolSpec {
    PoolSpec { subnet: subnet.into(), ips: texts(ips), default: Some(true), ..PoolSpec::default() }
}

fn pool(name: &str, subnet: &str, ips: &[&str]) -> Pool {
    Pool::new(name, &spec(subnet, ips)).unwrap()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_string()).collect()
}

fn attachment(container: &str, ifname: &str) -> Attachment {
    Attachment {
        network: "n".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: ifname.parse().unwrap(),
    }
}

fn demand(container: &str, ifname: &str) -> Demand {
    let asker = Asker::new("master".parse().unwrap(), "kube-system/n".parse().unwrap());
    Demand::new(attachment(container, ifname), asker)
}

fn of_pod(name: &str, uid: &str, demand: Demand) -> Demand {
    let (namespace, name) = ("prod".to_string(), name.to_string());
    Demand { pod: Some(PodRef { namespace, name, uid: Some(uid.to_string()) }), ..demand }
}

type Outcome<'a> = Result<Decision<'a>, NotDecided<Infallible>>;

/// Decides at a moment and writes it down.
fn ask<'a>(
    pools: &'a [Pool],
    book: &mut Book,
    policy: &Policy,
    now: u64,
    demands: &[Demand],
) -> Outcome<'a> {
    let decision = decide(demands, pools, policy, Moment(now), book)?;
    book.write(demands, &decision, None, &Stamp::default());
    Ok(decision)
}

fn addresses(decision: &Decision<'_>) -> Vec<String> {
    decision.grants.iter().map(|grant| grant.address.to_string()).collect()
}

/// Takes every address of a pool, one after the other.
fn drain(pool: Pool) -> Vec<String> {
    let pools = [pool];
    let mut book = Book::new(&pools);
    let mut given = Vec::new();
    for index in 0..300 {
        let demands = [demand(&format!("c{index}"), "eth0")];
        match ask(&pools, &mut book, &Policy::default(), 0, &demands) {
            Ok(decision) => given.extend(addresses(&decision)),
            Err(NotDecided::Refused(refused)) => {
                assert!(matches!(*refused, Refused::Exhausted { .. }), "{refused}");
                return given;
            }
        }
    }
    panic!("the pool does not end: {given:?}");
}

/// A reversed range passed the creation of a pool, counted as addresses, gave none, and made every
/// later update of the pool fail.
#[test]
fn a_reversed_range_is_refused_at_once_and_everywhere() {
    let reversed = "10.6.0.9-10.6.0.1";
    for change in [
        &(|s: &mut PoolSpec| s.ips = texts(&[reversed])) as &dyn Fn(&mut PoolSpec),
        &|s| s.ips = texts(&["10.6.0.20", reversed]),
        &|s| s.exclude_ips = texts(&[reversed]),
    ] {
        let mut spec = spec("10.6.0.0/24", &[]);
        change(&mut spec);
        let told = Pool::new("p", &spec).unwrap_err().to_string();
        assert!(told.contains("is reversed: write the lower address first"), "{told}");
    }
    assert!("fd00::9-fd00::1".parse::<RangeSet>().is_err());
}

/// The successor of an address was computed on bytes without leading zeros, so that ranges that end
/// at the last address or lie in `0.0.0.0/8` or `64:ff9b::/96` were walked forever.
#[test]
fn ranges_at_the_ends_and_with_leading_zeros_end() {
    for (subnet, ips, expected) in [
        (
            "255.255.255.0/24",
            &["255.255.255.253-255.255.255.255", "255.255.255.1"][..],
            &["255.255.255.1", "255.255.255.253", "255.255.255.254"][..],
        ),
        (
            "0.0.0.0/8",
            &["0.0.0.254-0.0.1.1", "0.0.0.0-0.0.0.1"],
            &["0.0.0.1", "0.0.0.254", "0.0.0.255", "0.0.1.0", "0.0.1.1"],
        ),
        (
            "64:ff9b::/96",
            &["64:ff9b::1", "64:ff9b::ffff:fffe-64:ff9b::ffff:ffff"],
            &["64:ff9b::1", "64:ff9b::ffff:fffe", "64:ff9b::ffff:ffff"],
        ),
        ("::/64", &["::ffff-::1:0", "::2"], &["::2", "::ffff", "::1:0"]),
        (
            "ffff:ffff:ffff:ffff::/64",
            &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
        ),
    ] {
        let ours = pool("p", subnet, ips);
        assert_eq!(apply(&[], &[ours.clone(), ours.clone()], &[]).map(|all| all.len()), Ok(2));
        let expected: Vec<IpAddr> = expected.iter().map(|text| text.parse().unwrap()).collect();
        let given: Vec<IpAddr> = drain(ours).iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(given, expected, "{subnet}");
    }
}

/// Merging ranges, exclusions and reservations made a list of every single address, which for a
/// large IPv6 range ended the process.
#[test]
fn large_ipv6_ranges_are_never_enumerated() {
    let start = Instant::now();
    let mut large = spec("2001:db8::/64", &["2001:db8::/65", "2001:db8:0:0:8000::/65"]);
    large.exclude_ips =
        texts(&["2001:db8::/66", "2001:db8::4000:0:0:0-2001:db8::ffff:ffff:ffff:fffd"]);
    let excluding = Pool::new("p", &large).unwrap();
    assert_eq!(
        drain(excluding),
        ["2001:db8::ffff:ffff:ffff:fffe", "2001:db8::ffff:ffff:ffff:ffff"]
    );
    let reserved = "2001:db8::-2001:db8::ffff:ffff:ffff:fffd".parse().unwrap();
    let reserving = pool("p", "2001:db8::/64", &["2001:db8::/64"]);
    assert_eq!(drain(reserving.among(&reserved, &RangeSet::new())).len(), 2);
    let everything = pool("all", "::/0", &["::/0"]);
    assert_eq!(everything.assignable().size(), u128::MAX, "2^128 without one: still exact");
    let pools = [everything];
    let mut book = Book::new(&pools);
    for strategy in [
        ipam_core::Strategy::Lowest,
        ipam_core::Strategy::RoundRobin,
        ipam_core::Strategy::Random { seed: 7 },
        ipam_core::Strategy::OldestReleased,
    ] {
        let policy = Policy { strategy, ..Policy::default() };
        let demands = [demand(&format!("{strategy:?}").replace(' ', ""), "eth0")];
        ask(&pools, &mut book, &policy, 0, &demands).unwrap();
    }
    let leases: Vec<_> = book.leases().cloned().collect();
    assert!(apply(&pools, &pools, &leases).is_ok(), "the check of held addresses neither");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

/// A gateway or exclusion was compared with an address as text: `fd00:0::1` was not `fd00::1`.
#[test]
fn ipv6_addresses_are_compared_as_addresses() {
    let mut spec = spec("fd00::/64", &["fd00:0::1-fd00::4"]);
    spec.gateway = Some("FD00:0:0::0:1".into());
    spec.exclude_ips = texts(&["fd00::0002"]);
    assert_eq!(drain(Pool::new("p", &spec).unwrap()), ["fd00::3", "fd00::4"]);
    let mut again = spec.clone();
    again.gateway = Some("fd00::1".into());
    assert_eq!(Pool::new("p", &spec), Pool::new("p", &again));
}

/// Lists of one entry were stored as written and longer ones sorted and merged, so that one set
/// of addresses had several forms.
#[test]
fn one_entry_is_as_canonical_as_many() {
    let merged = |ips: &[&str]| pool("p", "10.6.0.0/24", ips).spec().ips;
    for ips in [
        &["10.6.0.1-10.6.0.5"][..],
        &["10.6.0.1-10.6.0.3", "10.6.0.2-10.6.0.5"],
        &["10.6.0.4-10.6.0.5", "10.6.0.1-10.6.0.2", "10.6.0.3"],
    ] {
        assert_eq!(merged(ips), ["10.6.0.1-10.6.0.5"]);
    }
    assert_eq!(merged(&["10.6.0.7-10.6.0.7"]), ["10.6.0.7"]);
}

/// The order that the user gave was lost in a map and an unstable sort, so that "alternative
/// pools" were tried in any order.
#[test]
fn the_users_order_is_the_order_of_trial() {
    let pools: Vec<Pool> =
        (0..40).map(|n| pool(&format!("p{n}"), "10.6.0.0/16", &[&format!("10.6.{n}.1")])).collect();
    let names: Vec<String> = (0..40).map(|n| format!("p{}", (n * 11 + 5) % 40)).collect();
    let v4 = names.iter().map(|name| name.parse().unwrap()).collect();
    let source = Source::Named(NamedPools { v4, v6: Vec::new() });
    for _ in 0..20 {
        let asker = demand("c", "eth0").asker;
        let selection = select(&pools, &source, &asker);
        let order: Vec<&str> = selection.candidates.iter().map(|p| p.name().as_str()).collect();
        assert_eq!(order, names);
    }
    let demands = [Demand { source, ..demand("c", "eth0") }];
    let decision = ask(&pools, &mut Book::new(&pools), &Policy::default(), 0, &demands).unwrap();
    assert_eq!(addresses(&decision), ["10.6.5.1"]);
}

/// A pool that a wildcard and a name, or two wildcards, both stood for was an error.
#[test]
fn a_pool_named_twice_is_one_pool() {
    let pools = [pool("a", "10.6.0.0/24", &["10.6.0.1"]), pool("b", "10.6.0.0/24", &["10.6.0.2"])];
    let v4 = ["b", "b", "*", "[ab]", "a"].map(|name| name.parse().unwrap()).to_vec();
    let source = Source::Named(NamedPools { v4, v6: Vec::new() });
    let asker = demand("c", "eth0").asker;
    let selection = select(&pools, &source, &asker);
    let order: Vec<&str> = selection.candidates.iter().map(|pool| pool.name().as_str()).collect();
    assert_eq!((order, selection.refusals.len()), (vec!["b", "a"], 0));
}

/// The address of a pod was looked up by the pod's uid alone, so that two interfaces of one pod in
/// one pool got the same address.
#[test]
fn two_interfaces_of_one_pod_get_two_addresses() {
    let pools = [pool("p", "10.6.0.0/24", &["10.6.0.1-10.6.0.9"])];
    let policy = Policy { sticky: StickyNames::All, ..Policy::default() };
    let both =
        [of_pod("web", "u1", demand("c1", "eth0")), of_pod("web", "u1", demand("c1", "net1"))];
    let mut book = Book::new(&pools);
    let together = ask(&pools, &mut book, &policy, 0, &both).unwrap();
    assert_eq!(addresses(&together), ["10.6.0.1", "10.6.0.2"]);
    let mut book = Book::new(&pools);
    let first = ask(&pools, &mut book, &policy, 0, &both[..1]).unwrap();
    let second = ask(&pools, &mut book, &policy, 0, &both[1..]).unwrap();
    assert_eq!(
        (addresses(&first), addresses(&second)),
        (texts(&["10.6.0.1"]), texts(&["10.6.0.2"]))
    );
}

/// The lowest free address was given again the moment it came back, to neighbours that still knew
/// its former holder.
#[test]
fn a_released_address_is_not_given_again_at_once() {
    let pools = [pool("p", "10.6.0.0/24", &["10.6.0.1-10.6.0.2"])];
    let (mut book, policy) = (Book::new(&pools), Policy::default());
    ask(&pools, &mut book, &policy, 0, &[demand("c1", "eth0")]).unwrap();
    book.release(&attachment("c1", "eth0"), &policy, Moment(10));
    let next = ask(&pools, &mut book, &policy, 10, &[demand("c2", "eth0")]).unwrap();
    assert_eq!(addresses(&next), ["10.6.0.2"]);
    let later = ask(&pools, &mut book, &policy, 70, &[demand("c3", "eth0")]).unwrap();
    assert_eq!(addresses(&later), ["10.6.0.1"], "after its minute");
}

/// An address that somebody outside was seen to use was freed, and given to the next pod.
#[test]
fn an_address_in_conflict_is_not_given_again_at_once() {
    let pools = [pool("p", "10.6.0.0/24", &["10.6.0.1"])];
    let (mut book, policy) = (Book::new(&pools), Policy::default());
    ask(&pools, &mut book, &policy, 0, &[demand("c1", "eth0")]).unwrap();
    let rest = Rest::quarantine("02:00:00:00:00:01 answers".into(), Moment(1), Moment(600));
    book.rest_for("10.6.0.1".parse().unwrap(), pools[0].name(), rest);
    let told = ask(&pools, &mut book, &policy, 2, &[demand("c2", "eth0")]).unwrap_err();
    assert!(told.to_string().contains("1 in quarantine"), "{told}");
    let demands = [Demand { requested: vec!["10.6.0.1".parse().unwrap()], ..demand("c2", "eth0") }];
    let told = ask(&pools, &mut book, &policy, 2, &demands).unwrap_err().to_string();
    assert!(told.contains("it is in quarantine: 02:00:00:00:00:01 answers, for 598 s"), "{told}");
    assert!(ask(&pools, &mut book, &policy, 600, &[demand("c2", "eth0")]).is_ok());
}

/// When one family or interface failed, the addresses of the others stayed taken until garbage
/// collection.
#[test]
fn a_failure_takes_nothing() {
    let pools = [
        pool("four", "10.6.0.0/24", &["10.6.0.1-10.6.0.9"]),
        pool("six", "fd00::/64", &["fd00::1"]),
    ];
    let mut book = Book::new(&pools);
    let policy = Policy::default();
    let both = [demand("c1", "eth0"), demand("c1", "net1")];
    let told = ask(&pools, &mut book, &policy, 0, &both).unwrap_err().to_string();
    assert!(told.starts_with("no free IPv6 address in pool six (0 of 1 held)"), "{told}");
    assert_eq!(book.leases().count(), 0);
    assert_eq!(ask(&pools, &mut book, &policy, 0, &both[..1]).unwrap().grants.len(), 2);
    ask(&pools, &mut book, &policy, 0, &both[1..]).unwrap_err();
    assert_eq!(book.leases().count(), 2, "only the pair of the first interface");
    let next = Demand { source: named_v4("four"), ..demand("c2", "eth0") };
    let next = ask(&pools, &mut book, &policy, 0, &[next]).unwrap();
    assert_eq!(addresses(&next), ["10.6.0.2"], "the refused one lost no address");
}

fn named_v4(name: &str) -> Source {
    Source::Named(NamedPools { v4: vec![name.parse().unwrap()], v6: Vec::new() })
}

/// A pod of a `StatefulSet` kept an address of a pool that its node may not use.
#[test]
fn a_kept_address_is_checked_against_the_filters_again() {
    let restricted = |zone: &str| {
        let mut spec = spec("10.6.0.0/24", &["10.6.0.1"]);
        let json = format!(r#"{{"matchLabels":{{"zone":"{zone}"}}}}"#);
        spec.node_affinity = Some(serde_json::from_str(&json).unwrap());
        Pool::new("near", &spec).unwrap()
    };
    let open = pool("open", "10.7.0.0/24", &["10.7.0.1"]);
    let policy = Policy { sticky: StickyNames::Ordinal, ..Policy::default() };
    let labels: Labels = [("zone".to_string(), "z1".to_string())].into();
    let from = |container: &str, uid: &str| {
        let mut demand = of_pod("web-0", uid, demand(container, "eth0"));
        demand.asker.node_labels = Some(labels.clone());
        [demand]
    };
    // It waits for the pod by its name.
    let pools = [restricted("z1"), open.clone()];
    let mut book = Book::new(&pools);
    assert_eq!(
        addresses(&ask(&pools, &mut book, &policy, 0, &from("c1", "u1")).unwrap()),
        ["10.6.0.1"]
    );
    let mut moved = book.clone();
    book.release(&attachment("c1", "eth0"), &policy, Moment(1));
    let back = decide(&from("c2", "u2"), &pools, &policy, Moment(2), &book).unwrap();
    assert_eq!(
        (addresses(&back), &back.grants[0].origin),
        (texts(&["10.6.0.1"]), &Origin::Returned)
    );
    let elsewhere = [restricted("z2"), open];
    let other = decide(&from("c2", "u2"), &elsewhere, &policy, Moment(2), &book).unwrap();
    assert_eq!(addresses(&other), ["10.7.0.1"], "released, waiting");
    // It is still held by the pod's earlier sandbox.
    let other = ask(&elsewhere, &mut moved, &policy, 2, &from("c2", "u1")).unwrap();
    assert_eq!(addresses(&other), ["10.7.0.1"], "held by the predecessor");
}

/// Without a name for the cluster's network the pod failed, although no pool asked for one.
#[test]
fn a_pool_without_networks_serves_any_network() {
    let pools = [pool("p", "10.6.0.0/24", &["10.6.0.1-10.6.0.2"])];
    let mut book = Book::new(&pools);
    for (container, network) in [("c1", "anything"), ("c2", "some/thing")] {
        let mut demand = demand(container, "eth0");
        demand.asker.network = network.parse().unwrap();
        assert!(ask(&pools, &mut book, &Policy::default(), 0, &[demand]).is_ok());
    }
}

/// A family whose default pools are for other nodes failed the pod.
#[test]
fn a_default_family_that_is_filtered_out_is_missed_by_nobody() {
    let mut six = spec("fd00::/64", &["fd00::1"]);
    six.node_name = texts(&["worker"]);
    let pools = [pool("four", "10.6.0.0/24", &["10.6.0.1"]), Pool::new("six", &six).unwrap()];
    let mut book = Book::new(&pools);
    let decision = ask(&pools, &mut book, &Policy::default(), 0, &[demand("c1", "eth0")]).unwrap();
    assert_eq!(addresses(&decision), ["10.6.0.1"]);
}

/// Network, broadcast and subnet-router addresses were given to pods unless the user knew to
/// exclude them, and a gateway or the node's own address if it was in the ranges.
#[test]
fn addresses_that_mean_something_else_are_not_given() {
    let mut four = spec("10.6.0.0/29", &["10.6.0.0/29"]);
    four.gateway = Some("10.6.0.3".into());
    let own = "10.6.0.1,fd00::2".parse().unwrap();
    let four = Pool::new("four", &four).unwrap().among(&RangeSet::new(), &own);
    assert_eq!(drain(four), ["10.6.0.2", "10.6.0.4", "10.6.0.5", "10.6.0.6"]);
    let mut six = spec("fd00::/125", &["fd00::/125"]);
    six.gateway = Some("fd00::7".into());
    let six = Pool::new("six", &six).unwrap().among(&RangeSet::new(), &own);
    assert_eq!(drain(six), ["fd00::1", "fd00::3", "fd00::4", "fd00::5", "fd00::6"]);
}

/// A pool held at most 5000 addresses, whatever its ranges.
#[test]
fn a_pool_has_no_other_end_than_its_ranges() {
    let pools = [pool("p", "10.6.0.0/16", &["10.6.0.0/16"])];
    let mut book = Book::new(&pools);
    let mut given = BTreeSet::new();
    for index in 0..5001 {
        let demands = [demand(&format!("c{index}"), "eth0")];
        let decision = ask(&pools, &mut book, &Policy::default(), 0, &demands).unwrap();
        assert!(given.insert(decision.grants[0].address));
    }
}

/// An address asked for by `CNI_ARGS` or the runtime was read and ignored.
#[test]
fn a_requested_address_is_given_or_the_reason_told() {
    let pools = [pool("p", "10.6.0.0/24", &["10.6.0.1-10.6.0.9"])];
    let mut book = Book::new(&pools);
    let wanting = |container: &str, address: &str| {
        let requested = ipam_core::requested_addresses(address).unwrap();
        [Demand { requested, ..demand(container, "eth0") }]
    };
    let policy = Policy::default();
    let decision = ask(&pools, &mut book, &policy, 0, &wanting("c1", "10.6.0.7/24")).unwrap();
    assert_eq!(addresses(&decision), ["10.6.0.7"]);
    for (address, reason) in [("10.6.0.7", "n/c1/eth0 holds it"), ("10.6.0.10", "no pool has it")] {
        let told = ask(&pools, &mut book, &policy, 0, &wanting("c2", address)).unwrap_err();
        let expected = format!("requested address {address} cannot be had: {reason}");
        assert_eq!(told.to_string(), expected);
    }
}

/// The DEL of a pod's first interface freed the addresses of all its interfaces.
#[test]
fn an_interface_gives_back_its_own_addresses_only() {
    let pools = [pool("p", "10.6.0.0/24", &["10.6.0.1-10.6.0.9"])];
    let (mut book, policy) = (Book::new(&pools), Policy::default());
    let both =
        [of_pod("web", "u1", demand("c1", "eth0")), of_pod("web", "u1", demand("c1", "net1"))];
    ask(&pools, &mut book, &policy, 0, &both).unwrap();
    assert_eq!(book.release(&attachment("c1", "eth0"), &policy, Moment(1)).len(), 1);
    let left: Vec<_> = book.leases().map(|lease| lease.attachment.clone()).collect();
    assert_eq!(left, [attachment("c1", "net1")]);
}

/// Holders were known by the pod's uid and never by the sandbox, so that a late DEL of the old
/// sandbox meant the new one as well.
#[test]
fn a_late_del_does_not_free_what_a_new_sandbox_took_over() {
    let pools = [pool("p", "10.6.0.0/24", &["10.6.0.1-10.6.0.9"])];
    let (mut book, policy) = (Book::new(&pools), Policy::default());
    ask(&pools, &mut book, &policy, 0, &[of_pod("web", "u1", demand("c1", "eth0"))]).unwrap();
    let taken = [of_pod("web", "u1", demand("c2", "eth0"))];
    let taken = ask(&pools, &mut book, &policy, 1, &taken).unwrap();
    assert_eq!(addresses(&taken), ["10.6.0.1"]);
    assert_eq!(book.release(&attachment("c1", "eth0"), &policy, Moment(2)), []);
    let left: Vec<_> = book.leases().map(|lease| lease.attachment.clone()).collect();
    assert_eq!(left, [attachment("c2", "eth0")]);
}

/// Of a node that was cut off the addresses were freed while its pods went on using them.
#[test]
fn an_address_in_use_is_never_reclaimed() {
    let pools = [pool("p", "10.6.0.0/24", &["10.6.0.1"])];
    let mut book = Book::new(&pools);
    ask(&pools, &mut book, &Policy::default(), 0, &[demand("c1", "eth0")]).unwrap();
    let facts = Facts {
        boot: None,
        now: Moment(1_000_000),
        snapshot: Moment(1_000_000),
        grace_seconds: 0,
        valid: Some(ValidAttachments {
            network: "n".parse().unwrap(),
            attachments: BTreeSet::new(),
        }),
        namespaces: None,
        alive: ["10.6.0.1".parse().unwrap()].into(),
    };
    let reclaim = reclaim(book.leases(), &facts);
    assert!(reclaim.freed.is_empty());
    assert_eq!(reclaim.kept[0].1, WhyKept::Alive);
}
