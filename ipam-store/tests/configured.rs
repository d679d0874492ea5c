//! Pools that come with each request: replaced in the same transaction, without harm to what is
//! held.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use ipam_core::{
    Asker, Attachment, Demand, Lease, NamedPools, Policy, Pool, PoolSpec, Refused, Source, Strategy,
};
use ipam_store::{AllocateError, Configured, Error, Store};

fn store(directory: &Path) -> Store {
    let policy =
        Policy { cooldown_seconds: 0, strategy: Strategy::RoundRobin, ..Policy::default() };
    Store::new(directory.join("net"), Duration::from_secs(60)).with_policy(policy)
}

fn pool(name: &str, ips: &str) -> Pool {
    let subnet = if ips.contains(':') { "fd00::/64" } else { "10.0.0.0/24" };
    let spec = PoolSpec { subnet: subnet.into(), ips: vec![ips.into()], ..PoolSpec::default() };
    Pool::new(name, &spec).unwrap()
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        network: "net".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn lease(address: &str, pool: &str, container: &str) -> Lease {
    Lease {
        address: address.parse().unwrap(),
        pool: pool.parse().unwrap(),
        attachment: attachment(container),
        pod: None,
        netns: None,
        since: ipam_store::now(),
    }
}

/// One demand a pool, all of one attachment.
fn demands(pools: &[Pool], container: &str) -> Vec<Demand> {
    let asker = Asker::new("n".parse().unwrap(), "net".parse().unwrap());
    let named = |pool: &Pool| {
        let name = vec![pool.name().as_str().parse().unwrap()];
        let mut named = NamedPools::default();
        if pool.subnet().addr().is_ipv4() {
            named.v4 = name;
        } else {
            named.v6 = name;
        }
        Demand { source: Source::Named(named), ..Demand::new(attachment(container), asker.clone()) }
    };
    pools.iter().map(named).collect()
}

fn given(store: &Store, pools: &[Pool], container: &str) -> Result<Vec<String>, AllocateError> {
    let configured = Configured { pools, found: &|_| Ok(Vec::new()) };
    let grants = store.allocate_from(&configured, &demands(pools, container), None)?;
    Ok(grants.iter().map(|grant| grant.lease.address.to_string()).collect())
}

#[test]
fn one_attachment_gets_an_address_of_each_demand_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let pools =
        [pool("q", "fd00::5-fd00::6"), pool("p", "10.0.0.5-10.0.0.9"), pool("a", "10.0.0.20")];
    assert_eq!(given(&store, &pools[..2], "c1").unwrap(), ["fd00::5", "10.0.0.5"]);
    assert_eq!(given(&store, &pools, "c2").unwrap(), ["fd00::6", "10.0.0.6", "10.0.0.20"]);
    let error = given(&store, &pools[1..], "c3").unwrap_err();
    let AllocateError::Refused(refused) = &error else { panic!("{error}") };
    assert!(matches!(**refused, Refused::Exhausted { .. }), "{error}");
    assert!(store.held_by(&attachment("c3")).unwrap().is_empty());

    let error = given(&store, &pools[..2], "c1").unwrap_err();
    assert!(error.to_string().contains("already holds 10.0.0.5, fd00::5"), "{error}");
    assert_eq!(store.held_by(&attachment("c1")).unwrap().len(), 2);
    assert_eq!(store.release(&attachment("c2")).unwrap().len(), 3);
}

#[test]
fn two_demands_for_one_pool_get_two_addresses_and_share_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let pools = [pool("p", "10.0.0.5-10.0.0.7")];
    let twice = |container: &str| demands(&[pools[0].clone(), pools[0].clone()], container);
    let configured = Configured { pools: &pools, found: &|_| Ok(Vec::new()) };
    let grants = store.allocate_from(&configured, &twice("c1"), None).unwrap();
    let addresses: Vec<_> = grants.iter().map(|grant| grant.lease.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.5", "10.0.0.6"]);
    store.allocate_from(&configured, &twice("c2"), None).unwrap_err();
    assert_eq!(store.allocate_all(&demands(&pools, "c2"), None).unwrap().len(), 1);
}

