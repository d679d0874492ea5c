//! The seed's four pools: the acceptance case of selection, assignment and the rules across pools.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipam_core::{
    Asker, Attachment, Book, Change, Demand, Lease, Moment, NamedPools, NotDecided, Policy, Pool,
    PoolSpec, Refused, Source, Stamp, apply, decide, select,
};

fn pool(name: &str, subnet: &str, ips: &str, gateway: &str, node: &str, network: &str) -> Pool {
    let spec = PoolSpec {
        subnet: subnet.into(),
        ips: vec![ips.into()],
        gateway: Some(gateway.into()),
        node_name: vec![node.into()],
        multus_name: vec![network.into()],
        default: Some(true),
        ..PoolSpec::default()
    };
    Pool::new(name, &spec).unwrap()
}

fn pools() -> Vec<Pool> {
    let (net172, gw172) = ("172.31.192.0/20", "172.31.207.253");
    let (net192, gw192) = ("192.168.0.0/24", "192.168.0.253");
    let (eth0, eth1) = ("kube-system/ipvlan-eth0", "kube-system/ipvlan-eth1");
    vec![
        pool("master-172", net172, "172.31.199.185-172.31.199.189", gw172, "master", eth0),
        pool("master-192", net192, "192.168.0.156-192.168.0.160", gw192, "master", eth1),
        pool("worker-172", net172, "172.31.199.190-172.31.199.194", gw172, "worker", eth0),
        pool("worker-192", net192, "192.168.0.161-192.168.0.165", gw192, "worker", eth1),
    ]
}

