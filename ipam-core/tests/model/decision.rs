//! What a decision must answer, by plain scans over the oracle's map.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipam_core::{
    Attachment, Counts, Family, Lease, Origin, Refused, RequestReason, Rest, RestKind, RestReason,
};

use crate::oracle::{Oracle, attachment, number_of, pod_ref, pool_name, sticky_key};
use crate::steps::{DemandPlan, Subnet};

/// One address given to one demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) demand: usize,
    pub(crate) address: IpAddr,
    pub(crate) pool: u8,
    pub(crate) origin: Origin,
}

/// What a decision comes to: the addresses whose rest it ends, and those given; or the refusal.
pub(crate) type Answer = Result<(BTreeSet<IpAddr>, Vec<Given>), Box<Why>>;

/// A refusal in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    NoPool(Option<Family>),
    /// Name, size, counts, how many are kept for pods, and the seconds until the next one has cooled down.
    Exhausted(Family, Vec<(String, u128, Counts, u128, Option<u64>)>),
    AlreadyHeld(Vec<IpAddr>),
    Request(IpAddr, WhyNot),
}

/// Why not the requested address, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhyNot {
    NoPool(Option<String>),
    Excluded(String),
    Reserved,
    Pinned,
    Held(Attachment),
    Resting(Rest, u64),
    SecondOfFamily,
    TakenBefore,
}

impl Oracle {
    /// The pools that may be used, best first.
    fn candidates(&self, demand: &DemandPlan) -> Vec<u8> {
        let mut offered: Vec<u8> = match &demand.named {
            None => self.pools.keys().copied().collect(),
            Some((v4, v6)) => {
                let of_family =
                    |number: &u8, v6: bool| (Subnet::of_pool(*number) == Subnet::LastV6) == v6;
                let mut all: Vec<u8> = Vec::new();
                all.extend(v4.iter().filter(|number| of_family(number, false)));
                all.extend(v6.iter().filter(|number| of_family(number, true)));
                let mut seen = BTreeSet::new();
                all.retain(|number| seen.insert(*number) && self.pools.contains_key(number));
                all
            }
        };
        offered.retain(|number| {
            let plan = &self.pools[number].plan;
            (demand.named.is_some() || plan.default)
                && !plan.disable
                && plan.node.is_none_or(|node| node == demand.node)
                && plan.network.is_none_or(|network| network == demand.place.network)
        });
        offered.sort_by_key(|number| {
            let plan = &self.pools[number].plan;
            (plan.node.is_none(), plan.network.is_none())
        });
        offered
    }

    /// The answer; `pick` takes one of the free addresses where any of them is right.
    pub(crate) fn decide(
        &self,
        demands: &[DemandPlan],
        pick: &mut dyn FnMut(usize, &BTreeSet<IpAddr>) -> IpAddr,
    ) -> Answer {
        let mut woken = BTreeSet::new();
        let mut given: Vec<Given> = Vec::new();
        for (index, demand) in demands.iter().enumerate() {
            let leases = self.held_by(&attachment(demand.place));
            if !leases.is_empty() {
                let held = leases.iter().map(|lease| lease.address).collect();
                return Err(Box::new(Why::AlreadyHeld(held)));
            }
            let before = given.len();
            for family in [Family::V4, Family::V6] {
                let v6 = family == Family::V6;
                let mut pools = self.candidates(demand);
                pools.retain(|number| self.pools[number].is_v6() == v6);
                let mut requested: Vec<IpAddr> = demand.requested.clone();
                requested.retain(|address| address.is_ipv6() == v6);
                requested.dedup();
                if let [_, second] = requested[..] {
                    return Err(Box::new(Why::Request(second, WhyNot::SecondOfFamily)));
                }
                let is_named = demand.named.as_ref().is_some_and(|(four, six)| {
                    let list = if v6 { six } else { four };
                    !list.is_empty()
                });
                let is_required = if v6 { demand.required.1 } else { demand.required.0 };
                let (address, pool, origin) = match requested.first() {
                    Some(address) => self
                        .request(*address, demand, &pools, &given)
                        .map_err(|why| Box::new(Why::Request(*address, why)))?,
                    None if pools.is_empty() && (is_named || is_required) => {
                        return Err(Box::new(Why::NoPool(Some(family))));
                    }
                    None if pools.is_empty() => continue,
                    None => self
                        .find(demand, &pools, &given, &mut woken, pick)
                        .ok_or_else(|| Box::new(self.exhausted(family, &pools, &given)))?,
                };
                given.push(Given { demand: index, address, pool, origin });
            }
            if given.len() == before {
                return Err(Box::new(Why::NoPool(None)));
            }
        }
        woken.retain(|address| given.iter().all(|one| one.address != *address));
        Ok((woken, given))
    }

