//! Changing what is declared: pools and reserved addresses come, change and go.

use ipam_core::{Lease, PoolName, Reserved};

use crate::contents::Contents;
use crate::database::Location;
use crate::declared::{Changes, Declared};
use crate::disk::Growth;
use crate::durable::{create_directory, is_there};
use crate::error::{ApplyError, Unapplied};
use crate::fault::Outcome;
use crate::register::Register;
use crate::rows;
use crate::schema::address_key;
use crate::store::Store;
use crate::transaction::Done;

/// A change of what is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revision {
    /// Documents to store, each in the place of that with its name.
    pub put: Declared,
    /// Pools to remove; one that is not stored is removed already. Nobody may hold an address of
    /// theirs, and what rests in them is forgotten.
    pub removed_pools: Vec<PoolName>,
    /// Reservations to remove.
    pub removed_reserved: Vec<PoolName>,
}

impl From<Declared> for Revision {
    fn from(put: Declared) -> Self {
        Self { put, ..Self::default() }
    }
}

impl Revision {
    /// What the revision makes of a store: what becomes of the documents that are put, what is
    /// declared then, and whether that is something else than before.
    fn merge(&self, stored: &Contents) -> Result<(Changes, Declared, bool), ApplyError> {
        let is_of_removed = |lease: &&Lease| self.removed_pools.contains(&lease.pool);
        if let Some(Lease { pool, address, attachment, .. }) =
            stored.leases.iter().find(is_of_removed)
        {
            let (pool, holder) = (pool.clone(), attachment.clone());
            return Err(ApplyError::Held { pool, address: *address, holder });
        }
        let mut left = stored.declared();
        left.pools.retain(|pool| !self.removed_pools.contains(pool.name()));
        left.reserved.retain(|reserved| !self.removed_reserved.contains(reserved.name()));
        let are_some_removed = left != stored.declared();
        let (changes, merged) =
            self.put.merge(left, &stored.leases).map_err(ApplyError::Rejected)?;
        let is_different = are_some_removed || changes.are_some();
        Ok((changes, merged, is_different))
    }
}

impl Store {
    /// As [`Self::apply`], on a node where addresses may be in use already: these leases are held
    /// from the moment at which a pool has their addresses, unless somebody else holds them.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`].
    pub fn apply_where(&self, wanted: &Declared, found: &[Lease]) -> Result<Changes, ApplyError> {
        self.revise(|_| Revision::from(wanted.clone()), found)
    }

    /// Changes what is declared as `plan` says, which sees everything that is stored in the very
    /// transaction that writes its answer. `found` is as in [`Self::apply_where`], and so is what
    /// happens where there never was a store: `plan` sees an empty one.
    ///
    /// # Errors
    ///
    /// As [`Self::apply`], and [`ApplyError::Held`] if a pool is to go of which somebody holds an
    /// address. Nothing changed.
    pub fn revise(
        &self,
        plan: impl FnOnce(&Contents) -> Revision,
        found: &[Lease],
    ) -> Result<Changes, ApplyError> {
        let location = self.location();
        create_directory(&location.directory)?;
        let lock = location.lock()?;
        if is_new(location)? {
            // Documents that break a rule must not leave an empty store behind.
            let stored = Contents::default();
            let (changes, merged, is_different) = plan(&stored).merge(&stored)?;
            if is_different {
                let contents = Contents::from(merged.clone()).holding(found);
                location.create(&lock, &merged, |register| contents.write(register))?;
            }
            return Ok(changes);
        }
        let opened = location.open_locked(lock, Growth::Blocks)?;
        let declared = location.declared();
        let outcome = self.transact(&opened, |register, _| {
            let stored = register.contents()?;
            let revision = plan(&stored);
            let (changes, merged, is_different) = revision.merge(&stored)?;
            // Before the commit: if it fails, the file says more than is stored, and a rebuild
            // brings what the operator wanted.
            merged.write(&declared)?;
            if is_different {
                register.leave_only(&merged)?;
                register.declare(&merged)?;
                for lease in found {
                    register.adopt(lease, |_| false)?;
                }
            }
            Ok::<_, Unapplied>(Done { answer: changes, changed: is_different })
        });
        outcome.map_err(|error| match error {
            Unapplied::Apply(error) => error,
            Unapplied::Fault(fault) => fault.at("write to", opened.path()).into(),
        })
    }
}

fn is_new(location: &Location) -> Result<bool, crate::error::Error> {
    Ok(!is_there(&location.file())? && !is_there(&location.declared())?)
}

impl Register<'_> {
    /// Removes the pools and reservations that are not declared any more, and the rests of such
    /// pools, but for those whose address another pool claims.
    fn leave_only(&mut self, declared: &Declared) -> Outcome<()> {
        let is_pool = |name: &str| declared.pools.iter().any(|pool| pool.name().as_str() == name);
        self.pools.retain(|name, _| is_pool(name))?;
        self.reserved.retain(|name, _| {
            declared.reserved.iter().map(Reserved::name).any(|kept| kept.as_str() == name)
        })?;
        for (address, owner, _) in rows::rests(&self.rests)? {
            let is_claimed = declared.pools.iter().any(|pool| pool.claims(address));
            if !is_claimed && !is_pool(owner.as_str()) {
                self.rests.remove(address_key(address))?;
            }
        }
        Ok(())
    }
}
