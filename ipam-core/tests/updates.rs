//! What may be applied beside the pools that are there, and while their addresses are held. V2, V4,
//! V6 and V9 are the peer's rules, the other ids those of its cases.

use std::time::{Duration, Instant};

use ipam_core::{
    Attachment, Change, Lease, PodRef, Pool, PoolSpec, RangeSet, Rejection, RouteSpec, Stamp, apply,
};

fn spec(subnet: &str, ips: &[&str]) -> PoolSpec {
    PoolSpec {
        subnet: subnet.into(),
        ips: ips.iter().map(|text| (*text).to_string()).collect(),
        ..PoolSpec::default()
    }
}

fn pool(name: &str, subnet: &str, ips: &[&str]) -> Pool {
    Pool::new(name, &spec(subnet, ips)).unwrap()
}

/// `a`: 10.6.0.1 to 10.6.0.9 of 10.6.0.0/16, gateway 10.6.255.254. `six`: of `fd00:6::/64`.
fn stored() -> Vec<Pool> {
    let gateway =
        |gateway: &str, spec: PoolSpec| PoolSpec { gateway: Some(gateway.into()), ..spec };
    let a = gateway("10.6.255.254", spec("10.6.0.0/16", &["10.6.0.1-10.6.0.9"]));
    let six = gateway("fd00:6::1", spec("fd00:6::/64", &["fd00:6::10-fd00:6::1f"]));
    vec![Pool::new("a", &a).unwrap(), Pool::new("six", &six).unwrap()]
}

/// Pool `a` of [`stored`], changed.
fn changed(change: impl FnOnce(&mut PoolSpec)) -> Pool {
    let mut spec = stored()[0].spec();
    change(&mut spec);
    Pool::new("a", &spec).unwrap()
}

fn lease(pool: &str, address: &str) -> Lease {
    Lease {
        address: address.parse().unwrap(),
        pool: pool.parse().unwrap(),
        attachment: Attachment {
            network: "n".parse().unwrap(),
            container: "c1".parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        },
        pod: None,
        netns: None,
        since: Stamp::default(),
    }
}