    fn request(
        &self,
        address: IpAddr,
        demand: &DemandPlan,
        pools: &[u8],
        given: &[Given],
    ) -> Result<(IpAddr, u8, Origin), WhyNot> {
        if given.iter().any(|one| one.address == address) {
            return Err(WhyNot::TakenBefore);
        }
        let claiming = self.pools.values().find(|pool| pool.claimed.contains(&address));
        let claiming = claiming.map(|pool| pool.plan.pool);
        let excluded = pools.iter().find(|number| {
            let excluded = self.pools[number].plan.excluded;
            Subnet::of_pool(**number).addresses(excluded).any(|other| other == address)
        });
        let pool = match (claiming, excluded) {
            (Some(pool), _) if pools.contains(&pool) => pool,
            (None, Some(pool)) => return Err(WhyNot::Excluded(pool_name(*pool))),
            (claiming, _) => return Err(WhyNot::NoPool(claiming.map(pool_name))),
        };
        if self.is_nobodys(address, pool) {
            return Err(WhyNot::Reserved);
        }
        let is_kept = self.is_kept_for(address, pool, demand);
        if self.pinned(pool).contains(&address) && !is_kept {
            return Err(WhyNot::Pinned);
        }
        if let Some(lease) = self.lease(address) {
            if self.is_predecessor(lease, demand) {
                return Ok((address, pool, Origin::TakenOver { from: Box::new(lease.clone()) }));
            }
            return Err(WhyNot::Held(lease.attachment.clone()));
        }
        if let Some(rest) = self.rest(address) {
            let yields = match &rest.reason {
                RestReason::Cooldown | RestReason::Sticky { .. } if is_kept => true,
                RestReason::Cooldown => !self.policy.refuse,
                RestReason::Sticky { key } => demand.pod.is_some_and(|pod| {
                    sticky_key(&pod_ref(pod), &attachment(demand.place)) == *key
                }),
                _ => false,
            };
            if !yields && !self.is_over(rest) {
                return Err(WhyNot::Resting(rest.clone(), rest.until.0 - self.now));
            }
        }
        Ok((address, pool, Origin::Requested))
    }

    fn is_predecessor(&self, lease: &Lease, demand: &DemandPlan) -> bool {
        let uid = demand.pod.and_then(|pod| pod_ref(pod).uid);
        uid.is_some_and(|uid| {
            self.held_by_pod(&uid, &attachment(demand.place))
                .iter()
                .any(|other| other.address == lease.address)
        })
    }

    fn find(
        &self,
        demand: &DemandPlan,
        pools: &[u8],
        given: &[Given],
        woken: &mut BTreeSet<IpAddr>,
        pick: &mut dyn FnMut(usize, &BTreeSet<IpAddr>) -> IpAddr,
    ) -> Option<(IpAddr, u8, Origin)> {
        let place = attachment(demand.place);
        let is_taken = |address: &IpAddr| given.iter().any(|one| one.address == *address);
        let pod = demand.pod.map(pod_ref);
        for pool in pools {
            let mut kept = self.pinned(*pool);
            kept.retain(|address| {
                let waits = |rest: &Rest| rest.kind() != RestKind::Quarantine || self.is_over(rest);
                let may_have =
                    self.lease(*address).is_none_or(|lease| self.is_predecessor(lease, demand));
                let is_kept = self.is_kept_for(*address, *pool, demand);
                is_kept && may_have && self.rest(*address).is_none_or(waits) && !is_taken(address)
            });
            if let Some(address) = kept.first() {
                let from = self.lease(*address).map(|lease| Box::new(lease.clone()));
                let origin = from.map_or(Origin::Pinned, |from| Origin::TakenOver { from });
                return Some((*address, *pool, origin));
            }
        }
        if let Some(uid) = pod.as_ref().and_then(|pod| pod.uid.as_ref()) {
            for lease in self.held_by_pod(uid, &place) {
                let (address, pool) = (lease.address, number_of(&lease));
                let is_allowed = pools.contains(&pool)
                    && self.pools[&pool].claimed.contains(&address)
                    && !self.is_nobodys(address, pool)
                    && (!self.pinned(pool).contains(&address)
                        || self.is_kept_for(address, pool, demand));
                if is_allowed && !is_taken(&address) {
                    return Some((address, pool, Origin::TakenOver { from: Box::new(lease) }));
                }
            }
        }
        if let Some(pod) = pod.filter(|pod| self.is_sticky(pod)) {
            for address in self.waiting_for(&sticky_key(&pod, &place)) {
                let pool = pools.iter().find(|pool| self.assignable(**pool).contains(&address));
                if let Some(pool) = pool
                    && !is_taken(&address)
                {
                    return Some((address, *pool, Origin::Returned));
                }
            }
        }
        for pool in pools {
            woken.extend(self.woken(*pool));
            if let Some(address) = self.choose(*pool, given, pick) {
                return Some((address, *pool, Origin::Chosen));
            }
        }
        let early = |pool: &u8| {
            self.cooling(*pool, given).first().map(|(address, _)| (*address, *pool, Origin::Early))
        };
        if self.policy.refuse { None } else { pools.iter().find_map(early) }
    }

