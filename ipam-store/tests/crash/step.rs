//! One operation, done as `Store` does it: open, one transaction, close.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::LazyLock;

use ipam_core::{
    Asker, Attachment, Demand, Facts, Lease, LiveNamespaces, Moment, NetnsRef, PodRef, Policy,
    PoolName, Rest, Stamp, StickyNames, Strategy,
};
use redb::{Database, ReadableDatabase as _, StorageBackend};

use crate::contents::Contents;
use crate::database::create_tables;
use crate::declared::Declared;
use crate::error::Undecided;
use crate::fault::{Fault, Outcome};
use crate::group::text_of;
use crate::history::Ended;
use crate::phased::Phased;
use crate::register::Register;
use crate::rows;
use crate::schema::NOTES_GROUP;
use crate::store::Grant;
use crate::transaction::{Done, allocate, free_dead, release, transact};

/// What a node's programs ask of the store.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Allocate {
        container: usize,
        pod: usize,
        requested: Vec<IpAddr>,
    },
    Release {
        container: usize,
    },
    /// The namespaces of these containers live.
    Reclaim {
        live: BTreeSet<usize>,
    },
    Quarantine {
        address: IpAddr,
    },
    Apply(Declared),
    /// One transaction for several processes, each with its own container.
    Group {
        id: u128,
        containers: Vec<usize>,
    },
    /// Maintenance, which closes the database in the library's own way.
    Verify,
    Compact,
}

/// An operation with its moment.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) now: Stamp,
    /// Whether the process is killed once it has answered.
    pub(super) killed: bool,
}

/// What an operation answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The revision it has committed, if it has changed anything.
    pub(super) revision: Option<u64>,
    pub(super) granted: Vec<Lease>,
    pub(super) released: Vec<Lease>,
}

/// What the lock file says: it outlives its holders, and is not synced.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) revision: Cell<u64>,
    pub(super) is_settled: Cell<bool>,
}

impl Note {
    pub(super) fn settled(revision: u64) -> Self {
        Self { revision: Cell::new(revision), is_settled: Cell::new(true) }
    }
}

pub(super) fn policy() -> Policy {
    Policy {
        strategy: Strategy::RoundRobin,
        cooldown_seconds: 30,
        sticky: StickyNames::Ordinal,
        sticky_seconds: 200,
        ..Policy::default()
    }
}

/// The same for every lease.
pub(super) fn policy_of(_: &Lease) -> &'static Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(policy);
    &POLICY
}

