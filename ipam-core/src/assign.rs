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
use crate::lease::{Lease, Moment};
use crate::ledger::Ledger;
use crate::owner::PodRef;
use crate::policy::{Policy, Strategy, WhenOnlyCooling};
use crate::pool::Pool;
use crate::range::AddressRange;
use crate::refused::{NoPool, PoolState, Refused, RequestReason};
use crate::rest::{Rest, RestKind, RestReason};
use crate::select::{Refusal, by_name, candidates, refusal, select};
use crate::sticky::StickyKey;

/// The addresses for all demands, or none.
///
/// Each demand gets one address of each family that it needs: those it requests, those for which
/// its source names pools, those it requires, and those for which a default pool may be used. In
/// this order: the address it requests, one that is kept for its pod, the one that an earlier sandbox
/// of its pod holds, one that waits for its pod, and else what [`Policy::strategy`] chooses from the first pool that has a
/// free one. Every address belongs to a pool that may be used now, whoever held it before.
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

    /// The requested address, or the reason why it cannot be had.
    fn request(
        &mut self,
        demand: &Demand,
        address: IpAddr,
        candidates: &[&'a Pool],
    ) -> Result<(IpAddr, &'a Pool, Origin), NotDecided<L::Error>> {
        let refuse = |reason| Err(refused(Refused::Request { address, reason }));
        if self.taken.contains(&address) {
            return refuse(RequestReason::TakenBefore);
        }
        let Some(pool) = candidates.iter().copied().find(|pool| pool.claims(address)) else {
            let claiming = self.pools.iter().find(|pool| pool.claims(address));
            let excluding = candidates.iter().find(|pool| pool.excludes(address));
            return refuse(match (claiming, excluding) {
                (None, Some(pool)) => RequestReason::Excluded { pool: pool.name().clone() },
                (claiming, _) => RequestReason::NoPool {
                    refused: claiming.map(|pool| Box::new(refused_pool(pool, demand))),
                },
            });
        };
        if pool.reserved().contains(address) {
            return refuse(RequestReason::Reserved);
        }
        if let Some(pin) = pool.pin_against(address, demand) {
            return refuse(RequestReason::Pinned { pin: Box::new(pin.clone()) });
        }
        if let Some(lease) = self.ledger.lease(address)? {
            // The pod's own address, held by its earlier sandbox, is nobody else's.
            if is_predecessor(&lease, demand) {
                return Ok((address, pool, Origin::TakenOver { from: Box::new(lease) }));
            }
            return refuse(RequestReason::Held { lease: Box::new(lease) });
        }
        if let Some(rest) = self.ledger.rest(address)?
            && !self.may_end(&rest, demand)
            && !(pool.is_kept_for(address, demand) && self.yields_to_pin(&rest))
        {
            let seconds = rest.until.seconds_since(self.now);
            return refuse(RequestReason::Resting { rest, seconds });
        }
        Ok((address, pool, Origin::Requested))
    }

    /// Whether a rest gives way to a demand for that very address.
    fn may_end(&self, rest: &Rest, demand: &Demand) -> bool {
        if rest.is_over(self.now) {
            return true;
        }
        match &rest.reason {
            RestReason::Cooldown => self.policy.when_only_cooling == WhenOnlyCooling::TakeOldest,
            RestReason::Quarantine { .. } => false,
            RestReason::Sticky { key } => {
                StickyKey::new(demand.pod.as_ref(), &demand.attachment).as_ref() == Some(key)
            }
        }
    }

    /// Whether a rest gives way to the pod that the address is kept for.
    fn yields_to_pin(&self, rest: &Rest) -> bool {
        rest.is_over(self.now) || !matches!(rest.reason, RestReason::Quarantine { .. })
    }

    /// An address that is kept for the pod. If somebody else holds it still, the pod gets another
    /// one, as if nothing were kept for it.
    fn pinned(
        &self,
        demand: &Demand,
        candidates: &[&'a Pool],
    ) -> Result<Found<'a>, NotDecided<L::Error>> {
        for &pool in candidates {
            let kept = pool.kept_for(demand);
            // Turns once more only for each that is held or given.
            for address in kept.ranges().iter().flat_map(AddressRange::addresses) {
                if self.taken.contains(&address) {
                    continue;
                }
                if let Some(lease) = self.ledger.lease(address)? {
                    if is_predecessor(&lease, demand) {
                        return Ok(Some((
                            address,
                            pool,
                            Origin::TakenOver { from: Box::new(lease) },
                        )));
                    }
                    continue;
                }
                if self.ledger.rest(address)?.is_none_or(|rest| self.yields_to_pin(&rest)) {
                    return Ok(Some((address, pool, Origin::Pinned)));
                }
            }
        }
        Ok(None)
    }

    /// An address that an earlier sandbox of the same pod holds on the same interface.
    fn take_over(
        &self,
        demand: &Demand,
        candidates: &[&'a Pool],
    ) -> Result<Found<'a>, NotDecided<L::Error>> {
        let Some(uid) = demand.pod.as_ref().and_then(|pod| pod.uid.as_deref()) else {
            return Ok(None);
        };
        let attachment = &demand.attachment;
        for lease in self.ledger.held_by_pod(uid, &attachment.network, &attachment.ifname)? {
            let pool =
                by_name(candidates, &lease.pool).filter(|pool| pool.allows(lease.address, demand));
            if let Some(pool) = pool
                && is_predecessor(&lease, demand)
                && !self.taken.contains(&lease.address)
            {
                let origin = Origin::TakenOver { from: Box::new(lease.clone()) };
                return Ok(Some((lease.address, pool, origin)));
            }
        }
        Ok(None)
    }

    /// An address that waits for the pod by its name.
    fn give_back(
        &self,
        demand: &Demand,
        candidates: &[&'a Pool],
    ) -> Result<Found<'a>, NotDecided<L::Error>> {
        let key = StickyKey::new(demand.pod.as_ref(), &demand.attachment);
        let Some(key) = key.filter(|key| self.policy.sticky.covers(key)) else {
            return Ok(None);
        };
        for address in self.ledger.waiting_for(&key)? {
            // Not what the earlier pod had asked for: this one has to ask for it again.
            let pool = candidates.iter().find(|pool| pool.assignable().contains(address));
            if let Some(&pool) = pool.filter(|_| !self.taken.contains(&address)) {
                return Ok(Some((address, pool, Origin::Returned)));
            }
        }
        Ok(None)
    }

    /// A free address of the pool, by the strategy.
    fn choose(&mut self, pool: &'a Pool) -> Result<Option<IpAddr>, NotDecided<L::Error>> {
        self.wake(pool)?;
        let Some(lowest) = pool.assignable().ranges().first().map(AddressRange::first) else {
            return Ok(None);
        };
        let start = match self.policy.strategy {
            Strategy::Lowest | Strategy::OldestReleased => None,
            Strategy::RoundRobin => {
                self.ledger.last_given(pool)?.and_then(|last| pool.assignable().above(last))
            }
            Strategy::Random { seed } => {
                let draw = scatter(seed, self.grants.len());
                pool.assignable().at(draw % pool.assignable().size())
            }
        };
        if let Some(start) = start
            && let Some(address) = self.first_free(pool, start)?
        {
            return Ok(Some(address));
        }
        if let Some(address) = self.first_free(pool, lowest)? {
            return Ok(Some(address));
        }
        // With this strategy released addresses stay in their queue, in the order of release.
        if self.policy.strategy == Strategy::OldestReleased {
            let next = self.next_cooling(pool)?.filter(|(_, rest)| rest.is_over(self.now));
            return Ok(next.map(|(address, _)| address));
        }
        Ok(None)
    }

    /// The lowest address from `from` on that is free or has been woken, and not given yet.
    fn first_free(
        &self,
        pool: &Pool,
        from: IpAddr,
    ) -> Result<Option<IpAddr>, NotDecided<L::Error>> {
        let in_pool = |address: &IpAddr| {
            pool.assignable().contains(*address) && !self.taken.contains(address)
        };
        let woken = self.woken.range(from..).copied().find(in_pool);
        let mut from = from;
        // Turns at most once for each address given in this decision.
        let free = loop {
            match self.ledger.first_free(pool, from)? {
                Some(address) if self.taken.contains(&address) => {
                    match pool.assignable().above(address) {
                        Some(next) => from = next,
                        None => break None,
                    }
                }
                found => break found,
            }
        };
        Ok([woken, free].into_iter().flatten().min())
    }

    /// The cooling address of the pool that was released first, over or not.
    fn next_cooling(&self, pool: &Pool) -> Result<Option<(IpAddr, Rest)>, NotDecided<L::Error>> {
        let mut after = None;
        // Turns at most once for each address given in this decision and each that the pool has
        // lost since its release; those leave the queue when their rest is over.
        while let Some((address, rest)) =
            self.ledger.next_resting(pool, RestKind::Cooldown, after)?
        {
            if pool.assignable().contains(address) && !self.taken.contains(&address) {
                return Ok(Some((address, rest)));
            }
            after = Some((rest.until, address));
        }
        Ok(None)
    }

    /// Finds the resting addresses of the pool whose time is over. Each release adds at most one,
    /// so that the cost of a decision stays constant on average.
    fn wake(&mut self, pool: &'a Pool) -> Result<(), NotDecided<L::Error>> {
        if !self.asked.insert(pool.name().as_str()) {
            return Ok(());
        }
        for kind in [RestKind::Cooldown, RestKind::Quarantine, RestKind::Sticky] {
            let is_queue =
                kind == RestKind::Cooldown && self.policy.strategy == Strategy::OldestReleased;
            let mut after = None;
            while let Some((address, rest)) = self.ledger.next_resting(pool, kind, after)? {
                if !rest.is_over(self.now) {
                    break;
                }
                // Those that the pool has lost leave the head of the queue, the others stay.
                if is_queue && pool.assignable().contains(address) {
                    break;
                }
                self.woken.insert(address);
                after = Some((rest.until, address));
            }
        }
        Ok(())
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

/// Whether the lease is that of another sandbox of the demand's pod, on the same interface.
fn is_predecessor(lease: &Lease, demand: &Demand) -> bool {
    // An empty uid is nobody's: a runtime that leaves it out may write it so.
    let uid = |pod: Option<&PodRef>| pod?.uid.clone().filter(|uid| !uid.is_empty());
    let (old, new) = (&lease.attachment, &demand.attachment);
    uid(lease.pod.as_ref()).is_some()
        && uid(lease.pod.as_ref()) == uid(demand.pod.as_ref())
        && old.container != new.container
        && (&old.network, &old.ifname) == (&new.network, &new.ifname)
}

fn refused_pool(pool: &Pool, demand: &Demand) -> Refusal<'static> {
    let reason = refusal(pool, &demand.asker);
    let reason = reason.unwrap_or(match demand.source {
        Source::Defaults => crate::select::RefusalReason::NotDefault,
        Source::Named(_) => crate::select::RefusalReason::NotNamed,
    });
    Refusal { pool: pool.name().as_str().into(), reason }.into_owned()
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

/// A number that looks random and follows from the seed and the number of the grant (`SplitMix64`,
/// twice, for 128 bits).
fn scatter(seed: u64, grant: usize) -> u128 {
    let mut state = seed ^ (grant as u64).wrapping_mul(0xd134_2543_de82_ef95);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (u128::from(next()) << 64) | u128::from(next())
}