fn asker(node: &str, network: &str) -> Asker {
    Asker::new(node.parse().unwrap(), network.parse().unwrap())
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        network: "ipvlan-eth0".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

/// Asks for a container and writes the answer down.
fn ask(
    pools: &[Pool],
    asker: &Asker,
    book: &mut Book,
    container: &str,
) -> Result<Vec<IpAddr>, Box<Refused>> {
    let demands = [Demand::new(attachment(container), asker.clone())];
    match decide(&demands, pools, &Policy::default(), Moment(100), book) {
        Ok(decision) => {
            book.write(&demands, &decision, None, &Stamp::default());
            Ok(decision.grants.iter().map(|grant| grant.address).collect())
        }
        Err(NotDecided::Refused(refused)) => Err(refused),
    }
}

fn named(names: &[&str]) -> Source {
    let v4 = names.iter().map(|name| name.parse().unwrap()).collect();
    Source::Named(NamedPools { v4, v6: Vec::new() })
}

#[test]
fn node_and_network_decide_the_pool() {
    let pools = pools();
    for (node, network, expected) in [
        ("master", "kube-system/ipvlan-eth0", "172.31.199.185"),
        ("master", "kube-system/ipvlan-eth1", "192.168.0.156"),
        ("worker", "kube-system/ipvlan-eth0", "172.31.199.190"),
        ("worker", "ipvlan-eth1", "192.168.0.161"),
    ] {
        let mut book = Book::new(&pools);
        let given = ask(&pools, &asker(node, network), &mut book, "c1").unwrap();
        assert_eq!(given, [expected.parse::<IpAddr>().unwrap()], "{node} {network}");
    }
}

#[test]
fn no_pool_lists_each_pool_with_the_rule_that_refused_it() {
    let asker = asker("worker", "kube-system/ipvlan-eth2");
    let pools = pools();
    let error = ask(&pools, &asker, &mut Book::new(&pools), "c1").unwrap_err().to_string();
    for part in [
        "no pool for node worker and network kube-system/ipvlan-eth2",
        "master-172: nodeName is [master], this node is worker",
        "worker-172: multusName is [kube-system/ipvlan-eth0], \
         this network is kube-system/ipvlan-eth2",
        "worker-192: multusName is [kube-system/ipvlan-eth1]",
    ] {
        assert!(error.contains(part), "{error}\n does not contain {part}");
    }
    let none = ask(&[], &asker, &mut Book::default(), "c1").unwrap_err().to_string();
    assert!(none.contains("no pool is stored"), "{none}");
}

#[test]
fn a_full_pool_refuses_by_name_and_total() {
    let pools = pools();
    let asker = asker("master", "kube-system/ipvlan-eth0");
    let mut book = Book::new(&pools);
    let mut given = BTreeSet::new();
    for container in ["c1", "c2", "c3", "c4", "c5"] {
        let address = ask(&pools, &asker, &mut book, container).unwrap()[0];
        assert!(given.insert(address), "{address} was given twice");
    }
    let error = ask(&pools, &asker, &mut book, "c6").unwrap_err();
    assert!(matches!(*error, Refused::Exhausted { .. }));
    assert!(error.to_string().contains("master-172 (5 of 5 held)"), "{error}");
}

#[test]
fn the_more_specific_pool_goes_first_and_names_override_defaults() {
    let mut pools = pools();
    let mut open = pools[0].spec();
    open.ips = vec!["172.31.193.1".into()];
    open.node_name.clear();
    open.multus_name.clear();
    let open = Pool::new("aa-open", &open).unwrap();
    pools.insert(0, open);
    let asker = asker("master", "kube-system/ipvlan-eth0");
    let names = |source: &Source| -> Vec<String> {
        let selection = select(&pools, source, &asker);
        selection.candidates.iter().map(|pool| pool.name().to_string()).collect()
    };
    assert_eq!(names(&Source::Defaults), ["master-172", "aa-open"]);
    assert_eq!(names(&named(&["aa-open"])), ["aa-open"]);
}

#[test]
fn a_disabled_pool_a_foreign_namespace_and_a_missing_name_are_refused() {
    let mut off = pools()[0].spec();
    off.disable = Some(true);
    let mut spaced = pools()[0].spec();
    spaced.namespace_name = vec!["prod".into()];
    let pools = [Pool::new("off", &off).unwrap(), Pool::new("spaced", &spaced).unwrap()];
    let mut asker = asker("master", "ipvlan-eth0");
    let source = named(&["off", "gone", "spaced"]);
    let refusals = |asker: &Asker| -> String {
        let selection = select(&pools, &source, asker);
        let lines: Vec<String> = selection.refusals.iter().map(ToString::to_string).collect();
        lines.join("\n")
    };
    let text = refusals(&asker);
    assert!(text.contains("off: disable is true"), "{text}");
    assert!(text.contains("gone: no such pool"), "{text}");
    assert!(text.contains("spaced: namespaceName is [prod], the pod's is not known"), "{text}");
    asker.namespace = Some("prod".parse().unwrap());
    assert!(!refusals(&asker).contains("spaced"));
}

fn lease(address: &str, pool: &str) -> Lease {
    Lease {
        address: address.parse().unwrap(),
        pool: pool.parse().unwrap(),
        attachment: attachment("c1"),
        pod: None,
        netns: None,
        since: Stamp::default(),
    }
}

#[test]
fn applying_is_idempotent_and_sees_updates() {
    let stored = pools();
    assert_eq!(apply(&[], &stored, &[]).unwrap(), [Change::Created; 4]);
    assert_eq!(apply(&stored, &stored, &[]).unwrap(), [Change::Unchanged; 4]);
    let mut grown = stored[0].spec();
    grown.ips.push("172.31.199.200".into());
    let grown = [Pool::new("master-172", &grown).unwrap()];
    assert_eq!(apply(&stored, &grown, &[]).unwrap(), [Change::Updated]);
}

#[test]
fn rules_across_pools_are_enforced() {
    let stored = pools();
    let refused = |name: &str, change: &dyn Fn(&mut PoolSpec), leases: &[Lease]| {
        let mut spec = stored[0].spec();
        change(&mut spec);
        let wanted = [Pool::new(name, &spec).unwrap()];
        apply(&stored, &wanted, leases).unwrap_err()[0].to_string()
    };
    let same = refused("other", &|_| {}, &[]);
    assert!(
        same.contains("172.31.199.185-172.31.199.189 also belongs to pool master-172"),
        "{same}"
    );
    let wider = refused("wide", &|s| s.subnet = "172.16.0.0/12".into(), &[]);
    assert!(wider.contains("overlaps the subnet 172.31.192.0/20 of pool master-172"), "{wider}");
    let moved = refused(
        "master-172",
        &|s| *s = PoolSpec { subnet: "10.0.0.0/8".into(), ..PoolSpec::default() },
        &[],
    );
    assert!(moved.contains("the subnet of a pool never changes"), "{moved}");
    let shrunk = refused(
        "master-172",
        &|s| s.ips = vec!["172.31.199.186-172.31.199.189".into()],
        &[lease("172.31.199.185", "master-172")],
    );
    assert!(shrunk.contains("172.31.199.185 is held by ipvlan-eth0/c1/eth0"), "{shrunk}");
    let onto_a_pod = refused(
        "master-172",
        &|s| s.gateway = Some("172.31.199.185".into()),
        &[lease("172.31.199.185", "master-172")],
    );
    assert!(onto_a_pod.contains("spec.gateway \"172.31.199.185\": it is held"), "{onto_a_pod}");
    let onto_a_pool = refused("master-172", &|s| s.gateway = Some("172.31.199.190".into()), &[]);
    assert!(onto_a_pool.contains("pool worker-172 hands it out"), "{onto_a_pool}");
    let over_a_gateway = |s: &mut PoolSpec| {
        s.ips = vec!["172.31.207.253".into()];
        s.gateway = None;
    };
    let over_a_gateway = refused("other", &over_a_gateway, &[]);
    assert!(over_a_gateway.contains("172.31.207.253 is the gateway of pool"), "{over_a_gateway}");
}

#[test]
fn one_name_with_two_contents_is_refused_and_twice_the_same_is_not() {
    let first = pools().remove(0);
    let mut other = first.spec();
    other.default = Some(false);
    let other = Pool::new("master-172", &other).unwrap();
    assert!(apply(&[], &[first.clone(), first.clone()], &[]).is_ok());
    let error = apply(&[], &[first, other], &[]).unwrap_err()[0].to_string();
    assert!(error.contains("an earlier document has the same name"), "{error}");
}
