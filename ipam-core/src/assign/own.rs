//! The addresses that are a demand's own: which it requests, which are kept for its pod, which an
//! earlier sandbox of its pod holds, and which wait for its pod.

use alloc::boxed::Box;
use core::net::IpAddr;

use super::{Deciding, Found, refused};
use crate::decision::{NotDecided, Origin};
use crate::demand::Demand;
use crate::hints::Source;
use crate::lease::Lease;
use crate::ledger::Ledger;
use crate::owner::PodRef;
use crate::policy::WhenOnlyCooling;
use crate::pool::Pool;
use crate::range::AddressRange;
use crate::refused::{Refused, RequestReason};
use crate::rest::{Rest, RestReason};
use crate::select::{Refusal, RefusalReason, by_name, refusal};
use crate::sticky::StickyKey;

impl<'a, L: Ledger> Deciding<'_, 'a, L> {
    /// The requested address, or the reason why it cannot be had.
    pub(super) fn request(
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
    pub(super) fn pinned(
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
    pub(super) fn take_over(
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
    pub(super) fn give_back(
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
        Source::Defaults => RefusalReason::NotDefault,
        Source::Named(_) => RefusalReason::NotNamed,
    });
    Refusal { pool: pool.name().as_str().into(), reason }.into_owned()
}
