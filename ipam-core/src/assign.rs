//! The decision: demands, pools and what is held in, addresses out. The only place that chooses
//! one.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addr::Family;
use crate::decision::{Decision, Grant, NotDecided, Origin};
use crate::demand::Demand;
use crate::hints::Source;
use crate::lease::Moment;
use crate::ledger::Ledger;
use crate::policy::{Policy, WhenOnlyCooling};
use crate::pool::Pool;
use crate::refused::{NoPool, PoolState, Refused, RequestReason};
use crate::select::{Refusal, candidates, select};

mod free;
mod own;

/// The addresses for all demands, or none.
///
/// Each demand gets one address of each family that it needs: those it requests, those for which
/// its source names pools, those it requires, and those for which a default pool may be used. In
/// this order: the address it requests, one that is kept for its pod, the one that an earlier
/// sandbox of its pod holds, one that waits for its pod, and else what [`Policy::strategy`] chooses
/// from the first pool that has a free one. Every address belongs to a pool that may be used now,
/// whoever held it before.
///
/// # Errors
///
/// [`NotDecided::Refused`] says which demand of the user's cannot be met, and why.
/// [`NotDecided::Ledger`] is the ledger's own failure.
pub fn decide<'a, L: Ledger>(
    demands: &[Demand],
    pools: &'a [Pool],
    policy: &Policy,
    now: Moment,
    ledger: &L,
) -> Result<Decision<'a>, NotDecided<L::Error>> {
    let mut deciding = Deciding {
        pools,
        policy,
        now,
        ledger,
        woken: BTreeSet::new(),
        asked: BTreeSet::new(),
        taken: BTreeSet::new(),
        grants: Vec::new(),
    };
    for (index, demand) in demands.iter().enumerate() {
        deciding.meet(index, demand)?;
    }
    let taken = deciding.taken;
    let woken = deciding.woken.into_iter().filter(|address| !taken.contains(address)).collect();
    Ok(Decision { woken, grants: deciding.grants })
}

struct Deciding<'d, 'a, L> {
    pools: &'a [Pool],
    policy: &'d Policy,
    now: Moment,
    ledger: &'d L,
    /// Addresses whose rest was found to be over: free, though the ledger does not say so yet.
    woken: BTreeSet<IpAddr>,
    /// Pools whose resting addresses were looked through.
    asked: BTreeSet<&'a str>,
    /// Addresses given already.
    taken: BTreeSet<IpAddr>,
    grants: Vec<Grant<'a>>,
}

type Found<'a> = Option<(IpAddr, &'a Pool, Origin)>;

impl<'a, L: Ledger> Deciding<'_, 'a, L> {
    fn meet(&mut self, index: usize, demand: &Demand) -> Result<(), NotDecided<L::Error>> {
        let leases = self.ledger.held_by(&demand.attachment)?;
        if !leases.is_empty() {
            let attachment = Box::new(demand.attachment.clone());
            return Err(refused(Refused::AlreadyHeld { attachment, leases }));
        }
        let mut candidates = candidates(self.pools, &demand.source, &demand.asker, drop);
        // Stable: within a family the best stay first.
        candidates.sort_by_key(|pool| pool.family());
        let (v4, v6) =
            candidates.split_at(candidates.partition_point(|pool| pool.family() == Family::V4));
        let mut found_any = false;
        for (family, candidates) in [(Family::V4, v4), (Family::V6, v6)] {
            let requested = requested_of(demand, family)?;
            if requested.is_none() && candidates.is_empty() {
                if is_required(demand, family) {
                    return Err(no_pool(self.pools, demand, Some(family)));
                }
                continue;
            }
            let found = self.find(demand, requested, candidates)?;
            let Some((address, pool, origin)) = found else {
                return Err(self.exhausted(family, candidates)?);
            };
            self.taken.insert(address);
            self.grants.push(Grant { demand: index, address, pool, origin });
            found_any = true;
        }
        if found_any { Ok(()) } else { Err(no_pool(self.pools, demand, None)) }
    }

    fn find(
        &mut self,
        demand: &Demand,
        requested: Option<IpAddr>,
        candidates: &[&'a Pool],
    ) -> Result<Found<'a>, NotDecided<L::Error>> {
        if let Some(address) = requested {
            return self.request(demand, address, candidates).map(Some);
        }
        if let Some(found) = self.pinned(demand, candidates)? {
            return Ok(Some(found));
        }
        if let Some(found) = self.take_over(demand, candidates)? {
            return Ok(Some(found));
        }
        if let Some(found) = self.give_back(demand, candidates)? {
            return Ok(Some(found));
        }
        for &pool in candidates {
            if let Some(address) = self.choose(pool)? {
                return Ok(Some((address, pool, Origin::Chosen)));
            }
        }
        if self.policy.when_only_cooling == WhenOnlyCooling::Refuse {
            return Ok(None);
        }
        for &pool in candidates {
            if let Some((address, _)) = self.next_cooling(pool)? {
                return Ok(Some((address, pool, Origin::Early)));
            }
        }
        Ok(None)
    }

    fn exhausted(
        &self,
        family: Family,
        candidates: &[&'a Pool],
    ) -> Result<NotDecided<L::Error>, NotDecided<L::Error>> {
        let mut pools = Vec::new();
        for pool in candidates {
            let next = self.next_cooling(pool)?;
            pools.push(PoolState {
                pool: pool.name().clone(),
                total: pool.assignable().size(),
                counts: self.ledger.counts(pool)?,
                pinned: pool.pinned().size(),
                next_in_seconds: next.map(|(_, rest)| rest.until.seconds_since(self.now)),
            });
        }
        Ok(refused(Refused::Exhausted { family, pools }))
    }
}

fn refused<E>(reason: Refused) -> NotDecided<E> {
    NotDecided::Refused(Box::new(reason))
}

/// The requested address of a family.
fn requested_of<E>(demand: &Demand, family: Family) -> Result<Option<IpAddr>, NotDecided<E>> {
    let mut of_family = demand.requested.iter().copied().filter(|a| Family::of(*a) == family);
    let first = of_family.next();
    match of_family.find(|address| Some(*address) != first) {
        None => Ok(first),
        Some(address) => {
            let reason = RequestReason::SecondOfFamily;
            Err(refused(Refused::Request { address, reason }))
        }
    }
}

fn is_required(demand: &Demand, family: Family) -> bool {
    let is_named = match (&demand.source, family) {
        (Source::Defaults, _) => false,
        (Source::Named(named), Family::V4) => !named.v4.is_empty(),
        (Source::Named(named), Family::V6) => !named.v6.is_empty(),
    };
    is_named || demand.required.contains(&family)
}

fn no_pool<E>(pools: &[Pool], demand: &Demand, family: Option<Family>) -> NotDecided<E> {
    let refusals = select(pools, &demand.source, &demand.asker).refusals;
    refused(Refused::NoPool(NoPool {
        family,
        node: demand.asker.node.clone(),
        network: demand.asker.network.clone(),
        refusals: refusals.into_iter().map(Refusal::into_owned).collect(),
    }))
}
