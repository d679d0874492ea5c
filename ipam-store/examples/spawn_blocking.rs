//! The store in an async program: each call where blocking is allowed.
//!
//! A call waits for the node-wide lock and for the disk, so it must not run on a thread that drives
//! tasks. `Store` is `Clone + Send + Sync` and holds nothing between calls.

use std::error::Error;
use std::time::Duration;

use ipam_core::{Asker, Attachment, Demand, Pool, PoolSpec};
use ipam_store::{Declared, Grant, Request, Store};
use tokio::task::spawn_blocking;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let store = Store::new(directory.path(), Duration::from_secs(10));
    let spec = PoolSpec {
        subnet: "192.168.0.0/24".into(),
        ips: vec!["192.168.0.156-192.168.0.160".into()],
        default: Some(true),
        ..PoolSpec::default()
    };
    let declared = Declared::pools([Pool::new("master-192", &spec)?]);
    let applying = store.clone();
    spawn_blocking(move || applying.apply(&declared)).await??;

    let tasks: Vec<_> =
        (0..5).map(|number| tokio::spawn(attach(store.clone(), format!("pod{number}")))).collect();
    let mut addresses = Vec::new();
    for task in tasks {
        addresses.extend(task.await??.iter().map(|grant| grant.lease.address));
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 5, "each task has an address of its own");

    let held = spawn_blocking(move || store.counters()).await??.pools[0].counts.held;
    assert_eq!(held, 5);
    Ok(())
}

async fn attach(store: Store, container: String) -> Result<Vec<Grant>, Failure> {
    let attachment = Attachment {
        network: "ipvlan-eth1".parse()?,
        container: container.parse()?,
        ifname: "eth0".parse()?,
    };
    let asker = Asker::new("master".parse()?, "kube-system/ipvlan-eth1".parse()?);
    let request = Request { demand: Demand::new(attachment, asker), netns: None };
    Ok(spawn_blocking(move || store.allocate(&request)).await??)
}
