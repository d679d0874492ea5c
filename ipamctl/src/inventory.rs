//! The contents of one or several stores, seen as one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use ipam_core::{Lease, Pool};
use ipam_store::{Contents, Store};

/// Pools and leases of the stores that were asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inventory {
    pub(crate) pools: Vec<Pool>,
    pub(crate) leases: Vec<Lease>,
}

impl Inventory {
    /// Reads the stores one after the other. The same pool in several stores is one pool.
    pub(crate) fn read(directories: &[PathBuf], patience: Duration) -> Result<Self> {
        let mut inventory = Self::default();
        for directory in directories {
            let Contents { pools, leases, .. } = Store::new(directory, patience).contents()?;
            for pool in pools {
                match inventory.pools.iter().find(|known| known.name() == pool.name()) {
                    None => inventory.pools.push(pool),
                    Some(known) if *known == pool => {}
                    Some(_) => bail!(
                        "pool {} in {} differs from that of the directories before it",
                        pool.name(),
                        directory.display()
                    ),
                }
            }
            inventory.leases.extend(leases);
        }
        inventory.pools.sort_by(|a, b| a.name().cmp(b.name()));
        inventory.leases.sort_by_key(|lease| lease.address);
        Ok(inventory)
    }

    /// The pools with these names and their leases; everything if no name is given.
    pub(crate) fn only(mut self, names: &[String]) -> Result<Self> {
        if names.is_empty() {
            return Ok(self);
        }
        let is_named = |name: &str| names.iter().any(|wanted| wanted == name);
        self.pools.retain(|pool| is_named(pool.name().as_str()));
        self.leases.retain(|lease| is_named(lease.pool.as_str()));
        for name in names {
            if self.pools.iter().all(|pool| pool.name().as_str() != name) {
                bail!("no pool {name:?} is stored");
            }
        }
        Ok(self)
    }

    /// How many addresses of `pool` are held.
    pub(crate) fn allocated(&self, pool: &Pool) -> usize {
        self.leases.iter().filter(|lease| lease.pool == *pool.name()).count()
    }
}
