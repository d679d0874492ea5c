//! Pools that come with each request, in place of pools that were applied.

use std::io;
use std::path::Path;

use ipam_core::{Demand, Lease, NetnsRef, Pool};

use crate::ask::{Pools, What};
use crate::codec;
use crate::contents::Contents;
use crate::database::Opened;
use crate::declared::Declared;
use crate::disk::Growth;
use crate::durable::{create_directory, io_error, is_there};
use crate::error::{AllocateError, Error};
use crate::fault::Outcome;
use crate::register::Register;
use crate::rows;
use crate::schema::address_key;
use crate::store::{Grant, Store};
use crate::transaction;
use crate::turn::Turn;

/// The pools of a store that nobody applies documents to: the configuration of a network has them,
/// and each request brings them.
pub struct Configured<'a> {
    /// All pools of the store. No two claim one address.
    pub pools: &'a [Pool],
    /// What may be in use already when the store is created, from files in its directory. It is
    /// asked under the store's lock, `flock(2)` on the directory's file `lock`.
    pub found: &'a dyn Fn(&Path) -> io::Result<Vec<Lease>>,
}

impl Store {
    /// As [`Self::allocate_all`], from the pools that come with the request. In the same
    /// transaction they take the place of the stored ones, if those are others: what is held stays
    /// held, and nobody else gets its address, even if no pool has it any more.
    ///
    /// If there never was a store in the directory, one is created, which holds what
    /// [`Configured::found`] answers.
    ///
    /// # Errors
    ///
    /// As [`Self::allocate`]. A store that was lost or damaged is not created anew: see
    /// [`Error::needs_rebuild`].
    pub fn allocate_from(
        &self,
        configured: &Configured<'_>,
        demands: &[Demand],
        netns: Option<&NetnsRef>,
    ) -> Result<Vec<Grant>, AllocateError> {
        let what = || What::Allocate {
            demands: demands.into(),
            netns: netns.cloned(),
            pools: Some(Pools::configured(&by_name(configured.pools))),
        };
        let opened = match self.turn(Growth::Blocks, what) {
            Err(Error::Missing { .. }) => self.create_configured(configured)?,
            Ok(Turn::Answered(answer)) => return Ok(answer.granted()),
            Ok(Turn::Own(opened)) => opened,
            Err(other) => return Err(other.into()),
        };
        self.decide(opened, demands, |register, policy, now| {
            let is_other = register.set_pools(configured.pools)?;
            let done = transaction::allocate(register, demands, netns, policy, now)?;
            if is_other {
                // Before the commit: if it fails, a rebuild begins with what was configured last.
                register.declared()?.write(&self.location().declared())?;
            }
            Ok(done)
        })
    }

    /// Creates the store, unless another process was faster.
    fn create_configured(&self, configured: &Configured<'_>) -> Result<Opened, Error> {
        let (location, directory) = (self.location(), self.directory());
        create_directory(directory)?;
        let lock = location.lock()?;
        if !is_there(&location.file())? && !is_there(&location.declared())? {
            let leases = (configured.found)(directory)
                .map_err(io_error("read the reservations in", directory))?;
            let declared = Declared::pools(by_name(configured.pools));
            let contents = Contents { leases, ..Contents::from(declared.clone()) };
            location.create(&lock, &declared, |register| contents.write(register))?;
        }
        location.open_locked(lock, Growth::Blocks)
    }
}

impl Register<'_> {
    /// Makes these the only pools and answers whether others were stored. Leases and rests go to
    /// the pool that claims their address; a lease that none claims stays as it is.
    fn set_pools(&mut self, pools: &[Pool]) -> Outcome<bool> {
        let pools = by_name(pools);
        if rows::pools(&self.pools)? == pools {
            return Ok(false);
        }
        self.pools.retain(|name, _| pools.iter().any(|pool| pool.name().as_str() == name))?;
        for lease in self.leases()? {
            let claiming = pools.iter().find(|pool| pool.claims(lease.address));
            if let Some(pool) = claiming.filter(|pool| *pool.name() != lease.pool) {
                let lease = Lease { pool: pool.name().clone(), ..lease };
                let record = codec::encode_lease(&lease);
                self.leases.insert(address_key(lease.address), record.as_slice())?;
            }
        }
        self.declare(&Declared::pools(pools))?;
        Ok(true)
    }

    fn declared(&self) -> Outcome<Declared> {
        Ok(Declared { pools: rows::pools(&self.pools)?, reserved: rows::reserved(&self.reserved)? })
    }
}

fn by_name(pools: &[Pool]) -> Vec<Pool> {
    let mut pools = pools.to_vec();
    pools.sort_by(|one, other| one.name().cmp(other.name()));
    pools
}