pub(super) fn attachment(container: usize) -> Attachment {
    Attachment {
        network: "ipvlan-eth0".parse().unwrap(),
        container: format!("{container:064x}").parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

/// Every third pod is of a `StatefulSet`: its addresses wait for it. Two pods of one number are
/// the same pod, and the later takes the addresses of the earlier over.
pub(super) fn demand(container: usize, pod: usize, requested: Vec<IpAddr>) -> Demand {
    let asker = Asker::new("node-1".parse().unwrap(), "kube-system/ipvlan-eth0".parse().unwrap());
    let name = if pod.is_multiple_of(3) { format!("web-{pod}") } else { format!("job-{pod}-x") };
    let uid = Some(format!("5f2c6d0e-0000-4000-8000-{pod:012}"));
    let pod = PodRef { namespace: "default".into(), name, uid };
    Demand { pod: Some(pod), requested, ..Demand::new(attachment(container), asker) }
}

fn netns(container: usize) -> NetnsRef {
    let inode = Some(4_026_530_000 + container as u64);
    NetnsRef { path: format!("/var/run/netns/cni-{container:08}"), inode }
}

/// A database as `Store` creates it.
pub(super) fn create(storage: impl StorageBackend, contents: &Contents) -> Phased {
    let database = Phased::open(storage, true).unwrap();
    create_tables(database.database(), 0, |register| contents.write(register)).unwrap();
    database
}

/// Does one operation. `answered` is called when `Store` would return success and before the
/// database is dropped.
pub(super) fn perform(
    storage: impl StorageBackend,
    step: &Step,
    note: &Note,
    answered: impl FnOnce(&Database, &Answer),
) -> Outcome<Answer> {
    let mut phased = Phased::open(storage, note.is_settled.get())?;
    note.is_settled.set(true);
    let unsettle = || {
        note.is_settled.set(false);
        Ok(())
    };
    if let Operation::Verify | Operation::Compact = step.operation {
        note.is_settled.set(false);
    }
    if let Operation::Verify = step.operation {
        assert!(phased.database_mut().check_integrity().map_err(Fault::from)?);
    }
    if let Operation::Compact = step.operation {
        phased.database_mut().compact().map_err(|error| match error {
            redb::CompactionError::Storage(error) => Fault::from(error),
            other => panic!("{other}"),
        })?;
        answered(phased.database(), &Answer::default());
        phased.close_cleanly();
        return Ok(Answer::default());
    }
    let mut answer = Answer::default();
    let (noted, now) = (Some(note.revision.get()), &step.now);
    let ended = transact(phased.database(), noted, &policy_of, now, unsettle, |register| {
        work(register, &step.operation, now, &mut answer)
    });
    match ended {
        Ok(ended) => answer.revision = ended.revision,
        Err(Undecided::Refused(_)) => answer = Answer::default(),
        Err(Undecided::Fault(fault)) => return Err(fault),
        Err(Undecided::Store(error)) => unreachable!("no file is looked at: {error}"),
    }
    if let Some(revision) = answer.revision {
        note.revision.set(revision);
        note.is_settled.set(true);
    }
    answered(phased.database(), &answer);
    if let Operation::Verify = step.operation {
        note.is_settled.set(false);
        phased.close_cleanly();
    }
    Ok(answer)
}

fn work(
    register: &mut Register<'_>,
    operation: &Operation,
    now: &Stamp,
    answer: &mut Answer,
) -> Result<Done<()>, Undecided> {
    let changed = match operation {
        Operation::Allocate { container, pod, requested } => {
            let demand = demand(*container, *pod, requested.clone());
            let netns = netns(*container);
            let Done { answer: grants, changed } =
                allocate(register, std::slice::from_ref(&demand), Some(&netns), &policy(), now)?;
            answer.granted = grants.into_iter().map(|Grant { lease, .. }| lease).collect();
            changed
        }
        Operation::Release { container } => {
            let done = release(register, &attachment(*container), Ended::Released, &policy(), now)?;
            answer.released = done.answer;
            done.changed
        }
        Operation::Reclaim { live } => {
            let done = free_dead(register, &facts(live, now), &policy_of, now)?;
            answer.released = done.answer.into_iter().map(|(lease, _)| lease).collect();
            done.changed
        }
        Operation::Quarantine { address } => {
            let is_held = rows::lease(&register.leases, *address)?.is_some();
            let pools = register.pools()?;
            let pool = pools.iter().find(|pool| pool.assignable().contains(*address));
            let pool: Option<&PoolName> = pool.filter(|_| !is_held).map(ipam_core::Pool::name);
            if let Some(pool) = pool {
                let until = now.moment.after(60);
                let rest = Rest::quarantine("ARP probe".into(), now.moment, until);
                register.rest_for(*address, pool, &rest)?;
            }
            pool.is_some()
        }
        Operation::Apply(declared) => {
            let stored = register.contents()?;
            let (changes, merged) = declared.merge(stored.declared(), &stored.leases).unwrap();
            if changes.are_some() {
                register.declare(&merged)?;
            }
            changes.are_some()
        }
        Operation::Group { id, containers } => {
            for container in containers {
                let demand = demand(*container, *container, Vec::new());
                allocate(register, &[demand], None, &policy(), now)?;
            }
            register.notes.insert(NOTES_GROUP, text_of(*id).as_str()).map_err(Fault::from)?;
            true
        }
        Operation::Verify | Operation::Compact => {
            assert_eq!(register.check_indexes()?, Vec::<String>::new());
            false
        }
    };
    Ok(Done { answer: (), changed })
}

fn facts(live: &BTreeSet<usize>, now: &Stamp) -> Facts {
    let (inodes, paths) = live
        .iter()
        .map(|container| netns(*container))
        .map(|NetnsRef { path, inode }| (inode.unwrap(), path))
        .unzip();
    Facts {
        boot: now.boot.clone(),
        now: now.moment,
        snapshot: now.moment,
        grace_seconds: 5,
        valid: None,
        namespaces: Some(LiveNamespaces { inodes, paths }),
        alive: BTreeSet::new(),
    }
}

/// Everything that a database says.
pub(super) fn contents(database: &Database) -> Outcome<Contents> {
    Contents::read(&database.begin_read()?)
}

/// Opens the disk and answers what is on it, if each index agrees with it and each page is whole.
pub(super) fn examine(storage: impl StorageBackend) -> Result<Contents, String> {
    let text = |fault: Fault| format!("{fault:?}");
    let mut phased = Phased::open(storage, true).map_err(|error| text(error.into()))?;
    let found = contents(phased.database()).map_err(text)?;
    let now = Stamp { boot: found.boot.clone(), moment: found.moment, unix_seconds: 0 };
    let faults = transact(
        phased.database(),
        None,
        &policy_of,
        &now,
        || Ok(()),
        |register| {
            let answer = register.check_indexes()?;
            Ok::<_, Fault>(Done { answer, changed: false })
        },
    );
    let faults = faults.map_err(text)?.answer;
    if !faults.is_empty() {
        return Err(faults.join("; "));
    }
    match phased.database_mut().check_integrity() {
        Ok(true) => Ok(found),
        other => Err(format!("the check of all pages answers {other:?}")),
    }
}

/// A moment of this boot.
pub(super) fn stamp(boot: usize, seconds: u64) -> Stamp {
    let boot = format!("d6b4ea0c-0000-4000-8000-{boot:012}");
    Stamp {
        boot: Some(boot.parse().unwrap()),
        moment: Moment(seconds),
        unix_seconds: 1_790_000_000 + seconds,
    }
}
