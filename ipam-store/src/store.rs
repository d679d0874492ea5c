//! The store: where pools and leases are remembered.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipam_core::{Demand, Facts, Lease, NetnsRef, Policy, Pool, PoolName, Rest, Stamp, WhyFreed};

use crate::ask::What;
use crate::clock;
use crate::database::{Location, Opened};
use crate::declared::{Changes, Declared};
use crate::disk::Growth;
use crate::durable::io_error;
use crate::error::{AllocateError, ApplyError, Error, Undecided};
use crate::fault::Fault;
use crate::group::Scope;
use crate::register::Register;
use crate::rows;
use crate::spare;
use crate::transaction::{self, Closed, Done, PolicyOf};
use crate::turn::Turn;

/// The pools and leases of one node, in one directory.
///
/// A `Store` is a place, not an open file: each method waits for the node-wide lock, opens the
/// database, does one transaction and closes it, so that no method holds anything while its
/// caller does something else. It is `Send + Sync`, and all methods block; an async program calls
/// them where blocking is allowed (see the example `spawn_blocking`).
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
/// use ipam_core::{Asker, Attachment, Demand, Pool, PoolSpec};
/// use ipam_store::{Declared, Request, Store};
///
/// # let directory = tempfile::tempdir()?;
/// let store = Store::new(directory.path(), Duration::from_secs(10));
/// let spec = PoolSpec {
///     subnet: "192.168.0.0/24".into(),
///     ips: vec!["192.168.0.156-192.168.0.160".into()],
///     default: Some(true),
///     ..PoolSpec::default()
/// };
/// store.apply(&Declared::pools([Pool::new("master-192", &spec)?]))?;
///
/// let attachment = Attachment {
///     network: "ipvlan-eth1".parse()?,
///     container: "4f0e".parse()?,
///     ifname: "eth0".parse()?,
/// };
/// let asker = Asker::new("master".parse()?, "kube-system/ipvlan-eth1".parse()?);
/// let demand = Demand::new(attachment.clone(), asker);
/// let grants = store.allocate(&Request { demand, netns: None })?;
/// assert_eq!(grants[0].lease.address.to_string(), "192.168.0.156");
/// assert_eq!(store.release(&attachment)?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store {
    location: Location,
    policy: Policy,
    clock: Clock,
    watcher: Watcher,
    room: Option<PathBuf>,
}

type Clock = Arc<dyn Fn() -> Stamp + Send + Sync>;
type Watcher = Arc<dyn Fn(&Lease, WhyFreed) + Send + Sync>;

/// What an attachment asks for, and what is remembered about it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who asks for what.
    pub demand: Demand,
    /// The network namespace, where the runtime told.
    pub netns: Option<NetnsRef>,
}

/// An address that was handed out, with the pool it came from as it was at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The address and its holder.
    pub lease: Lease,
    /// The pool, for prefix length, gateway and routes.
    pub pool: Pool,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("location", &self.location).finish_non_exhaustive()
    }
}

impl Store {
    /// The store in `directory`, whose lock is waited for at most `patience`. Touches nothing.
    ///
    /// Its policy is [`Policy::default`], its clock [`crate::now`].
    pub fn new(directory: impl Into<PathBuf>, patience: Duration) -> Self {
        Self {
            location: Location { directory: directory.into(), patience },
            policy: Policy::default(),
            clock: Arc::new(clock::now),
            watcher: Arc::new(|_, _| {}),
            room: None,
        }
    }

    /// The same store, whose allocations and releases, while they wait for the lock, are decided by
    /// who has it, many in one transaction. For that they leave what they ask for in `room`, a
    /// directory in memory that only this user may enter, and which is made if need be; see
    /// [`default_room`](crate::default_room). Processes with other rooms wait for each other all the
    /// same, and so do all if the room cannot be used.
    #[must_use]
    pub fn with_room(self, room: impl Into<PathBuf>) -> Self {
        Self { room: Some(room.into()), ..self }
    }