    /// The addresses that cool down and could be given otherwise, in the order of the queue.
    fn cooling(&self, pool: u8, given: &[Given]) -> Vec<(IpAddr, Rest)> {
        let assignable = self.assignable(pool);
        let mut cooling = self.queue(pool, RestKind::Cooldown);
        cooling.retain(|(address, _)| {
            assignable.contains(address) && given.iter().all(|one| one.address != *address)
        });
        cooling
    }

    /// The addresses of a pool whose rest ends when the pool is looked at. With the strategy
    /// oldest-released the cooldown queue stays, but for lost addresses at its head.
    fn woken(&self, pool: u8) -> BTreeSet<IpAddr> {
        let mut woken = BTreeSet::new();
        for kind in [RestKind::Cooldown, RestKind::Quarantine, RestKind::Sticky] {
            let mut queue = self.queue(pool, kind);
            queue.retain(|(_, rest)| self.is_over(rest));
            let stays = kind == RestKind::Cooldown && self.policy.strategy == 3;
            let assignable = self.assignable(pool);
            let goes =
                queue.iter().take_while(|(address, _)| !stays || !assignable.contains(address));
            woken.extend(goes.map(|(address, _)| *address));
        }
        woken
    }

    fn choose(
        &self,
        pool: u8,
        given: &[Given],
        pick: &mut dyn FnMut(usize, &BTreeSet<IpAddr>) -> IpAddr,
    ) -> Option<IpAddr> {
        let woken = self.woken(pool);
        let mut free = self.assignable(pool);
        free.retain(|address| {
            given.iter().all(|one| one.address != *address)
                && (!self.states.contains_key(address) || woken.contains(address))
        });
        let Some(lowest) = free.first().copied() else {
            let oldest = self.cooling(pool, given).first().cloned();
            let oldest = oldest.filter(|(_, rest)| self.is_over(rest));
            return oldest.map(|(address, _)| address);
        };
        match self.policy.strategy {
            1 => {
                let last = self.last_given.get(&pool);
                let next = free.iter().find(|address| last.is_some_and(|last| *address > last));
                Some(next.copied().unwrap_or(lowest))
            }
            2 => Some(pick(given.len(), &free)),
            _ => Some(lowest),
        }
    }

    fn exhausted(&self, family: Family, pools: &[u8], given: &[Given]) -> Why {
        let state = |pool: &u8| {
            let next = self.cooling(*pool, given).first().map(|(_, rest)| rest.until.0);
            let next = next.map(|until| until.saturating_sub(self.now));
            let pinned = self.pinned(*pool).len() as u128;
            let size = self.assignable(*pool).len() as u128;
            (pool_name(*pool), size, self.counts(*pool), pinned, next)
        };
        Why::Exhausted(family, pools.iter().map(state).collect())
    }
}

impl From<&Refused> for Why {
    fn from(refused: &Refused) -> Self {
        match refused {
            Refused::NoPool(reason) => Self::NoPool(reason.family),
            Refused::Exhausted { family, pools } => {
                let state = |state: &ipam_core::PoolState| {
                    let (name, next) = (state.pool.to_string(), state.next_in_seconds);
                    (name, state.total, state.counts, state.pinned, next)
                };
                Self::Exhausted(*family, pools.iter().map(state).collect())
            }
            Refused::AlreadyHeld { leases, .. } => {
                Self::AlreadyHeld(leases.iter().map(|lease| lease.address).collect())
            }
            Refused::Request { address, reason } => Self::Request(*address, reason.into()),
            other => panic!("the oracle does not know {other:?}"),
        }
    }
}

impl From<&RequestReason> for WhyNot {
    fn from(reason: &RequestReason) -> Self {
        match reason {
            RequestReason::NoPool { refused } => {
                Self::NoPool(refused.as_ref().map(|refusal| refusal.pool.to_string()))
            }
            RequestReason::Excluded { pool } => Self::Excluded(pool.to_string()),
            RequestReason::Reserved => Self::Reserved,
            RequestReason::Pinned { .. } => Self::Pinned,
            RequestReason::Held { lease } => Self::Held(lease.attachment.clone()),
            RequestReason::Resting { rest, seconds } => Self::Resting(rest.clone(), *seconds),
            RequestReason::SecondOfFamily => Self::SecondOfFamily,
            RequestReason::TakenBefore => Self::TakenBefore,
            other => panic!("the oracle does not know {other:?}"),
        }
    }
}
