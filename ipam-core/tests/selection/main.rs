//! Which pools may be used, in which order, and which rule refused each of the others. The ids are
//! those of the peer's cases.

mod filters;
mod order;

use ipam_core::{
    Asker, Attachment, Book, Demand, Family, LabelSelector, Labels, Moment, NamedPools, Policy,
    Pool, PoolSpec, RangeSet, Reserved, ReservedSpec, Selection, Source, Stamp, decide, select,
};

type Change<'a> = &'a dyn Fn(&mut PoolSpec);

/// A pool of 10.6.N.1 to 10.6.N.3, or of `fd00:6::N:1` to `fd00:6::N:3`.
fn pool(name: &str, family: Family, number: u8, change: impl FnOnce(&mut PoolSpec)) -> Pool {
    let (subnet, first, last) = match family {
        Family::V4 => ("10.6.0.0/16", format!("10.6.{number}.1"), format!("10.6.{number}.3")),
        Family::V6 => ("fd00:6::/64", format!("fd00:6::{number}:1"), format!("fd00:6::{number}:3")),
    };
    let mut spec = PoolSpec {
        subnet: subnet.into(),
        ips: vec![format!("{first}-{last}")],
        default: Some(true),
        ..PoolSpec::default()
    };
    change(&mut spec);
    Pool::new(name, &spec).unwrap()
}

fn v4(name: &str, number: u8, change: impl FnOnce(&mut PoolSpec)) -> Pool {
    pool(name, Family::V4, number, change)
}

fn v6(name: &str, number: u8, change: impl FnOnce(&mut PoolSpec)) -> Pool {
    pool(name, Family::V6, number, change)
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_string()).collect()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect()
}

fn selector(json: &str) -> Option<LabelSelector> {
    serde_json::from_str(json).unwrap()
}

fn named(v4: &[&str], v6: &[&str]) -> Source {
    let patterns = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    Source::Named(NamedPools { v4: patterns(v4), v6: patterns(v6) })
}

/// Of node `master` and network `kube-system/ipvlan-eth0`, and no more is known.
fn stranger() -> Asker {
    Asker::new("master".parse().unwrap(), "kube-system/ipvlan-eth0".parse().unwrap())
}

/// Of whom everything is known.
fn asker() -> Asker {
    Asker {
        node_labels: Some(labels(&[("zone", "z1"), ("disk", "ssd")])),
        namespace: Some("prod".parse().unwrap()),
        namespace_labels: Some(labels(&[("team", "red")])),
        pod_labels: Some(labels(&[("app", "web"), ("tier", "front")])),
        ..stranger()
    }
}