    /// The same store under another policy.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The same store with another clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> Stamp + Send + Sync + 'static) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// The same store, which tells `watcher` of each lease that it has freed although nobody
    /// released it: once it is durable, for a log.
    #[must_use]
    pub fn with_watcher(self, watcher: impl Fn(&Lease, WhyFreed) + Send + Sync + 'static) -> Self {
        Self { watcher: Arc::new(watcher), ..self }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.location.directory
    }

    /// Stores pools and reserved addresses, all or none, and creates the store if there never was
    /// one in its directory. Answers what became of each.
    ///
    /// # Errors
    ///
    /// [`ApplyError::Rejected`] names each pool that breaks a rule of [`ipam_core::apply`]:
    /// correct the documents. [`ApplyError::Store`] if nothing could be stored;
    /// [`Error::needs_rebuild`] if there was a store and it has to be rebuilt first.
    pub fn apply(&self, wanted: &Declared) -> Result<Changes, ApplyError> {
        self.apply_where(wanted, &[])
    }

    /// Hands out the addresses that [`ipam_core::decide`] chooses for the demand, all or none.
    ///
    /// # Errors
    ///
    /// [`AllocateError::Refused`] says why the demand cannot be met, for each pool; what the
    /// attachment may hold already stays as it is. [`AllocateError::Store`] if the store failed.
    pub fn allocate(&self, request: &Request) -> Result<Vec<Grant>, AllocateError> {
        self.allocate_all(std::slice::from_ref(&request.demand), request.netns.as_ref())
    }

    /// As [`Self::allocate`] for several demands that are one decision: all get theirs, or none.
    /// They may be of one attachment, which then gets several addresses; all holders live in the
    /// same namespace. The grants are in the order of the demands.
    ///
    /// # Errors
    ///
    /// As [`Self::allocate`].
    pub fn allocate_all(
        &self,
        demands: &[Demand],
        netns: Option<&NetnsRef>,
    ) -> Result<Vec<Grant>, AllocateError> {
        let what =
            || What::Allocate { demands: demands.into(), netns: netns.cloned(), pools: None };
        match self.turn(Growth::Blocks, what)? {
            Turn::Answered(answer) => Ok(answer.granted()),
            Turn::Own(opened) => self.decide(opened, demands, |register, policy, now| {
                transaction::allocate(register, demands, netns, policy, now)
            }),
        }
    }

    /// One transaction that hands addresses out, for these demands and to those who wait.
    pub(crate) fn decide(
        &self,
        opened: Opened,
        demands: &[Demand],
        work: impl Fn(&mut Register<'_>, &Policy, &Stamp) -> Result<Done<Vec<Grant>>, Undecided>,
    ) -> Result<Vec<Grant>, AllocateError> {
        let path = opened.path().to_path_buf();
        spare::keep(&path).map_err(io_error("keep space for releases in", &path))?;
        let own: Vec<_> = demands.iter().map(|demand| &demand.attachment).collect();
        let work = |register: &mut Register<'_>, now: &Stamp| work(register, &self.policy, now);
        let outcome = self.transact_together(opened, Growth::Blocks, Scope::All, &own, work);
        outcome.map_err(|error| match error {
            Undecided::Refused(refused) => AllocateError::Refused(refused),
            Undecided::Store(error) => error.into(),
            Undecided::Fault(fault) => fault.at("write to", &path).into(),
        })
    }

    /// Frees the leases that [`ipam_core::reclaim`] finds dead by the facts, and answers them, with
    /// those that a new boot of the node has just ended.
    ///
    /// Gather the facts before, without holding anything: [`Facts::snapshot`] keeps what was
    /// allocated meanwhile.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: nothing was freed.
    pub fn reclaim(&self, facts: &Facts) -> Result<Vec<(Lease, WhyFreed)>, Error> {
        self.reclaim_with(facts, |_| &self.policy)
    }

    /// As [`Self::reclaim`], where each lease has a policy of its own: how long its address rests is
    /// a rule of the network that it was held in. All are freed in one transaction.
    ///
    /// # Errors
    ///
    /// As [`Self::reclaim`].
    pub fn reclaim_with<'p>(
        &self,
        facts: &Facts,
        policy_of: impl Fn(&Lease) -> &'p Policy + 'p,
    ) -> Result<Vec<(Lease, WhyFreed)>, Error> {
        let opened = self.location.open(Growth::Blocks)?;
        let outcome = self.transact_by(&opened, &policy_of, |register, now| {
            transaction::free_dead(register, facts, &policy_of, now)
        });
        let ended = outcome.map_err(|fault| fault.at("write to", opened.path()))?;
        self.tell(&ended.answer);
        Ok([ended.freed, ended.answer].concat())
    }