fn texts(outcome: Result<Vec<Change>, Vec<Rejection>>) -> Vec<String> {
    outcome.unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn v2_subnets_are_equal_or_disjoint() {
    let expected = |pool: &str, subnet: &str, other: &str, name: &str| {
        format!(
            "pool {pool}: spec.subnet {subnet:?}: it overlaps the subnet {other} of pool {name}: \
             subnets must be equal or disjoint"
        )
    };
    for (subnet, other) in [
        ("10.6.0.0/24", Some(("10.6.0.0/16", "a"))),
        ("10.6.255.0/24", Some(("10.6.0.0/16", "a"))),
        ("10.0.0.0/8", Some(("10.6.0.0/16", "a"))),
        ("0.0.0.0/0", Some(("10.6.0.0/16", "a"))),
        ("10.6.0.0/15", Some(("10.6.0.0/16", "a"))),
        ("fd00:6::/80", Some(("fd00:6::/64", "six"))),
        ("::/0", Some(("fd00:6::/64", "six"))),
        ("10.6.0.0/16", None),
        ("10.5.0.0/16", None),
        ("10.7.0.0/16", None),
        ("fd00:6::/64", None),
        ("fd00:6:0:1::/64", None),
    ] {
        let outcome = apply(&stored(), &[pool("new", subnet, &[])], &[]);
        match other {
            None => assert_eq!(outcome, Ok(vec![Change::Created]), "{subnet}"),
            Some((other, name)) => {
                assert_eq!(texts(outcome), [expected("new", subnet, other, name)]);
            }
        }
    }
    // Among the documents of one file, too: the later one is told.
    let wanted = [pool("x", "10.8.0.0/16", &[]), pool("y", "10.8.1.0/24", &[])];
    assert_eq!(
        texts(apply(&stored(), &wanted, &[])),
        [expected("y", "10.8.1.0/24", "10.8.0.0/16", "x")]
    );
}

#[test]
fn v4_no_address_is_claimed_by_two_pools() {
    // D00001
    for (ips, exclude, shared) in [
        (&["10.6.0.9"][..], &[][..], Some("10.6.0.9")),
        (&["10.6.0.5-10.6.0.20"], &[], Some("10.6.0.5-10.6.0.9")),
        (&["10.6.0.0/16"], &["10.6.255.254"], Some("10.6.0.1-10.6.0.9")),
        (&["10.6.0.1", "10.6.0.3"], &[], Some("10.6.0.1,10.6.0.3")),
        (&["10.6.0.10-10.6.0.20"], &[], None),
        (&["10.6.0.5-10.6.0.20"], &["10.6.0.1-10.6.0.9"], None),
        (&[], &[], None),
    ] {
        let mut spec = spec("10.6.0.0/16", ips);
        spec.exclude_ips = exclude.iter().map(|text| (*text).to_string()).collect();
        let outcome = apply(&stored(), &[Pool::new("b", &spec).unwrap()], &[]);
        match shared {
            None => assert_eq!(outcome, Ok(vec![Change::Created]), "{ips:?}"),
            Some(shared) => {
                let text = texts(outcome).concat();
                let expected = format!("{shared} also belongs to pool a");
                assert!(text.contains(&expected), "{text}\n does not contain\n{expected}");
            }
        }
    }
    // What one excludes another may have.
    let excluding = changed(|spec| spec.exclude_ips = vec!["10.6.0.5".into()]);
    let b = pool("b", "10.6.0.0/16", &["10.6.0.5"]);
    assert_eq!(
        apply(&stored(), &[excluding, b], &[]),
        Ok(vec![Change::Updated, Change::Created]),
        "one file moves an address from pool to pool"
    );
    // An address that is reserved for now is claimed nevertheless.
    let reserving = stored()[0].among(&"10.6.0.5".parse().unwrap(), &RangeSet::new());
    let b = pool("b", "10.6.0.0/16", &["10.6.0.5"]);
    assert!(texts(apply(&[reserving], &[b], &[]))[0].contains("10.6.0.5 also belongs to pool a"));
}

#[test]
fn v6_no_pool_hands_out_a_gateway() {
    // D00003. The peer asks to exclude a pool's own gateway; here it is passed over.
    let own = changed(|spec| spec.gateway = Some("10.6.0.5".into()));
    assert!(!own.assignable().contains("10.6.0.5".parse().unwrap()));
    assert_eq!(apply(&stored(), &[own], &[]), Ok(vec![Change::Updated]));
    let mut onto = spec("10.6.0.0/16", &[]);
    onto.gateway = Some("10.6.0.5".into());
    assert_eq!(
        texts(apply(&stored(), &[Pool::new("b", &onto).unwrap()], &[])),
        ["pool b: spec.gateway \"10.6.0.5\": pool a hands it out: exclude it there first"]
    );
    let over = pool("b", "10.6.0.0/16", &["10.6.255.250-10.6.255.254"]);
    assert_eq!(
        texts(apply(&stored(), &[over], &[])),
        ["pool b: spec.ips \"10.6.255.250-10.6.255.254\": \
          10.6.255.254 is the gateway of pool a: exclude it"]
    );
    let mut beside = spec("10.6.0.0/16", &["10.6.255.250-10.6.255.254"]);
    beside.exclude_ips = vec!["10.6.255.254".into()];
    beside.gateway = Some("10.6.255.254".into());
    let beside = Pool::new("b", &beside).unwrap();
    assert_eq!(apply(&stored(), &[beside], &[]), Ok(vec![Change::Created]), "one gateway for both");
    let held = [lease("a", "10.6.0.5")];
    assert_eq!(
        texts(apply(&stored(), &[changed(|s| s.gateway = Some("10.6.0.5".into()))], &held)),
        ["pool a: spec.gateway \"10.6.0.5\": it is held by n/c1/eth0"]
    );
}

#[test]
fn v9_no_held_address_vanishes() {
    let held = [lease("a", "10.6.0.1"), lease("a", "10.6.0.9"), lease("six", "fd00:6::10")];
    // S00003
    let excluding = changed(|spec| spec.exclude_ips = vec!["10.6.0.9".into()]);
    assert_eq!(
        texts(apply(&stored(), &[excluding], &held)),
        ["pool a: spec.ips \"10.6.0.1-10.6.0.8\": 10.6.0.9 is held by n/c1/eth0: it must stay"]
    );
    let empty = changed(|spec| spec.ips.clear());
    let told = texts(apply(&stored(), &[empty], &held));
    assert!(
        told[0].contains("10.6.0.1 is held") && told[0].contains("10.6.0.9 is held"),
        "{told:?}"
    );
    assert!(!told[0].contains("fd00"), "held from another pool: {told:?}");
    let mut of_pod = lease("a", "10.6.0.1");
    of_pod.pod = Some(PodRef { namespace: "prod".into(), name: "web-0".into(), uid: None });
    let told = texts(apply(&stored(), &[changed(|s| s.ips.clear())], &[of_pod]));
    assert!(told[0].contains("10.6.0.1 is held by pod prod/web-0: it must stay"), "{told:?}");
    let shrunk = changed(|spec| spec.ips = vec!["10.6.0.1".into(), "10.6.0.9-10.6.0.200".into()]);
    assert_eq!(apply(&stored(), &[shrunk], &held), Ok(vec![Change::Updated]));
}

#[test]
fn a_pools_subnet_and_family_never_change() {
    for subnet in ["10.6.0.0/15", "10.6.0.0/17", "10.7.0.0/16", "fd00::/64"] {
        assert_eq!(
            texts(apply(&stored(), &[pool("a", subnet, &[])], &[])),
            [format!(
                "pool a: spec.subnet {subnet:?}: the subnet of a pool never changes; \
                 it is 10.6.0.0/16"
            )]
        );
    }
}

#[test]
fn everything_else_changes_while_addresses_are_held() {
    // D00002, D00005, D00008
    let held = [lease("a", "10.6.0.1")];
    let route = RouteSpec { dst: "10.9.0.0/16".into(), gw: "10.6.255.253".into() };
    let changes: &[&dyn Fn(&mut PoolSpec)] = &[
        &|s| s.ips.push("10.6.1.0/24".into()),
        &|s| s.exclude_ips = vec!["10.6.0.9".into()],
        &|s| s.gateway = None,
        &|s| s.gateway = Some("10.6.255.253".into()),
        &|s| s.routes = vec![route.clone()],
        &|s| s.node_name = vec!["other".into()],
        &|s| s.multus_name = vec!["other".into()],
        &|s| s.namespace_name = vec!["other".into()],
        &|s| s.node_affinity = Some(serde_json::from_str(r#"{"matchLabels":{"a":"b"}}"#).unwrap()),
        &|s| s.pod_affinity = Some(serde_json::from_str(r#"{"matchLabels":{"a":"b"}}"#).unwrap()),
        &|s| s.default = Some(true),
        &|s| s.disable = Some(true),
    ];
    for (index, change) in changes.iter().enumerate() {
        let wanted = [changed(change)];
        assert_eq!(apply(&stored(), &wanted, &held), Ok(vec![Change::Updated]), "change {index}");
        assert_eq!(apply(&wanted, &wanted, &held), Ok(vec![Change::Unchanged]), "change {index}");
    }
    let same = [
        changed(|s| s.ips = vec!["10.6.0.5-10.6.0.9".into(), "10.6.0.1-10.6.0.4".into()]),
        changed(|s| s.gateway = Some("10.6.255.254".into())),
        changed(|s| s.disable = None),
        changed(|s| s.vlan = Some(7)),
    ];
    for pool in same {
        assert_eq!(apply(&stored(), &[pool], &held), Ok(vec![Change::Unchanged]));
    }
}

#[test]
fn one_rejection_rejects_all_and_each_is_told_with_all_its_rules() {
    let bad = {
        let mut spec = spec("10.6.0.0/16", &["10.6.0.1-10.6.0.2", "10.6.255.254"]);
        spec.gateway = Some("10.6.0.3".into());
        Pool::new("bad", &spec).unwrap()
    };
    let good = pool("good", "10.7.0.0/16", &["10.7.0.1"]);
    let worse = pool("worse", "10.6.0.0/17", &[]);
    let rejections = apply(&stored(), &[good.clone(), bad, good, worse], &[]).unwrap_err();
    let places: Vec<(usize, &str)> =
        rejections.iter().map(|rejection| (rejection.index, rejection.pool.as_str())).collect();
    assert_eq!(places, [(1, "bad"), (3, "worse")]);
    let fields = |index: usize| -> Vec<&str> {
        rejections[index].violations.as_slice().iter().map(|v| v.field.as_str()).collect()
    };
    assert_eq!(fields(0), ["spec.ips", "spec.gateway", "spec.ips"]);
    assert_eq!(fields(1), ["spec.subnet", "spec.subnet"], "it overlaps a's subnet and bad's");
}

#[test]
fn order_does_not_decide_whether_documents_fit_together() {
    let stored = [pool("x", "10.8.0.0/16", &["10.8.0.1"]), pool("y", "10.8.0.0/16", &["10.8.0.2"])];
    // They swap their addresses: neither is judged by what the other was.
    let mut swapped =
        vec![pool("x", "10.8.0.0/16", &["10.8.0.2"]), pool("y", "10.8.0.0/16", &["10.8.0.1"])];
    for _ in 0..2 {
        assert_eq!(apply(&stored, &swapped, &[]), Ok(vec![Change::Updated; 2]));
        swapped.reverse();
    }
    let clash = [pool("x", "10.8.0.0/16", &["10.8.0.2"])];
    assert!(texts(apply(&stored, &clash, &[]))[0].contains("10.8.0.2 also belongs to pool y"));
}

#[test]
fn many_pools_are_applied_at_once() {
    // D00006
    let pools: Vec<Pool> = (0..1000)
        .map(|n| {
            let address = format!("10.6.{}.{}", n / 200, n % 200 + 1);
            pool(&format!("p{n}"), "10.6.0.0/16", &[&address])
        })
        .collect();
    let start = Instant::now();
    assert_eq!(apply(&[], &pools, &[]), Ok(vec![Change::Created; 1000]));
    assert_eq!(apply(&pools, &pools, &[]), Ok(vec![Change::Unchanged; 1000]));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_hopeless_update_of_a_large_pool_is_refused_at_once_and_briefly() {
    let text = |n: u32| std::net::Ipv4Addr::from_bits(0x0a00_0001 + 2 * n).to_string();
    let ips = |count: u32, from: u32| (from..from + count).map(text).collect::<Vec<_>>();
    let large = |from: u32| {
        let spec = PoolSpec { ips: ips(60_000, from), ..spec("10.0.0.0/8", &[]) };
        Pool::new("large", &spec).unwrap()
    };
    let held: Vec<Lease> = (0..20_000).map(|n| lease("large", &text(n))).collect();
    let start = Instant::now();
    let told = texts(apply(&[large(0)], &[large(30_000)], &held)).concat();
    assert!(told.ends_with("; and 19900 more"), "{}", &told[told.len() - 100..]);
    assert!(told.len() < 100_000, "a message of {} bytes", told.len());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let twin = Pool::new("twin", &large(0).spec()).unwrap();
    let told = texts(apply(&[large(0)], &[twin], &[])).concat();
    assert!(told.ends_with("also belongs to pool large") && told.len() < 1000, "{told}");
}
