//! The store: where pools and leases are remembered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::{
    Attachment, Change, Demand, Lease, NetnsRef, Policy, Pool, Stamp, StickyNames, Strategy,
    WhenOnlyCooling, decide,
};

use crate::codec;
use crate::database::{Location, commit};
use crate::error::{AllocateError, ApplyError, Error};
use crate::tables::{self, Removed, Tables};

/// The store does not remember rests yet, so that a released address is free at once.
const POLICY: Policy = Policy {
    strategy: Strategy::Lowest,
    cooldown_seconds: 0,
    when_only_cooling: WhenOnlyCooling::TakeOldest,
    sticky: StickyNames::None,
    sticky_seconds: 0,
};

/// The pools and leases of one node, in one directory.
///
/// A `Store` is a place, not an open file: each method waits for the node-wide lock, opens the
/// database, does one transaction and closes it, so that no method holds anything while its
/// caller does something else. It is `Send + Sync`, and all methods block.
///
/// # Guarantees
///
/// When a method has returned success, its change survives the death of the process and loss of
/// power. When it has returned an error, nothing changed.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use ipam_core::{Asker, Attachment, Demand, Pool, PoolSpec, Stamp};
/// use ipam_store::{Request, Store};
///
/// # let directory = tempfile::tempdir()?;
/// let store = Store::new(directory.path(), Duration::from_secs(10));
/// let spec = PoolSpec {
///     subnet: "192.168.0.0/24".into(),
///     ips: vec!["192.168.0.156-192.168.0.160".into()],
///     default: Some(true),
///     ..PoolSpec::default()
/// };
/// store.apply(&[Pool::new("master-192", &spec)?])?;
///
/// let attachment = Attachment {
///     network: "ipvlan-eth1".parse()?,
///     container: "4f0e".parse()?,
///     ifname: "eth0".parse()?,
/// };
/// let asker = Asker::new("master".parse()?, "kube-system/ipvlan-eth1".parse()?);
/// let demand = Demand::new(attachment.clone(), asker);
/// let grants = store.allocate(&Request { demand, netns: None, since: Stamp::default() })?;
/// assert_eq!(grants[0].lease.address.to_string(), "192.168.0.156");
/// assert_eq!(store.release(&attachment)?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Store {
    location: Location,
}

/// What an attachment asks for, and what is remembered about it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who asks for what.
    pub demand: Demand,
    /// The network namespace, where the runtime told.
    pub netns: Option<NetnsRef>,
    /// Now.
    pub since: Stamp,
}

/// An address that was handed out, with the pool it came from as it was at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The address and its holder.
    pub lease: Lease,
    /// The pool, for prefix length, gateway and routes.
    pub pool: Pool,
}

/// Everything that a store remembers, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The pools, by name.
    pub pools: Vec<Pool>,
    /// The leases, by address.
    pub leases: Vec<Lease>,
}

impl Store {
    /// The store in `directory`, whose lock is waited for at most `patience`. Touches nothing.
    pub fn new(directory: impl Into<PathBuf>, patience: Duration) -> Self {
        Self { location: Location { directory: directory.into(), patience } }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.location.directory
    }

    /// Stores the pools, all or none, and creates the store if there is none. Answers what became
    /// of each.
    ///
    /// # Errors
    ///
    /// [`ApplyError::Rejected`] names each pool that breaks a rule of [`ipam_core::apply`]:
    /// correct the documents. [`ApplyError::Store`] if nothing could be stored.
    pub fn apply(&self, pools: &[Pool]) -> Result<Vec<Change>, ApplyError> {
        let opened = self.location.open_or_create()?;
        let transaction = opened.write()?;
        let path = self.location.file();
        let changes = {
            let mut tables = Tables::open(&transaction, &path)?;
            let (stored, leases) = (tables.pools()?, tables.leases()?);
            let changes =
                ipam_core::apply(&stored, pools, &leases).map_err(ApplyError::Rejected)?;
            for (pool, _) in
                pools.iter().zip(&changes).filter(|(_, change)| **change != Change::Unchanged)
            {
                tables.put_pool(pool)?;
            }
            changes
        };
        if changes.iter().any(|change| *change != Change::Unchanged) {
            commit(transaction, &path)?;
        }
        Ok(changes)
    }

    /// Hands out the addresses that [`ipam_core::decide`] chooses for the demand, all or none.
    ///
    /// # Errors
    ///
    /// [`AllocateError::Refused`] says why the demand cannot be met, for each pool; what the
    /// attachment may hold already stays as it is. [`AllocateError::Store`] if the store failed.
    pub fn allocate(&self, request: &Request) -> Result<Vec<Grant>, AllocateError> {
        let opened = self.location.open()?;
        let transaction = opened.write()?;
        let path = self.location.file();
        let Request { demand, netns, since } = request;
        let grants = {
            let mut tables = Tables::open(&transaction, &path)?;
            let pools = tables.pools()?;
            let demands = std::slice::from_ref(demand);
            let decision = decide(demands, &pools, &POLICY, since.moment, &tables)?;
            let grants: Vec<Grant> = decision
                .grants
                .iter()
                .map(|grant| Grant {
                    lease: grant.lease(demand, netns.as_ref(), since),
                    pool: grant.pool.clone(),
                })
                .collect();
            tables.put_leases(&demand.attachment, grants.iter().map(|grant| &grant.lease))?;
            grants
        };
        commit(transaction, &path)?;
        Ok(grants)
    }

    /// Frees all that an attachment holds and answers what that was; empty if it held nothing or
    /// there is no database.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: the addresses are still held, try again.
    pub fn release(&self, attachment: &Attachment) -> Result<Vec<Lease>, Error> {
        let opened = match self.location.open() {
            Err(Error::Missing { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let transaction = opened.write()?;
        let path = self.location.file();
        let Removed::Leases(leases) =
            Tables::open(&transaction, &path)?.remove_leases(attachment)?
        else {
            return Ok(Vec::new());
        };
        commit(transaction, &path)?;
        Ok(leases)
    }

    /// Everything that is stored, for looking at it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if nothing was ever applied; else as [`Error`] says.
    pub fn contents(&self) -> Result<Contents, Error> {
        let snapshot = self.location.look()?;
        let transaction = snapshot.read()?;
        tables::contents(&transaction, snapshot.path())
    }
}

/// Names what was decoded where a record is damaged.
pub(crate) fn corrupt(path: &Path, what: String) -> impl FnOnce(codec::CodecError) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Corrupt { path, what, source }
}
