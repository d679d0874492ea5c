//! The contents of one or several stores, seen as one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use ipam_core::{Lease, Pool, PoolName, Reserved, Stamp};
use ipam_store::{Contents, Resting, Store};

/// Pools, reservations, leases and rests of the stores that were asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inventory {
    pub(crate) pools: Vec<Pool>,
    pub(crate) reserved: Vec<Reserved>,
    pub(crate) leases: Vec<Lease>,
    /// Those that are not over, by address.
    pub(crate) rests: Vec<Resting>,
    /// When it was read.
    pub(crate) now: Stamp,
}

impl Inventory {
    /// Reads the stores one after the other. The same pool in several stores is one pool.
    pub(crate) fn read(directories: &[PathBuf], patience: Duration) -> Result<Self> {
        let mut all = BTreeMap::<PoolName, Pool>::new();
        let mut reserved = Vec::new();
        let mut leases = Vec::new();
        let mut rests = Vec::new();
        let now = ipam_store::now();
        for directory in directories {
            let contents = Store::new(directory, patience).contents()?;
            rests.extend(left_of_rests(&contents, &now));
            for pool in contents.pools {
                match all.get(pool.name()) {
                    Some(known) if *known != pool => bail!(
                        "pool {} in {} differs from that of the directories before it",
                        pool.name(),
                        directory.display()
                    ),
                    _ => drop(all.insert(pool.name().clone(), pool)),
                }
            }
            reserved.extend(contents.reserved);
            leases.extend(contents.leases);
        }
        leases.sort_by_key(|lease| lease.address);
        rests.sort_by_key(|resting| resting.address);
        reserved.sort_by(|one, other| one.name().cmp(other.name()));
        reserved.dedup();
        Ok(Self { pools: all.into_values().collect(), reserved, leases, rests, now })
    }

    /// The pools with these names and their leases; everything if no name is given.
    pub(crate) fn only(mut self, names: &[String]) -> Result<Self> {
        if names.is_empty() {
            return Ok(self);
        }
        let is_named = |name: &str| names.iter().any(|wanted| wanted == name);
        self.pools.retain(|pool| is_named(pool.name().as_str()));
        self.leases.retain(|lease| is_named(lease.pool.as_str()));
        self.rests.retain(|resting| is_named(resting.pool.as_str()));
        for name in names {
            if self.pools.iter().all(|pool| pool.name().as_str() != name) {
                bail!("no pool {name:?} is stored");
            }
        }
        Ok(self)
    }
}

/// The rests that are not over, as they count in the node's present boot: as the store does at its
/// first decision, each rests for what was left at the last change of an earlier boot.
pub(crate) fn left_of_rests(contents: &Contents, now: &Stamp) -> Vec<Resting> {
    let is_earlier = now.is_of_other_boot(contents.boot.as_ref());
    let carried = |resting: &Resting| {
        let mut resting = resting.clone();
        if is_earlier {
            resting.rest = resting.rest.carried_over(contents.moment, now.moment);
        }
        resting
    };
    let rests = contents.rests.iter().map(carried);
    rests.filter(|resting| !resting.rest.is_over(now.moment)).collect()
}