#[test]
fn other_pools_take_the_place_of_the_stored_ones_and_what_is_held_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let before = [pool("p", "10.0.0.5-10.0.0.7")];
    for (container, address) in [("c1", "10.0.0.5"), ("c2", "10.0.0.6"), ("c3", "10.0.0.7")] {
        assert_eq!(given(&store, &before, container).unwrap(), [address]);
    }
    store.release(&attachment("c1")).unwrap();

    // 10.0.0.6 has no pool now, 10.0.0.7 has another one.
    let between = [pool("r", "10.0.0.7-10.0.0.8")];
    assert_eq!(given(&store, &between, "c4").unwrap(), ["10.0.0.8"]);
    let contents = store.contents().unwrap();
    assert_eq!(contents.pools, between);
    assert_eq!(store.declared().unwrap().unwrap().pools, between);
    let pools: Vec<_> = contents.leases.iter().map(|lease| lease.pool.as_str()).collect();
    assert_eq!(pools, ["p", "r", "r"]);
    assert_eq!(store.verify(false).unwrap().faults, Vec::<String>::new());
    given(&store, &between, "c5").unwrap_err();
    assert_eq!(store.contents().unwrap().leases, contents.leases);

    assert_eq!(given(&store, &before, "c5").unwrap(), ["10.0.0.5"]);
    given(&store, &before, "c6").unwrap_err();
    store.release(&attachment("c2")).unwrap();
    assert_eq!(given(&store, &before, "c6").unwrap(), ["10.0.0.6"]);
    store.release(&attachment("c4")).unwrap();
    let held: Vec<IpAddr> =
        store.contents().unwrap().leases.iter().map(|lease| lease.address).collect();
    assert_eq!(held, ["10.0.0.5", "10.0.0.6", "10.0.0.7"].map(|a| a.parse::<IpAddr>().unwrap()));
    assert_eq!(store.verify(false).unwrap().faults, Vec::<String>::new());
}

#[test]
fn a_refusal_leaves_the_stored_pools_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let before = [pool("p", "10.0.0.5")];
    given(&store, &before, "c1").unwrap();
    given(&store, &[pool("p", "10.0.0.5"), pool("q", "10.0.0.9")], "c1").unwrap_err();
    assert_eq!(store.contents().unwrap().pools, before);
}

#[test]
fn a_new_store_holds_what_was_found_and_no_other_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let pools = [pool("p", "10.0.0.5-10.0.0.7")];
    let found = [lease("10.0.0.5", "p", "old"), lease("10.0.0.99", "p", "old")];
    let configured = Configured {
        pools: &pools,
        found: &|directory| {
            assert!(directory.join("lock").exists());
            Ok(found.to_vec())
        },
    };
    let grants = store.allocate_from(&configured, &demands(&pools, "c1"), None).unwrap();
    assert_eq!(grants[0].lease.address.to_string(), "10.0.0.6");
    assert_eq!(store.held_by(&attachment("old")).unwrap(), found);
    let configured = Configured { pools: &pools, found: &|_| panic!("the store is there") };
    store.allocate_from(&configured, &demands(&pools, "c2"), None).unwrap();
    assert_eq!(store.release(&attachment("old")).unwrap().len(), 2);
    assert_eq!(store.verify(false).unwrap().faults, Vec::<String>::new());
}

#[test]
fn what_cannot_be_read_creates_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let pools = [pool("p", "10.0.0.5")];
    let configured =
        Configured { pools: &pools, found: &|_| Err(io::ErrorKind::PermissionDenied.into()) };
    let error = store.allocate_from(&configured, &demands(&pools, "c1"), None).unwrap_err();
    assert!(error.to_string().contains("read the reservations in"), "{error}");
    assert!(matches!(store.contents().unwrap_err(), Error::Missing { .. }));
}

#[test]
fn a_lost_or_damaged_store_is_not_created_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let pools = [pool("p", "10.0.0.5-10.0.0.7")];
    given(&store, &pools, "c1").unwrap();
    let file = store.directory().join("ipam.redb");
    fs::write(&file, b"").unwrap();
    let error = given(&store, &pools, "c2").unwrap_err();
    assert!(matches!(error, AllocateError::Store(Error::Damaged { .. })), "{error}");
    fs::remove_file(&file).unwrap();
    let error = given(&store, &pools, "c2").unwrap_err();
    assert!(matches!(error, AllocateError::Store(Error::Lost { .. })), "{error}");
}

#[test]
fn many_processes_create_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let pools = [pool("p", "10.0.0.5-10.0.0.20")];
    let add = |number: usize| given(&store(dir.path()), &pools, &format!("c{number}")).unwrap();
    let mut given: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..16).map(|number| scope.spawn(move || add(number))).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });
    given.sort();
    given.dedup();
    assert_eq!(given.len(), 16);
}
