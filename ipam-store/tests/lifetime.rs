//! Reboots, older and newer files, and files that are not what they were.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipam_core::{
    Asker, Attachment, Demand, Lease, Moment, PodRef, Policy, Pool, PoolSpec, Rest, RestKind,
    Stamp, StickyNames, WhyFreed,
};
use ipam_store::{AllocateError, Declared, Error, Request, Store};
use redb::{ReadableTable, TableDefinition};

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

fn pool() -> Pool {
    let spec = PoolSpec {
        subnet: "10.0.0.0/24".into(),
        ips: vec!["10.0.0.5-10.0.0.9".into()],
        default: Some(true),
        ..PoolSpec::default()
    };
    Pool::new("p", &spec).unwrap()
}

fn stamp(boot: &str, seconds: u64) -> Stamp {
    let boot = Some(boot.parse().unwrap());
    Stamp { boot, moment: Moment(seconds), unix_seconds: 1_700_000_000 }
}

/// The store at a moment of a boot.
fn store_at(directory: &Path, boot: &str, seconds: u64) -> Store {
    let now = stamp(boot, seconds);
    Store::new(directory, Duration::from_secs(60)).with_clock(move || now.clone())
}

fn store(directory: &Path) -> Store {
    store_at(directory, "b1", 100)
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        network: "net".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn demand(container: &str) -> Demand {
    let asker = Asker::new("n".parse().unwrap(), "net".parse().unwrap());
    let pod = PodRef { namespace: "default".into(), name: format!("{container}-0"), uid: None };
    Demand { pod: Some(pod), ..Demand::new(attachment(container), asker) }
}

fn given(store: &Store, container: &str) -> Result<IpAddr, AllocateError> {
    let grants = store.allocate(&Request { demand: demand(container), netns: None })?;
    Ok(grants[0].lease.address)
}

fn at(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

fn edit(directory: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::open(directory.join("ipam.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn the_first_decision_of_a_boot_frees_what_the_earlier_one_held_once() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path()).apply(&Declared::pools([pool()])).unwrap();
    for container in ["c1", "c2", "c3"] {
        given(&store(dir.path()), container).unwrap();
    }
    let told: Arc<Mutex<Vec<(Lease, WhyFreed)>>> = Arc::default();
    let telling = Arc::clone(&told);
    let after = store_at(dir.path(), "b2", 7)
        .with_watcher(move |lease, why| telling.lock().unwrap().push((lease.clone(), why)));
    assert_eq!(given(&after, "d1").unwrap(), at(8), "the freed ones rest");
    let freed = std::mem::take(&mut *told.lock().unwrap());
    let addresses: Vec<IpAddr> = freed.iter().map(|(lease, _)| lease.address).collect();
    assert_eq!(addresses, [at(5), at(6), at(7)]);
    assert!(freed.iter().all(|(_, why)| *why == WhyFreed::EarlierBoot));
    let contents = after.contents().unwrap();
    assert_eq!(contents.leases.len(), 1);
    assert!(contents.rests.iter().all(|resting| resting.rest.until == Moment(67)));
    // A second run finds nothing to free, and a DEL of the old boot releases nothing.
    assert!(after.release(&attachment("c1")).unwrap().is_empty());
    given(&after, "d2").unwrap();
    assert!(told.lock().unwrap().is_empty());
    assert_eq!(after.verify(false).unwrap().faults, Vec::<String>::new());
}

#[test]
fn a_boot_keeps_sticky_addresses_and_what_was_left_of_a_cooldown() {
    let dir = tempfile::tempdir().unwrap();
    let policy = Policy { sticky: StickyNames::Ordinal, sticky_seconds: 500, ..Policy::default() };
    let before = |seconds| store_at(dir.path(), "b1", seconds).with_policy(policy.clone());
    before(1000).apply(&Declared::pools([pool()])).unwrap();
    let quarantine = Rest::quarantine("a stranger".into(), Moment(1000), Moment(1100));
    assert!(before(1000).rest(at(9), pool().name(), &quarantine).unwrap());
    assert_eq!(given(&before(1000), "web").unwrap(), at(5));
    assert_eq!(given(&before(1010), "held").unwrap(), at(6));
    before(1020).release(&attachment("web")).unwrap();

    let after = store_at(dir.path(), "b2", 5).with_policy(policy);
    assert_eq!(given(&after, "other").unwrap(), at(7));
    let contents = after.contents().unwrap();
    let rest = |address: IpAddr| {
        contents.rests.iter().find(|resting| resting.address == address).unwrap().rest.clone()
    };
    // At the last commit, at 1020, 500 s of the one were left and 80 s of the other.
    assert_eq!((rest(at(5)).kind(), rest(at(5)).until), (RestKind::Sticky, Moment(505)));
    assert_eq!((rest(at(9)).kind(), rest(at(9)).until), (RestKind::Quarantine, Moment(85)));
    // The lease that the boot ended waits for its pod from now on.
    assert_eq!((rest(at(6)).kind(), rest(at(6)).until), (RestKind::Sticky, Moment(505)));
    assert_eq!(given(&after, "web").unwrap(), at(5));
    assert_eq!(after.verify(false).unwrap().faults, Vec::<String>::new());
}

#[test]
fn a_file_of_format_1_is_brought_to_this_one_by_the_first_decision() {
    const POOLS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("pools");
    const LEASES: TableDefinition<'_, [u8; 17], &[u8]> = TableDefinition::new("leases");
    const ATTACHMENTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("attachments");
    let dir = tempfile::tempdir().unwrap();
    store(dir.path()).apply(&Declared::pools([pool()])).unwrap();
    given(&store(dir.path()), "c1").unwrap();
    // Its tables of pools and leases are those of today.
    edit(dir.path(), |transaction| {
        transaction.open_table(META).unwrap().insert("format", 1).unwrap();
        transaction.open_table(META).unwrap().remove("revision").unwrap();
        transaction.open_table(META).unwrap().remove("moment").unwrap();
        let mut attachments = transaction.open_table(ATTACHMENTS).unwrap();
        attachments.insert(&b"net\0c1\0eth0\0"[..], &b"\x31any"[..]).unwrap();
        for table in transaction.list_tables().unwrap() {
            use redb::TableHandle;
            if !["meta", "pools", "leases", "attachments"].contains(&table.name()) {
                transaction.delete_table(table).unwrap();
            }
        }
        assert!(transaction.open_table(POOLS).unwrap().iter().unwrap().count() == 1);
        assert!(transaction.open_table(LEASES).unwrap().iter().unwrap().count() == 1);
    });
    fs::remove_file(dir.path().join("lock")).unwrap();
    let old = store(dir.path());
    assert_eq!(old.contents().unwrap().leases.len(), 1, "looking does not migrate");
    assert_eq!(old.counters().unwrap().pools[0].counts.held, 1);
    assert_eq!(old.held_by(&attachment("c1")).unwrap().len(), 1);
    assert_eq!(given(&old, "c2").unwrap(), at(6));
    assert_eq!(old.release(&attachment("c1")).unwrap().len(), 1);
    assert_eq!(old.verify(false).unwrap().faults, Vec::<String>::new());
    edit(dir.path(), |transaction| {
        let format = transaction.open_table(META).unwrap().get("format").unwrap().unwrap().value();
        assert_eq!(format, 2);
        assert!(!transaction.delete_table(ATTACHMENTS).unwrap(), "it is gone");
    });
}

/// An older program, started once more during an update, must not make a pod immortal.
#[test]
fn a_release_in_a_newer_file_is_written_down_for_the_program_that_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&Declared::pools([pool()])).unwrap();
    given(&store, "c1").unwrap();
    given(&store, "c2").unwrap();
    edit(dir.path(), |transaction| {
        transaction.open_table(META).unwrap().insert("format", 3).unwrap();
    });
    assert!(given(&store, "c3").unwrap_err().to_string().contains("has format 3"));
    assert!(store.release(&attachment("c1")).unwrap().is_empty());
    assert!(store.release(&attachment("nobody")).unwrap().is_empty());
    edit(dir.path(), |transaction| {
        transaction.open_table(META).unwrap().insert("format", 2).unwrap();
    });
    assert_eq!(store.contents().unwrap().leases.len(), 2, "nothing is half done");
    given(&store, "c3").unwrap();
    let holders: Vec<String> = store
        .contents()
        .unwrap()
        .leases
        .iter()
        .map(|lease| lease.attachment.container.to_string())
        .collect();
    assert_eq!(holders, ["c2", "c3"]);
    assert_eq!(store.verify(false).unwrap().faults, Vec::<String>::new());
}

/// A copy that an operator put back, or a file system that was rolled back: what was given since
/// would be given again.
#[test]
fn an_older_copy_of_the_file_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&Declared::pools([pool()])).unwrap();
    let copy = fs::read(dir.path().join("ipam.redb")).unwrap();
    given(&store, "c1").unwrap();
    fs::write(dir.path().join("ipam.redb"), copy).unwrap();
    let error = given(&store, "c2").unwrap_err().to_string();
    assert!(error.contains("it is an older copy: it has revision 1, revision 2"), "{error}");
    assert!(matches!(store.contents(), Err(Error::Damaged { .. })));
    // A new one in its place is none.
    let contents = ipam_store::Contents::from(Declared::pools([pool()]));
    let aside = store.replace(&contents).unwrap().unwrap();
    assert!(aside.file_name().unwrap().to_string_lossy().starts_with("ipam.redb.aside-17000"));
    assert_eq!(given(&store, "c2").unwrap(), at(5));
}