    /// Lets an address that nobody holds rest, for instance in quarantine. Answers `false` if
    /// somebody holds it or `pool` is not stored.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: nothing changed.
    pub fn rest(&self, address: IpAddr, pool: &PoolName, rest: &Rest) -> Result<bool, Error> {
        let opened = self.location.open(Growth::Blocks)?;
        let outcome = self.transact(&opened, |register, _| {
            let is_stored = register.pools()?.iter().any(|known| known.name() == pool);
            let changed = is_stored && rows::lease(&register.leases, address)?.is_none();
            if changed {
                register.rest_for(address, pool, rest)?;
            }
            Ok::<_, Fault>(Done { answer: changed, changed })
        });
        outcome.map_err(|fault| fault.at("write to", opened.path()))
    }

    /// Adds leases that others made: an import. One whose address is held already takes the place
    /// of that lease if `may_replace` says so. The others, and those whose address is in no pool,
    /// are not added, and answered.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: nothing changed.
    pub fn adopt(
        &self,
        leases: &[Lease],
        may_replace: impl Fn(&Lease) -> bool,
    ) -> Result<Vec<Lease>, Error> {
        let opened = self.location.open(Growth::Blocks)?;
        let outcome = self.transact(&opened, |register, _| {
            let mut left = Vec::new();
            for lease in leases {
                if !register.adopt(lease, &may_replace)? {
                    left.push(lease.clone());
                }
            }
            let changed = left.len() < leases.len();
            Ok::<_, Fault>(Done { answer: left, changed })
        });
        outcome.map_err(|fault| fault.at("write to", opened.path()))
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    pub(crate) fn room(&self) -> Option<&Path> {
        self.room.as_deref()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn now(&self) -> Stamp {
        (self.clock)()
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.location.file()
    }

    pub(crate) fn transact<T, E: From<Fault>>(
        &self,
        opened: &Opened,
        work: impl FnOnce(&mut Register<'_>, &Stamp) -> Result<Done<T>, E>,
    ) -> Result<T, E> {
        self.transact_by(opened, &|_| &self.policy, work).map(|ended| ended.answer)
    }

    fn transact_by<T, E: From<Fault>>(
        &self,
        opened: &Opened,
        policy_of: &PolicyOf<'_>,
        work: impl FnOnce(&mut Register<'_>, &Stamp) -> Result<Done<T>, E>,
    ) -> Result<Closed<T>, E> {
        let now = (self.clock)();
        let lock = opened.lock();
        let ended = transaction::transact(
            opened.database(),
            lock.noted(),
            policy_of,
            &now,
            || lock.unsettle(),
            |register| work(register, &now),
        )?;
        if let Some(revision) = ended.revision {
            lock.settle(revision);
        }
        self.tell(&ended.freed);
        Ok(ended)
    }

    fn tell(&self, freed: &[(Lease, WhyFreed)]) {
        for (lease, why) in freed {
            (self.watcher)(lease, *why);
        }
    }
}
