//! One decision: one transaction from its begin to its durable end.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use ipam_core::{
    Attachment, Demand, Facts, Lease, Ledger, NetnsRef, NotDecided, Policy, Refused, Stamp,
    WhyFreed, decide, reclaim,
};
use redb::{Database, WriteTransaction};

use crate::database::{begin, check_revision};
use crate::error::Undecided;
use crate::fault::{Fault, Outcome};
use crate::history::Ended;
use crate::migrate::{migrate, take_departed};
use crate::register::Register;
use crate::rows;
use crate::schema::META_REVISION;
use crate::store::Grant;

/// What a piece of work answers, and whether it has written something.
pub(crate) struct Done<T> {
    pub(crate) answer: T,
    pub(crate) changed: bool,
}

/// By which policy a lease that ends rests: that of the network that it was held in.
pub(crate) type PolicyOf<'p> = dyn Fn(&Lease) -> &'p Policy + 'p;

/// What became of a transaction.
pub(crate) struct Closed<T> {
    pub(crate) answer: T,
    /// The revision that the database has now, if anything was committed.
    pub(crate) revision: Option<u64>,
    /// The leases that a new boot of the node ended.
    pub(crate) freed: Vec<(Lease, WhyFreed)>,
}

/// Brings the file to this format, does what a new boot and other programs' releases ask for, then
/// `work`, then commits, if there is anything to commit.
///
/// `before_commit` is called before anything is written that a death would leave half durable.
///
/// A failure leaves the database as it was before; the caller must not write to it again, since
/// what a failed commit left in the library's memory is not what is on the disk.
pub(crate) fn transact<T, E: From<Fault>>(
    database: &Database,
    noted: Option<u64>,
    policy_of: &PolicyOf<'_>,
    now: &Stamp,
    before_commit: impl FnOnce() -> io::Result<()>,
    work: impl FnOnce(&mut Register<'_>) -> Result<Done<T>, E>,
) -> Result<Closed<T>, E> {
    let transaction = begin(database)?;
    let (mut register, Done { answer: ended, changed: is_caught_up }) =
        caught_up(&transaction, noted, policy_of, now)?;
    let Done { answer, changed } = work(&mut register)?;
    if !(changed || is_caught_up) {
        return Ok(Closed { answer, revision: None, freed: Vec::new() });
    }
    let revision = register.close(now.moment)?;
    before_commit().map_err(Fault::note)?;
    transaction.commit().map_err(Fault::from)?;
    let freed = ended.into_iter().map(|lease| (lease, WhyFreed::EarlierBoot));
    Ok(Closed { answer, revision: Some(revision), freed: freed.collect() })
}

/// The tables as every decision finds them: in this format, after what a new boot and other
/// programs' releases ask for; and the leases that a new boot ended.
fn caught_up<'t>(
    transaction: &'t WriteTransaction,
    noted: Option<u64>,
    policy_of: &PolicyOf<'_>,
    now: &Stamp,
) -> Outcome<(Register<'t>, Done<Vec<Lease>>)> {
    migrate(transaction)?;
    let mut register = Register::open(transaction)?;
    check_revision(rows::number(&register.meta, META_REVISION)?, noted)?;
    let departed = take_departed(transaction)?;
    let entered = register.enter_boot(policy_of, now)?;
    for attachment in &departed {
        register.release(attachment, Ended::Released, policy_of, now)?;
    }
    let changed = entered.is_new || !departed.is_empty();
    Ok((register, Done { answer: entered.ended, changed }))
}

/// Why demands would be refused now, after what is dead by the facts is freed. Nothing is
/// committed.
pub(crate) fn refusal(
    database: &Database,
    noted: Option<u64>,
    demands: &[Demand],
    facts: Option<&Facts>,
    policy: &Policy,
    now: &Stamp,
) -> Outcome<Option<Box<Refused>>> {
    let transaction = begin(database)?;
    let (mut register, _) = caught_up(&transaction, noted, &|_| policy, now)?;
    if let Some(facts) = facts {
        free_dead(&mut register, facts, &|_| policy, now)?;
    }
    let asked = asked(&register, demands)?;
    match decide(&asked, &register.pools()?, policy, now.moment, &register) {
        Ok(_) => Ok(None),
        Err(NotDecided::Refused(refused)) => Ok(Some(refused)),
        Err(NotDecided::Ledger(fault)) => Err(fault),
    }
}

/// Decides demands and writes the decision down.
pub(crate) fn allocate(
    register: &mut Register<'_>,
    demands: &[Demand],
    netns: Option<&NetnsRef>,
    policy: &Policy,
    now: &Stamp,
) -> Result<Done<Vec<Grant>>, Undecided> {
    let pools = register.pools()?;
    let asked = asked(register, demands)?;
    let decision = decide(&asked, &pools, policy, now.moment, register)?;
    for address in &decision.woken {
        register.wake(*address)?;
    }
    let mut grants = Vec::with_capacity(decision.grants.len());
    for grant in &decision.grants {
        let lease = grant.lease(&demands[grant.demand], netns, now);
        register.give(grant, &lease)?;
        grants.push(Grant { lease, pool: grant.pool.clone() });
    }
    Ok(Done { answer: grants, changed: true })
}

/// The demands as they are decided.
fn asked(register: &Register<'_>, demands: &[Demand]) -> Outcome<Vec<Demand>> {
    demands.iter().map(|demand| without_living_predecessor(register, demand)).collect()
}

/// The demand, without the pod's uid if an earlier sandbox of that pod still lives: its address is on
/// an interface, and nobody may take it over.
fn without_living_predecessor(register: &Register<'_>, demand: &Demand) -> Outcome<Demand> {
    let mut asked = demand.clone();
    if let Some(pod) = &mut asked.pod
        && let Some(uid) = &pod.uid
    {
        let Attachment { network, ifname, .. } = &demand.attachment;
        let lives = |lease: &Lease| lease.netns.as_ref().is_some_and(is_there);
        if register.held_by_pod(uid, network, ifname)?.iter().any(lives) {
            pod.uid = None;
        }
    }
    Ok(asked)
}

/// Whether a namespace is still where it was.
fn is_there(netns: &NetnsRef) -> bool {
    let found = fs::metadata(&netns.path).map(|metadata| metadata.ino()).ok();
    found.is_some() && found == netns.inode
}

/// Ends what an attachment holds.
pub(crate) fn release(
    register: &mut Register<'_>,
    attachment: &Attachment,
    ended: Ended,
    policy: &Policy,
    now: &Stamp,
) -> Outcome<Done<Vec<Lease>>> {
    let leases = register.release(attachment, ended, &|_| policy, now)?;
    Ok(Done { changed: leases.is_some(), answer: leases.unwrap_or_default() })
}

/// Ends the leases that are dead by the facts, each as its policy has it.
pub(crate) fn free_dead(
    register: &mut Register<'_>,
    facts: &Facts,
    policy_of: &PolicyOf<'_>,
    now: &Stamp,
) -> Outcome<Done<Vec<(Lease, WhyFreed)>>> {
    let leases = register.leases()?;
    let freed = reclaim(&leases, facts).freed;
    let mut answer = Vec::with_capacity(freed.len());
    for (lease, why) in freed {
        register.end(lease, Ended::Freed(why), policy_of(lease), now)?;
        answer.push((lease.clone(), why));
    }
    let changed = !answer.is_empty();
    Ok(Done { answer, changed })
}
