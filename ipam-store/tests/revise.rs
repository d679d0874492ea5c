//! What is declared comes, changes and goes in one transaction, and nothing held goes with it.

use std::path::Path;
use std::time::Duration;

use ipam_core::{
    Asker, Attachment, Demand, Labels, Pool, PoolSpec, Reserved, ReservedSpec, RestKind,
};
use ipam_store::{ApplyError, Contents, Declared, Error, Request, Revision, Store};

fn pool(name: &str, ips: &str) -> Pool {
    let spec = PoolSpec {
        subnet: "10.0.0.0/24".into(),
        ips: vec![ips.into()],
        default: Some(true),
        ..PoolSpec::default()
    };
    let labels: Labels = [("made-by".to_owned(), "a-test".to_owned())].into();
    Pool::new(name, &spec).unwrap().with_labels(labels).unwrap()
}

fn reserved(name: &str, ips: &str) -> Reserved {
    Reserved::new(name, &ReservedSpec { ip_version: None, ips: vec![ips.into()] }).unwrap()
}

fn store(directory: &Path) -> Store {
    Store::new(directory, Duration::from_secs(60))
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        network: "net".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn add(store: &Store, container: &str) -> Result<String, String> {
    let asker = Asker::new("n".parse().unwrap(), "net".parse().unwrap());
    let demand = Demand::new(attachment(container), asker);
    match store.allocate(&Request { demand, netns: None }) {
        Ok(grants) => Ok(grants[0].lease.address.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn removing(pools: &[&str], reserved: &[&str]) -> Revision {
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    Revision {
        removed_pools: names(pools),
        removed_reserved: names(reserved),
        ..Revision::default()
    }
}

#[test]
fn an_empty_revision_of_nothing_leaves_nothing_and_another_creates_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.revise(|_| Revision::default(), &[]).unwrap();
    assert!(matches!(store.contents(), Err(Error::Missing { .. })));
    let put = Declared::pools([pool("p", "10.0.0.5")]);
    store
        .revise(
            |seen| {
                assert_eq!(*seen, Contents::default());
                Revision::from(put.clone())
            },
            &[],
        )
        .unwrap();
    assert_eq!(store.contents().unwrap().pools, put.pools, "with its labels");
    assert_eq!(store.declared().unwrap(), Some(put));
}

#[test]
fn a_reservation_comes_and_goes_and_in_between_nobody_gets_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.apply(&Declared::pools([pool("p", "10.0.0.5-10.0.0.6")])).unwrap();
    let fence = Declared { pools: Vec::new(), reserved: vec![reserved("f", "10.0.0.5")] };
    store.revise(|_| Revision::from(fence.clone()), &[]).unwrap();
    assert_eq!(add(&store, "a"), Ok("10.0.0.6".to_owned()));
    assert!(add(&store, "b").is_err());
    store
        .revise(
            |seen| {
                assert_eq!((seen.reserved.len(), seen.leases.len()), (1, 1));
                removing(&[], &["f", "never-there"])
            },
            &[],
        )
        .unwrap();
    assert_eq!(add(&store, "b"), Ok("10.0.0.5".to_owned()));
    assert!(store.verify(false).unwrap().faults.is_empty());
    assert_eq!(store.declared().unwrap().unwrap().reserved, []);
}

#[test]
fn a_pool_goes_with_what_rests_in_it_and_never_while_somebody_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let both = [pool("p", "10.0.0.5-10.0.0.6"), pool("q", "10.0.0.9")];
    store.apply(&Declared::pools(both.clone())).unwrap();
    assert_eq!(add(&store, "a"), Ok("10.0.0.5".to_owned()));
    assert_eq!(add(&store, "b"), Ok("10.0.0.6".to_owned()));
    store.release(&attachment("b")).unwrap();
    let before = store.contents().unwrap();
    assert_eq!(before.rests[0].rest.kind(), RestKind::Cooldown);
    let refused = store.revise(|_| removing(&["p"], &[]), &[]).unwrap_err();
    assert!(matches!(refused, ApplyError::Held { .. }), "{refused}");
    assert_eq!(
        refused.to_string(),
        "pool p cannot be removed: 10.0.0.5 is held by net/a/eth0: release it first"
    );
    assert_eq!(store.contents().unwrap(), before);

    store.release(&attachment("a")).unwrap();
    store.revise(|_| removing(&["p"], &[]), &[]).unwrap();
    let after = store.contents().unwrap();
    assert_eq!((after.pools.as_slice(), after.rests.len()), (&both[1..], 0));
    assert_eq!(store.declared().unwrap(), Some(Declared::pools([both[1].clone()])));
    assert!(store.verify(false).unwrap().faults.is_empty());
    // What was its addresses' may be another's now, at once.
    let put = Declared::pools([pool("r", "10.0.0.5-10.0.0.6")]);
    store.revise(|_| Revision::from(put.clone()), &[]).unwrap();
    store
        .revise(
            |_| Revision {
                put: Declared::pools([pool("s", "10.0.0.5-10.0.0.6")]),
                ..removing(&["r"], &[])
            },
            &[],
        )
        .unwrap();
    assert_eq!(store.contents().unwrap().pools.len(), 2);
    assert_eq!(add(&store, "c"), Ok("10.0.0.9".to_owned()));
    assert_eq!(add(&store, "d"), Ok("10.0.0.5".to_owned()));
}