#[test]
fn a_database_that_is_gone_is_not_made_anew_by_anything_but_a_replacement() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&Declared::pools([pool()])).unwrap();
    given(&store, "c1").unwrap();
    fs::remove_file(dir.path().join("ipam.redb")).unwrap();
    assert!(matches!(given(&store, "c2"), Err(AllocateError::Store(Error::Lost { .. }))));
    assert!(store.apply(&Declared::pools([pool()])).is_err());
    assert!(matches!(store.release(&attachment("c1")), Err(Error::Lost { .. })));
    assert!(!dir.path().join("ipam.redb").exists());
    assert_eq!(store.declared().unwrap().unwrap(), Declared::pools([pool()]));
    assert_eq!(store.set_aside(&Declared::pools([pool()])).unwrap(), (None, None));
    let contents = ipam_store::Contents::from(Declared::pools([pool()]));
    store.replace(&contents).unwrap();
    assert_eq!(given(&store, "c2").unwrap(), at(5));
}

/// Only the index was wrong: the leases are the truth, and it is made anew from them.
#[test]
fn an_index_that_disagrees_gives_nothing_away_and_can_be_repaired() {
    const FREE: TableDefinition<'_, &[u8], [u8; 17]> = TableDefinition::new("free");
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&Declared::pools([pool()])).unwrap();
    given(&store, "c1").unwrap();
    edit(dir.path(), |transaction| {
        let mut key = [0; 17];
        key[0] = 4;
        key[13..].copy_from_slice(&[10, 0, 0, 5]);
        let run = [b"p\0", &key[..]].concat();
        transaction.open_table(FREE).unwrap().insert(run.as_slice(), key).unwrap();
    });
    let error = given(&store, "c2").unwrap_err().to_string();
    assert!(error.contains("10.0.0.5 is held, though an index says that it is not"), "{error}");
    let verdict = store.verify(false).unwrap();
    assert!(verdict.faults[0].contains("table free: the free addresses of pool p"), "{verdict:?}");
    assert!(store.verify(true).unwrap().repaired);
    assert_eq!(store.verify(false).unwrap().faults, Vec::<String>::new());
    assert_eq!(given(&store, "c2").unwrap(), at(6));
}

/// Nobody writes what only looks, so that it works on a disk that is read-only or full.
#[test]
fn looking_changes_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&Declared::pools([pool()])).unwrap();
    for container in ["c1", "c2", "c3", "c4", "c5"] {
        given(&store, container).unwrap();
    }
    let before = fs::read(dir.path().join("ipam.redb")).unwrap();
    store.contents().unwrap();
    store.counters().unwrap();
    store.held_by(&attachment("c1")).unwrap();
    let demand = [demand("d1")];
    assert!(store.refusal(&demand, None).unwrap().is_some(), "all are held");
    let rebooted = store_at(dir.path(), "b2", 7);
    assert_eq!(rebooted.refusal(&demand, None).unwrap(), None, "the boot ends what was held");
    assert!(fs::read(dir.path().join("ipam.redb")).unwrap() == before);
}
