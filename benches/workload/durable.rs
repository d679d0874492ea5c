//! A node's store on disk.

use std::cell::Cell;
use std::time::Duration;

use ipam_core::{Attachment, Moment, NetnsRef, Policy, Stamp};
use ipam_store::{Declared, Request, Store};
use tempfile::TempDir;

use crate::{demand, pool};

/// A store on disk that holds some leases.
#[derive(Debug)]
pub struct Durable {
    store: Store,
    serial: Cell<u32>,
    // Goes last: the directory is removed with it.
    _directory: TempDir,
}

impl Durable {
    /// A fresh store below `parent` with a pool of a /16 and this many leases. `parent` must be on
    /// the disk that is to be measured, which a directory for temporary files may not be.
    ///
    /// # Panics
    ///
    /// If the disk does not let it.
    pub fn with_leases(parent: &str, leases: u32) -> Self {
        let directory = tempfile::tempdir_in(parent).expect("a directory can be made");
        let policy = Policy { cooldown_seconds: 0, ..Policy::default() };
        let now = Stamp { boot: None, moment: Moment(1_000), unix_seconds: 1_700_000_000 };
        let store = Store::new(directory.path().join("ipam"), Duration::from_secs(60))
            .with_policy(policy)
            .with_clock(move || now.clone());
        let pool = pool("measured", "10.0.0.0/16", "master", "ipvlan-eth0");
        store.apply(&Declared::pools([pool])).expect("the pool can be stored");
        let this = Self { store, serial: Cell::new(0), _directory: directory };
        for _ in 0..leases {
            std::mem::forget(this.allocate());
        }
        this
    }

    /// One durable allocation, from lock to unlock. Dropping the answer releases it.
    ///
    /// # Panics
    ///
    /// If the store refuses.
    pub fn allocate(&self) -> DurableHolding<'_> {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        let path = format!("/var/run/netns/cni-{serial:032x}");
        let request = Request {
            demand: demand(serial),
            netns: Some(NetnsRef { path, inode: Some(u64::from(serial)) }),
        };
        self.store.allocate(&request).expect("the pool has room");
        DurableHolding { durable: self, attachment: request.demand.attachment }
    }
}

/// An address held on disk; dropping it is the durable release.
#[derive(Debug)]
pub struct DurableHolding<'a> {
    durable: &'a Durable,
    attachment: Attachment,
}

impl Drop for DurableHolding<'_> {
    fn drop(&mut self) {
        let released = self.durable.store.release(&self.attachment);
        assert_eq!(released.expect("the store answers").len(), 1);
    }
}
