//! Decisions through the real file: what was answered is what is found again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use ipam_core::{
    Asker, Attachment, Change, Demand, Facts, Lease, LiveNamespaces, Moment, NetnsRef, PodRef,
    Policy, Pool, PoolSpec, Refused, Stamp, ValidAttachments, WhyFreed,
};
use ipam_store::{AllocateError, Declared, Error, Request, Store};
use proptest::prelude::*;

/// A store in which a released address is free at once.
fn store(directory: &Path) -> Store {
    let policy = Policy { cooldown_seconds: 0, ..Policy::default() };
    Store::new(directory.join("ipam"), Duration::from_secs(60)).with_policy(policy)
}

fn pools<const N: usize>(pools: [Pool; N]) -> Declared {
    Declared::pools(pools)
}

fn pool(name: &str, subnet: &str, ips: &str) -> Pool {
    let spec = PoolSpec {
        subnet: subnet.into(),
        ips: vec![ips.into()],
        default: Some(true),
        ..PoolSpec::default()
    };
    Pool::new(name, &spec).unwrap()
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        network: "net".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn request(container: &str) -> Request {
    let asker = Asker::new("n".parse().unwrap(), "net".parse().unwrap());
    let demand = Demand::new(attachment(container), asker);
    Request { demand, netns: None }
}

fn given(store: &Store, container: &str) -> Result<Vec<IpAddr>, AllocateError> {
    let grants = store.allocate(&request(container))?;
    Ok(grants.iter().map(|grant| grant.lease.address).collect())
}

#[test]
fn an_address_is_found_again_until_it_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let both = [pool("p", "10.0.0.0/24", "10.0.0.5-10.0.0.6"), pool("q", "fd00::/64", "fd00::5")];
    let declared = pools(both.clone());
    assert_eq!(store(dir.path()).apply(&declared).unwrap().pools, [Change::Created; 2]);
    assert_eq!(store(dir.path()).apply(&declared).unwrap().pools, [Change::Unchanged; 2]);
    let addresses = given(&store(dir.path()), "c1").unwrap();
    assert_eq!(addresses, ["10.0.0.5", "fd00::5"].map(|a| a.parse::<IpAddr>().unwrap()));

    let contents = store(dir.path()).contents().unwrap();
    assert_eq!(contents.pools, both);
    let held: Vec<IpAddr> = contents.leases.iter().map(|lease| lease.address).collect();
    assert_eq!(held, addresses);
    assert!(contents.leases.iter().all(|lease| lease.attachment == attachment("c1")));

    let error = given(&store(dir.path()), "c1").unwrap_err();
    assert!(error.to_string().contains("already holds 10.0.0.5, fd00::5"), "{error}");
    assert!(store(dir.path()).release(&attachment("c2")).unwrap().is_empty());
    assert_eq!(store(dir.path()).release(&attachment("c1")).unwrap(), contents.leases);
    assert!(store(dir.path()).release(&attachment("c1")).unwrap().is_empty());
    assert!(store(dir.path()).contents().unwrap().leases.is_empty());
}

#[test]
fn a_family_that_is_full_takes_no_address_of_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let both = [pool("p", "10.0.0.0/24", "10.0.0.5-10.0.0.9"), pool("q", "fd00::/64", "fd00::5")];
    store(dir.path()).apply(&pools(both)).unwrap();
    given(&store(dir.path()), "c1").unwrap();
    let before = store(dir.path()).contents().unwrap();
    let error = given(&store(dir.path()), "c2").unwrap_err();
    assert!(error.to_string().contains("no free IPv6 address in pool q (1 of 1 held)"), "{error}");
    assert_eq!(store(dir.path()).contents().unwrap(), before);
}