fn demand(asker: Asker, source: Source) -> Demand {
    let attachment = Attachment {
        network: "ipvlan-eth0".parse().unwrap(),
        container: "c1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    Demand { source, ..Demand::new(attachment, asker) }
}

/// What an empty book gives.
fn given(pools: &[Pool], demand: Demand) -> Result<Vec<String>, String> {
    let decision = decide(&[demand], pools, &Policy::default(), Moment(0), &Book::new(pools));
    decision
        .map(|decision| decision.grants.iter().map(|grant| grant.address.to_string()).collect())
        .map_err(|error| error.to_string())
}

/// Checks both halves of an answer, the refusals word by word but in any order.
#[track_caller]
fn assert_selects(
    case: &str,
    pools: &[Pool],
    source: &Source,
    asker: &Asker,
    taken: &[&str],
    refused: &[&str],
) {
    let Selection { candidates, refusals } = select(pools, source, asker);
    let candidates: Vec<&str> = candidates.iter().map(|pool| pool.name().as_str()).collect();
    assert_eq!(candidates, taken, "{case}");
    let mut told: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    told.sort();
    let mut expected = texts(refused);
    expected.sort();
    assert_eq!(told, expected, "{case}");
    for pool in pools {
        let is_told = refusals.iter().any(|refusal| refusal.pool == pool.name().as_str());
        let is_taken = candidates.contains(&pool.name().as_str());
        assert!(is_taken || is_told, "{case}: nothing is said of {}", pool.name());
    }
}

/// The four pools of the seed's cluster, each with an IPv6 sister.
fn seed_pools() -> Vec<Pool> {
    let sister = |name: &str, node: &str, nic: &str, subnet: &str, ips: &str, gateway: &str| {
        let spec = PoolSpec {
            subnet: subnet.into(),
            ips: vec![ips.into()],
            gateway: Some(gateway.into()),
            node_name: vec![node.into()],
            multus_name: vec![format!("kube-system/ipvlan-{nic}")],
            default: Some(true),
            ..PoolSpec::default()
        };
        Pool::new(name, &spec).unwrap()
    };
    let mut pools = Vec::new();
    for (node, nic, last, ips, ips6) in [
        ("master", "eth0", "172", "172.31.199.185-172.31.199.189", "fd00:172::185-fd00:172::189"),
        ("master", "eth1", "192", "192.168.0.156-192.168.0.160", "fd00:192::156-fd00:192::160"),
        ("worker", "eth0", "172", "172.31.199.190-172.31.199.194", "fd00:172::190-fd00:172::194"),
        ("worker", "eth1", "192", "192.168.0.161-192.168.0.165", "fd00:192::161-fd00:192::165"),
    ] {
        let (subnet, gateway) = match nic {
            "eth0" => ("172.31.192.0/20", "172.31.207.253"),
            _ => ("192.168.0.0/24", "192.168.0.253"),
        };
        pools.push(sister(&format!("{node}-{last}"), node, nic, subnet, ips, gateway));
        let (subnet, gateway) = match nic {
            "eth0" => ("fd00:172::/64", "fd00:172::ffff"),
            _ => ("fd00:192::/64", "fd00:192::ffff"),
        };
        pools.push(sister(&format!("{node}-{last}-v6"), node, nic, subnet, ips6, gateway));
    }
    pools
}

#[test]
fn the_seeds_pools_in_two_families() {
    let pools = seed_pools();
    let (v4_only, v6_only): (Vec<Pool>, Vec<Pool>) =
        pools.iter().cloned().partition(|pool| pool.family() == Family::V4);
    for (node, network, address, address6) in [
        ("master", "kube-system/ipvlan-eth0", "172.31.199.185", "fd00:172::185"),
        ("master", "kube-system/ipvlan-eth1", "192.168.0.156", "fd00:192::156"),
        ("worker", "kube-system/ipvlan-eth0", "172.31.199.190", "fd00:172::190"),
        ("worker", "ipvlan-eth1", "192.168.0.161", "fd00:192::161"),
    ] {
        let asker = Asker::new(node.parse().unwrap(), network.parse().unwrap());
        let ask = |pools: &[Pool], source: Source| given(pools, demand(asker.clone(), source));
        let both = Ok(texts(&[address, address6]));
        assert_eq!(ask(&pools, Source::Defaults), both, "E00001 {node} {network}: dual");
        assert_eq!(ask(&pools, named(&["*"], &["*"])), both, "A00015 {node} {network}");
        let one = Ok(texts(&[address]));
        assert_eq!(ask(&v4_only, Source::Defaults), one, "E00001 {node} {network}: v4");
        assert_eq!(ask(&pools, named(&["*"], &[])), one, "E00009 {node} {network}: v4 named");
        let other = Ok(texts(&[address6]));
        assert_eq!(ask(&v6_only, Source::Defaults), other, "E00001 {node} {network}: v6");
        assert_eq!(ask(&pools, named(&[], &["*"])), other, "E00009 {node} {network}: v6 named");
    }
}

#[test]
fn each_of_the_seeds_pools_is_refused_by_the_first_rule_it_breaks() {
    assert_selects(
        "seed, master eth0",
        &seed_pools(),
        &Source::Defaults,
        &stranger(),
        &["master-172", "master-172-v6"],
        &[
            "master-192: multusName is [kube-system/ipvlan-eth1], \
             this network is kube-system/ipvlan-eth0",
            "master-192-v6: multusName is [kube-system/ipvlan-eth1], \
             this network is kube-system/ipvlan-eth0",
            "worker-172: nodeName is [worker], this node is master",
            "worker-172-v6: nodeName is [worker], this node is master",
            "worker-192: nodeName is [worker], this node is master",
            "worker-192-v6: nodeName is [worker], this node is master",
        ],
    );
}

#[test]
fn the_next_pool_is_tried_when_the_first_has_nothing_left() {
    // E00008, A00016
    let pools = [v4("a", 1, |_| {}), v4("b", 2, |_| {}), v4("c", 3, |_| {})];
    let mut book = Book::new(&pools);
    let mut ask = |container: &str| -> Result<String, String> {
        let mut demand = demand(asker(), named(&["b", "a"], &[]));
        demand.attachment.container = container.parse().unwrap();
        let demands = [demand];
        let decision = decide(&demands, &pools, &Policy::default(), Moment(0), &book)
            .map_err(|error| error.to_string())?;
        let leases = book.write(&demands, &decision, None, &Stamp::default());
        Ok(leases[0].address.to_string())
    };
    let given: Vec<String> = (0..6).map(|n| ask(&format!("c{n}")).unwrap()).collect();
    assert_eq!(given, ["10.6.2.1", "10.6.2.2", "10.6.2.3", "10.6.1.1", "10.6.1.2", "10.6.1.3"]);
    assert_eq!(
        ask("c6").unwrap_err(),
        "no free IPv4 address in pool b (3 of 3 held), a (3 of 3 held): \
         wait for a release or add addresses",
        "c was not named and is not touched"
    );
}

#[test]
fn a_family_is_required_if_it_is_named_or_required_and_not_if_only_defaults_offer_it() {
    let elsewhere = |spec: &mut PoolSpec| spec.node_name = texts(&["worker"]);
    let pools = [v4("four", 1, |_| {}), v6("six", 1, elsewhere)];
    let default = demand(asker(), Source::Defaults);
    assert_eq!(given(&pools, default.clone()), Ok(texts(&["10.6.1.1"])), "six is missed by nobody");
    let no_six = "no IPv6 pool for node master and network kube-system/ipvlan-eth0: ";
    let told = "six: nodeName is [worker], this node is master";
    let required = Demand { required: vec![Family::V6], ..default.clone() };
    assert_eq!(given(&pools, required), Err(format!("{no_six}{told}")));
    let both = demand(asker(), named(&["four"], &["six"]));
    assert_eq!(given(&pools, both), Err(format!("{no_six}{told}")));
    let gone = demand(asker(), named(&["four"], &["gone"]));
    let error = given(&pools, gone).unwrap_err();
    assert!(error.starts_with(no_six) && error.contains("gone: no such pool"), "{error}");
    let four = demand(asker(), named(&["four"], &[]));
    assert_eq!(given(&pools, four), Ok(texts(&["10.6.1.1"])), "E00009");
    let four = Demand { required: vec![Family::V4], ..default.clone() };
    assert_eq!(given(&pools, four), Ok(texts(&["10.6.1.1"])));
    let nothing = given(&pools, demand(asker(), named(&[], &[]))).unwrap_err();
    assert!(nothing.starts_with("no pool for node master and network"), "{nothing}");
    // A default family that may be used and is exhausted is not passed over in silence.
    let empty = [v4("four", 1, |_| {}), v6("six", 1, |spec| spec.ips.clear())];
    let error = given(&empty, default).unwrap_err();
    assert!(error.starts_with("no free IPv6 address in pool six (0 of 0 held)"), "{error}");
}

#[test]
fn reserved_and_excluded_addresses_are_not_given() {
    let plain = v4("p", 1, |_| {});
    // S00002, S00004
    let excluding = v4("p", 1, |spec| spec.exclude_ips = texts(&["10.6.1.1", "10.6.1.2"]));
    let ask = |pool: &Pool, requested: &[&str]| {
        let requested = requested.iter().map(|address| address.parse().unwrap()).collect();
        let demand = Demand { requested, ..demand(asker(), Source::Defaults) };
        given(std::slice::from_ref(pool), demand)
    };
    assert_eq!(ask(&excluding, &[]), Ok(texts(&["10.6.1.3"])));
    assert_eq!(
        ask(&excluding, &["10.6.1.2"]),
        Err("requested address 10.6.1.2 cannot be had: excludeIPs of pool p has it".into())
    );
    // S00001
    let spec = ReservedSpec { ip_version: None, ips: texts(&["10.6.1.1-10.6.1.2"]) };
    let reserved = Reserved::new("r", &spec).unwrap();
    let reserving = plain.among(reserved.ips(), &RangeSet::new());
    assert_eq!(ask(&reserving, &[]), Ok(texts(&["10.6.1.3"])));
    assert_eq!(
        ask(&reserving, &["10.6.1.1"]),
        Err("requested address 10.6.1.1 cannot be had: it is reserved on all nodes".into())
    );
    let own = plain.among(&RangeSet::new(), &"10.6.1.1".parse().unwrap());
    assert_eq!(ask(&own, &[]), Ok(texts(&["10.6.1.2"])), "the node's own is passed over");
    assert_eq!(ask(&own, &["10.6.1.1"]), Ok(texts(&["10.6.1.1"])), "and can be asked for");
}

#[test]
fn a_disabled_pool_gives_nothing_and_takes_back() {
    // D00005
    let pools = [v4("p", 1, |_| {})];
    let mut book = Book::new(&pools);
    let demands = [demand(asker(), Source::Defaults)];
    let policy = Policy { cooldown_seconds: 0, ..Policy::default() };
    let decision = decide(&demands, &pools, &policy, Moment(0), &book).unwrap();
    book.write(&demands, &decision, None, &Stamp::default());
    let disabled = [v4("p", 1, |spec| spec.disable = Some(true))];
    book.put_pools(&disabled);
    let mut next = demand(asker(), Source::Defaults);
    next.attachment.container = "c2".parse().unwrap();
    let error = decide(&[next], &disabled, &policy, Moment(0), &book).unwrap_err().to_string();
    assert!(error.ends_with(": p: disable is true"), "{error}");
    assert_eq!(book.release(&demands[0].attachment, &policy, Moment(1)).len(), 1);
    assert_eq!(book.leases().count(), 0);
}