#[test]
fn without_a_database_nothing_is_created_but_by_apply() {
    let dir = tempfile::tempdir().unwrap();
    let error = given(&store(dir.path()), "c1").unwrap_err();
    assert!(matches!(error, AllocateError::Store(Error::Missing { .. })), "{error}");
    assert!(store(dir.path()).release(&attachment("c1")).unwrap().is_empty());
    assert!(matches!(store(dir.path()).contents(), Err(Error::Missing { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_draft_left_by_a_killed_creation_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    std::fs::create_dir_all(store.directory()).unwrap();
    std::fs::write(store.directory().join("ipam.redb.new"), b"half").unwrap();
    store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.5")])).unwrap();
    assert_eq!(given(&store, "c1").unwrap().len(), 1);
}

#[test]
fn a_rejected_pool_keeps_the_others_out_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.5")])).unwrap();
    let two = [pool("good", "10.9.0.0/24", "10.9.0.5"), pool("bad", "10.0.0.0/24", "10.0.0.5")];
    let error = store.apply(&pools(two)).unwrap_err().to_string();
    assert!(error.contains("pool bad: spec.ips"), "{error}");
    assert!(error.contains("10.0.0.5 also belongs to pool p"), "{error}");
    assert_eq!(store.contents().unwrap().pools.len(), 1);
}

/// Files of another program, or of a newer one, are refused with what they are.
#[test]
fn a_newer_format_and_a_foreign_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.5")])).unwrap();
    let file = store.directory().join("ipam.redb");
    let database = redb::Database::open(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
    transaction.open_table(meta).unwrap().insert("format", 9).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = given(&store, "c1").unwrap_err().to_string();
    assert!(error.contains("has format 9, this program knows up to 2"), "{error}");
    assert!(matches!(store.contents(), Err(Error::Newer { found: 9, .. })));

    std::fs::remove_file(&file).unwrap();
    drop(redb::Database::create(&file).unwrap());
    assert!(matches!(store.contents(), Err(Error::Foreign { .. })));
    assert!(matches!(given(&store, "c1"), Err(AllocateError::Store(Error::Foreign { .. }))));

    std::fs::write(&file, b"not a database, but long enough to be looked at").unwrap();
    assert!(matches!(given(&store, "c1"), Err(AllocateError::Store(Error::Damaged { .. }))));
    std::fs::write(&file, b"").unwrap();
    assert!(matches!(given(&store, "c1"), Err(AllocateError::Store(Error::Damaged { .. }))));
}

/// The story: a check for existence that takes every failure for "not there" replaced a database
/// behind a broken link by an empty one, and told a user without rights to apply pools.
#[test]
fn a_database_that_cannot_be_seen_is_not_a_missing_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    std::fs::create_dir_all(store.directory()).unwrap();
    let file = store.directory().join("ipam.redb");
    std::os::unix::fs::symlink("/nowhere/else", &file).unwrap();
    assert!(store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.5")])).is_err());
    assert!(std::fs::symlink_metadata(&file).unwrap().is_symlink(), "it was replaced");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let below = Store::new(dir.path().join("file/below"), Duration::from_secs(1));
    assert!(matches!(below.contents(), Err(Error::Io { .. })));
    assert!(matches!(below.release(&attachment("c1")), Err(Error::Io { .. })));
}

/// The story: a lease with a bad checksum made every DEL of its pod fail, for ever.
#[test]
fn a_damaged_lease_fails_what_reads_it_and_can_still_be_released() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.5")])).unwrap();
    given(&store, "c1").unwrap();
    let database = redb::Database::open(store.directory().join("ipam.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    let leases: redb::TableDefinition<'_, [u8; 17], &[u8]> = redb::TableDefinition::new("leases");
    let mut key = [0; 17];
    key[0] = 4;
    key[13..].copy_from_slice(&[10, 0, 0, 5]);
    transaction.open_table(leases).unwrap().insert(key, [0x11, 1, 2, 3, 4, 5].as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = store.contents().unwrap_err().to_string();
    assert!(error.contains("is damaged: the lease of 10.0.0.5: checksum"), "{error}");
    assert!(store.release(&attachment("c1")).unwrap().is_empty());
    assert_eq!(given(&store, "c2").unwrap().len(), 1, "the address is free again");
}

#[test]
fn parallel_askers_get_different_addresses_and_the_one_too_many_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.1-10.0.0.64")])).unwrap();
    let ask = |index: usize| given(&store, &format!("c{index}"));
    let mut addresses: Vec<IpAddr> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64).map(|index| scope.spawn(move || ask(index))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 64);
    let error = ask(64).unwrap_err().to_string();
    assert!(error.contains("p (64 of 64 held)"), "{error}");
    assert_eq!(store.contents().unwrap().leases.len(), 64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any order of asking and releasing gives what a map of who holds what gives.
    #[test]
    fn the_file_equals_a_map(steps in prop::collection::vec((0..8_u8, any::<bool>()), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.1-10.0.0.5")])).unwrap();
        let mut oracle: BTreeMap<u8, IpAddr> = BTreeMap::new();
        for (who, ask) in steps {
            let container = format!("c{who}");
            if ask {
                let free = (1..=5_u8)
                    .map(|last| IpAddr::from([10, 0, 0, last]))
                    .find(|address| !oracle.values().any(|held| held == address));
                match given(&store, &container) {
                    Ok(addresses) => {
                        prop_assert_eq!(oracle.insert(who, addresses[0]), None);
                        prop_assert_eq!(Some(addresses[0]), free);
                    }
                    Err(AllocateError::Refused(refused))
                        if matches!(*refused, Refused::AlreadyHeld { .. }) =>
                    {
                        prop_assert!(oracle.contains_key(&who));
                    }
                    Err(error) => {
                        prop_assert!(free.is_none() && !oracle.contains_key(&who), "{}", error);
                    }
                }
            } else {
                let released = store.release(&attachment(&container)).unwrap();
                let released: Vec<IpAddr> = released.iter().map(|lease| lease.address).collect();
                prop_assert_eq!(released, Vec::from_iter(oracle.remove(&who)));
            }
        }
        let held: Vec<IpAddr> =
            store.contents().unwrap().leases.iter().map(|lease| lease.address).collect();
        let mut expected: Vec<IpAddr> = oracle.into_values().collect();
        expected.sort_unstable();
        prop_assert_eq!(held, expected);
    }
}

/// Counters come at once, and again when something changed, and not in between.
#[test]
fn a_watch_tells_each_change() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.5-10.0.0.9")])).unwrap();
    let mut watch = store.watch(Duration::from_millis(1));
    let held = |item: Option<Result<ipam_store::Counters, Error>>| {
        item.unwrap().unwrap().pools[0].counts.held
    };
    assert_eq!(held(watch.next()), 0);
    given(&store, "c1").unwrap();
    assert_eq!(held(watch.next()), 1);
    // A refusal opens the file and changes nothing: the next answer is that of the release.
    given(&store, "c1").unwrap_err();
    let releasing = store.clone();
    let thread = std::thread::spawn(move || releasing.release(&attachment("c1")).unwrap());
    assert_eq!(held(watch.next()), 0);
    thread.join().unwrap();
    std::fs::remove_file(store.directory().join("ipam.redb")).unwrap();
    assert!(matches!(watch.next(), Some(Err(Error::Lost { .. }))));
}

/// What was only seen to be alive gives way to who comes with a name.
#[test]
fn leases_that_others_made_are_adopted_unless_somebody_holds_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.5-10.0.0.9")])).unwrap();
    given(&store, "c1").unwrap();
    let lease = |address: &str, container: &str| Lease {
        address: address.parse().unwrap(),
        pool: "elsewhere".parse().unwrap(),
        attachment: attachment(container),
        pod: None,
        netns: None,
        since: ipam_store::now(),
    };
    let leases = [lease("10.0.0.5", "x"), lease("10.0.0.6", "y"), lease("10.0.0.99", "z")];
    let left = store.adopt(&leases, |_| false).unwrap();
    assert_eq!(left, [leases[0].clone(), leases[2].clone()]);
    assert_eq!(store.held_by(&attachment("y")).unwrap()[0].pool.as_str(), "p");
    let left = store.adopt(&leases[..1], |held| held.attachment == attachment("c1")).unwrap();
    assert!(left.is_empty() && store.held_by(&attachment("c1")).unwrap().is_empty());
    assert_eq!(store.verify(false).unwrap().faults, Vec::<String>::new());
    assert_eq!(given(&store, "c2").unwrap(), ["10.0.0.7".parse::<IpAddr>().unwrap()]);
}

/// The file follows what is in it down as well as up, and says the same afterwards.
#[test]
fn a_compacted_file_is_smaller_and_says_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&pools([pool("p", "10.0.0.0/16", "10.0.0.1-10.0.255.254")])).unwrap();
    let leases: Vec<Lease> = (1..=20_000_u32)
        .map(|number| Lease {
            address: std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into(),
            pool: "p".parse().unwrap(),
            attachment: attachment(&format!("c{number}")),
            pod: None,
            netns: None,
            since: ipam_store::now(),
        })
        .collect();
    assert!(store.adopt(&leases, |_| false).unwrap().is_empty());
    let (_, full) = store.compact(0).unwrap();
    assert!(full > 4 << 20, "{full}");
    let key = |lease: &Lease| (lease.attachment.container.clone(), lease.attachment.ifname.clone());
    let now = ipam_store::now();
    let facts = Facts {
        boot: now.boot,
        now: now.moment,
        snapshot: now.moment.after(1),
        grace_seconds: 0,
        valid: Some(ValidAttachments {
            network: "net".parse().unwrap(),
            attachments: leases[..10].iter().map(key).collect(),
        }),
        namespaces: None,
        alive: BTreeSet::new(),
    };
    assert_eq!(store.reclaim(&facts).unwrap().len(), 19_990);
    let (before, after) = store.compact(0).unwrap();
    assert!(before > 4 << 20 && after < 1 << 20, "{before} {after}");
    assert_eq!(store.contents().unwrap().leases, leases[..10]);
    assert_eq!(store.verify(false).unwrap().faults, Vec::<String>::new());
    let (before, after) = store.compact(1 << 20).unwrap();
    assert!(before == after && after < 1 << 20, "small enough: {before} {after}");
}

/// What a network's policy says holds for its leases and no others, whatever ended them, and all of
/// it is one commit.
#[test]
fn the_dead_of_two_networks_rest_by_the_policy_of_each() {
    for boot in ["b1", "b2"] {
        let dir = tempfile::tempdir().unwrap();
        let stamp = |boot: &str| Stamp {
            boot: Some(boot.parse().unwrap()),
            moment: Moment(1000),
            unix_seconds: 1000,
        };
        let store = store(dir.path()).with_clock(move || stamp("b1"));
        store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.5-10.0.0.9")])).unwrap();
        let lease = |address: u8, network: &str| Lease {
            address: [10, 0, 0, address].into(),
            pool: "p".parse().unwrap(),
            attachment: Attachment { network: network.parse().unwrap(), ..attachment("c") },
            pod: None,
            netns: Some(NetnsRef { path: "/run/netns/gone".into(), inode: Some(1) }),
            since: Stamp { moment: Moment(900), ..stamp("b1") },
        };
        let leases = [lease(5, "long"), lease(6, "net"), lease(7, "short")];
        assert_eq!(store.adopt(&leases, |_| false).unwrap(), []);
        let before = store.contents().unwrap().revision;
        let facts = Facts {
            boot: stamp(boot).boot,
            now: Moment(1000),
            snapshot: Moment(1000),
            grace_seconds: 0,
            valid: None,
            namespaces: Some(LiveNamespaces::default()),
            alive: BTreeSet::new(),
        };
        let cooling = |cooldown_seconds| Policy { cooldown_seconds, ..Policy::default() };
        let (long, short, none) = (cooling(500), cooling(20), cooling(0));
        let policy_of = |lease: &Lease| match lease.attachment.network.as_str() {
            "long" => &long,
            "short" => &short,
            _ => &none,
        };
        let store = store.with_clock(move || stamp(boot));
        let freed = store.reclaim_with(&facts, policy_of).unwrap();
        let why = if boot == "b1" { WhyFreed::NamespaceGone } else { WhyFreed::EarlierBoot };
        assert_eq!(freed, leases.map(|lease| (lease, why)));
        let contents = store.contents().unwrap();
        let rests = contents.rests.iter();
        let rests: Vec<_> = rests
            .map(|it| (it.address.to_string(), it.rest.until.seconds_since(it.rest.since)))
            .collect();
        assert_eq!(rests, [("10.0.0.5".to_owned(), 500), ("10.0.0.7".to_owned(), 20)]);
        assert_eq!(contents.revision, before + 1);
    }
}

/// A new sandbox has the address of the one before, unless that one still lives.
#[test]
fn an_address_is_taken_over_from_a_dead_sandbox_of_the_pod_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&pools([pool("p", "10.0.0.0/24", "10.0.0.5-10.0.0.9")])).unwrap();
    let netns = dir.path().join("netns");
    let add = |container: &str, netns: NetnsRef| {
        let mut request = request(container);
        let (namespace, name) = ("default".into(), "web".into());
        request.demand.pod = Some(PodRef { namespace, name, uid: Some("u1".into()) });
        request.netns = Some(netns);
        store.allocate(&request).unwrap()[0].lease.address.to_string()
    };
    std::fs::write(&netns, "").unwrap();
    let inode = std::fs::metadata(&netns).unwrap().ino();
    let reference = |inode| NetnsRef { path: netns.display().to_string(), inode: Some(inode) };
    assert_eq!(add("c1", reference(inode)), "10.0.0.5");
    assert_eq!(add("c2", reference(inode + 1)), "10.0.0.6", "c1 lives");
    assert_eq!(store.held_by(&attachment("c1")).unwrap().len(), 1);
    std::fs::remove_file(&netns).unwrap();
    assert_eq!(add("c3", reference(inode)), "10.0.0.5");
    assert!(store.held_by(&attachment("c1")).unwrap().is_empty());
}
