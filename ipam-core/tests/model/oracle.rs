//! The naive answer to every question: one map from address to state, and plain scans over it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam_core::{
    Attachment, Counts, Family, Lease, Origin, PodRef, Refused, RequestReason, Rest, RestKind,
    RestReason, StickyKey, WhyFreed, WhyKept,
};

use crate::steps::{DemandPlan, FactsPlan, POD_NAMES, Place, PolicyPlan, PoolPlan, SIZE, Subnet};

/// What is known of an address. One that is not in the map is free.
#[derive(Debug, Clone)]
pub(crate) enum State {
    Held(Lease),
    Resting { pool: u8, rest: Rest },
}

/// A pool as a plain set.
#[derive(Debug, Clone)]
pub(crate) struct PlainPool {
    pub(crate) plan: PoolPlan,
    /// `ips` without `excludeIPs`.
    pub(crate) claimed: BTreeSet<IpAddr>,
}

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
    /// Name, size, counts and the seconds until the next one has cooled down.
    Exhausted(Family, Vec<(String, u128, Counts, Option<u64>)>),
    AlreadyHeld(Vec<IpAddr>),
    Request(IpAddr, WhyNot),
}

/// Why not the requested address, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhyNot {
    NoPool(Option<String>),
    Excluded(String),
    Reserved,
    Held(Attachment),
    Resting(Rest, u64),
    SecondOfFamily,
    TakenBefore,
}

#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    pub(crate) now: u64,
    pub(crate) policy: PolicyPlan,
    pub(crate) pools: BTreeMap<u8, PlainPool>,
    pub(crate) reserved: BTreeSet<IpAddr>,
    pub(crate) own: BTreeSet<IpAddr>,
    /// Each state with the number of the change that made it.
    pub(crate) states: BTreeMap<IpAddr, (u64, State)>,
    pub(crate) last_given: BTreeMap<u8, IpAddr>,
    changes: u64,
}

impl PlainPool {
    pub(crate) fn new(plan: &PoolPlan) -> Self {
        let subnet = Subnet::of_pool(plan.pool);
        Self { plan: plan.clone(), claimed: subnet.addresses(plan.ips & !plan.excluded).collect() }
    }

    pub(crate) fn gateway(&self) -> Option<IpAddr> {
        self.plan.gateway.map(|number| Subnet::of_pool(self.plan.pool).address(number))
    }

    /// What may be handed out where nothing is reserved.
    pub(crate) fn usable(&self) -> BTreeSet<IpAddr> {
        let subnet = Subnet::of_pool(self.plan.pool);
        let mut usable = self.claimed.clone();
        usable.remove(&subnet.address(0));
        if subnet != Subnet::LastV6 {
            usable.remove(&subnet.address(SIZE - 1));
        }
        if let Some(gateway) = self.gateway() {
            usable.remove(&gateway);
        }
        usable
    }

    fn is_v6(&self) -> bool {
        Subnet::of_pool(self.plan.pool) == Subnet::LastV6
    }
}

pub(crate) fn pool_name(pool: u8) -> String {
    format!("p{pool}")
}

pub(crate) fn attachment(place: Place) -> Attachment {
    Attachment {
        network: format!("net{}", place.network).parse().expect("a name"),
        container: format!("c{}", place.container).parse().expect("a name"),
        ifname: format!("eth{}", place.interface).parse().expect("a name"),
    }
}

pub(crate) fn pod_ref((name, uid): (u8, Option<u8>)) -> PodRef {
    PodRef {
        namespace: "default".into(),
        name: POD_NAMES[usize::from(name)].into(),
        uid: uid.map(|uid| format!("uid{uid}")),
    }
}

impl Oracle {
    pub(crate) fn new(policy: PolicyPlan) -> Self {
        Self {
            now: 100,
            policy,
            pools: BTreeMap::new(),
            reserved: BTreeSet::new(),
            own: BTreeSet::new(),
            states: BTreeMap::new(),
            last_given: BTreeMap::new(),
            changes: 0,
        }
    }

    // What happens.

    /// Whether the pool may be stored beside the others, while these addresses are held.
    pub(crate) fn accepts(&self, plan: &PoolPlan) -> bool {
        let new = PlainPool::new(plan);
        let mut others = self.pools.values().filter(|other| {
            let (ours, theirs) = (plan.pool, other.plan.pool);
            ours != theirs && Subnet::of_pool(ours) == Subnet::of_pool(theirs)
        });
        let mut held = self.leases().filter(|lease| lease.pool.as_str() == pool_name(plan.pool));
        held.all(|lease| {
            new.claimed.contains(&lease.address) && new.gateway() != Some(lease.address)
        }) && others.all(|other| {
            new.claimed.is_disjoint(&other.claimed)
                && new.gateway().is_none_or(|gateway| !other.usable().contains(&gateway))
                && other.gateway().is_none_or(|gateway| !new.usable().contains(&gateway))
        })
    }

    /// Stores a pool. What rests and belongs to it now is its.
    pub(crate) fn apply(&mut self, plan: &PoolPlan) {
        let new = PlainPool::new(plan);
        for (address, (_, state)) in &mut self.states {
            if let State::Resting { pool, .. } = state
                && new.claimed.contains(address)
            {
                *pool = plan.pool;
            }
        }
        self.pools.insert(plan.pool, new);
    }

    pub(crate) fn write(&mut self, woken: &BTreeSet<IpAddr>, leases: &[Lease]) {
        for address in woken {
            self.states.remove(address);
        }
        for lease in leases {
            self.last_given.insert(number_of(lease), lease.address);
            self.set(lease.address, State::Held(lease.clone()));
        }
    }

    pub(crate) fn release(&mut self, attachment: &Attachment) -> Vec<Lease> {
        let leases = self.held_by(attachment);
        for lease in &leases {
            self.free(lease);
        }
        leases
    }

    /// Ends a lease, as the policy has it.
    pub(crate) fn free(&mut self, lease: &Lease) {
        self.states.remove(&lease.address);
        let policy = self.policy;
        let pod = lease.pod.as_ref();
        let (since, reason) = if let Some(pod) = pod.filter(|pod| self.is_sticky(pod)) {
            let key = sticky_key(pod, &lease.attachment);
            (policy.sticky_seconds, RestReason::Sticky { key })
        } else if policy.cooldown_seconds > 0 || policy.strategy == 3 {
            (policy.cooldown_seconds, RestReason::Cooldown)
        } else {
            return;
        };
        self.rest_for(lease.address, number_of(lease), since, reason);
    }

    pub(crate) fn rest_for(&mut self, address: IpAddr, pool: u8, seconds: u64, why: RestReason) {
        let now = ipam_core::Moment(self.now);
        let rest = Rest { reason: why, since: now, until: now.after(seconds) };
        self.set(address, State::Resting { pool, rest });
    }

    pub(crate) fn wake(&mut self, address: IpAddr) {
        if self.rest(address).is_some() {
            self.states.remove(&address);
        }
    }

    fn set(&mut self, address: IpAddr, state: State) {
        self.changes += 1;
        self.states.insert(address, (self.changes, state));
    }

    fn is_sticky(&self, pod: &PodRef) -> bool {
        match self.policy.sticky {
            0 => false,
            1 => pod.name.starts_with("web-"),
            _ => true,
        }
    }

    // What is.

    pub(crate) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.states.values().filter_map(|(_, state)| match state {
            State::Held(lease) => Some(lease),
            State::Resting { .. } => None,
        })
    }

    /// Leases in the order in which they were made.
    fn leases_where(&self, wanted: impl Fn(&Lease) -> bool) -> Vec<Lease> {
        let mut found: Vec<(u64, &Lease)> = Vec::new();
        for (change, state) in self.states.values() {
            if let State::Held(lease) = state
                && wanted(lease)
            {
                found.push((*change, lease));
            }
        }
        found.sort_by_key(|(change, _)| *change);
        found.into_iter().map(|(_, lease)| lease.clone()).collect()
    }

    pub(crate) fn held_by(&self, attachment: &Attachment) -> Vec<Lease> {
        self.leases_where(|lease| lease.attachment == *attachment)
    }

    pub(crate) fn held_by_pod(&self, uid: &str, attachment: &Attachment) -> Vec<Lease> {
        self.leases_where(|lease| {
            lease.pod.as_ref().and_then(|pod| pod.uid.as_deref()) == Some(uid)
                && lease.attachment.network == attachment.network
                && lease.attachment.ifname == attachment.ifname
        })
    }

    pub(crate) fn lease(&self, address: IpAddr) -> Option<&Lease> {
        self.leases().find(|lease| lease.address == address)
    }

    pub(crate) fn rest(&self, address: IpAddr) -> Option<&Rest> {
        match &self.states.get(&address)?.1 {
            State::Resting { rest, .. } => Some(rest),
            State::Held(_) => None,
        }
    }

    /// What rests of a pool, in the order in which it ends.
    pub(crate) fn queue(&self, pool: u8, kind: RestKind) -> Vec<(IpAddr, Rest)> {
        let mut queue = Vec::new();
        for (address, (_, state)) in &self.states {
            if let State::Resting { pool: of, rest } = state
                && *of == pool
                && rest.kind() == kind
            {
                queue.push((*address, rest.clone()));
            }
        }
        queue.sort_by_key(|(address, rest)| (rest.until, *address));
        queue
    }

    pub(crate) fn waiting_for(&self, key: &StickyKey) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for (address, (change, state)) in &self.states {
            if let State::Resting { rest, .. } = state
                && rest.reason == (RestReason::Sticky { key: key.clone() })
            {
                found.push((*change, *address));
            }
        }
        found.sort_unstable();
        found.into_iter().map(|(_, address)| address).collect()
    }

    pub(crate) fn counts(&self, pool: u8) -> Counts {
        let length = |kind| self.queue(pool, kind).len() as u64;
        Counts {
            held: self.leases().filter(|lease| number_of(lease) == pool).count() as u64,
            cooling: length(RestKind::Cooldown),
            quarantined: length(RestKind::Quarantine),
            sticky: length(RestKind::Sticky),
        }
    }

    pub(crate) fn assignable(&self, pool: u8) -> BTreeSet<IpAddr> {
        let usable = self.pools[&pool].usable();
        usable.into_iter().filter(|a| !self.reserved.contains(a) && !self.own.contains(a)).collect()
    }

    fn is_over(&self, rest: &Rest) -> bool {
        rest.until.0 <= self.now
    }

    // What is decided.

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
        if self.reserved.contains(&address) {
            return Err(WhyNot::Reserved);
        }
        if let Some(lease) = self.lease(address) {
            if self.is_predecessor(lease, demand) {
                return Ok((address, pool, Origin::TakenOver { from: Box::new(lease.clone()) }));
            }
            return Err(WhyNot::Held(lease.attachment.clone()));
        }
        if let Some(rest) = self.rest(address) {
            let yields = match &rest.reason {
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
        if let Some(uid) = pod.as_ref().and_then(|pod| pod.uid.as_ref()) {
            for lease in self.held_by_pod(uid, &place) {
                let (address, pool) = (lease.address, number_of(&lease));
                let is_allowed = pools.contains(&pool)
                    && self.pools[&pool].claimed.contains(&address)
                    && !self.reserved.contains(&address);
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
            (pool_name(*pool), self.assignable(*pool).len() as u128, self.counts(*pool), next)
        };
        Why::Exhausted(family, pools.iter().map(state).collect())
    }

    /// Why a lease may be freed, or why it stays.
    pub(crate) fn judge(&self, lease: &Lease, facts: &FactsPlan) -> Result<WhyFreed, WhyKept> {
        let container: u8 = lease.attachment.container.as_str()[1..].parse().expect("cN");
        let network: u8 = lease.attachment.network.as_str()[3..].parse().expect("netN");
        let netns = lease.netns.as_ref().expect("every lease has one");
        let netns: u8 = netns.path.rsplit('/').next().and_then(|n| n.parse().ok()).expect("/N");
        let age = self.now - lease.since.moment.0;
        if facts.alive.contains(&lease.address) {
            return Err(WhyKept::Alive);
        }
        if facts.valid.is_some_and(|(of, bits)| of == network && bits >> container & 1 == 1) {
            return Err(WhyKept::Listed);
        }
        if facts.later_boot == Some(true) {
            return Ok(WhyFreed::EarlierBoot);
        }
        if age <= facts.snapshot_age {
            return Err(WhyKept::Younger);
        }
        match (facts.valid, facts.live) {
            (Some((of, _)), _) if of != network => Err(WhyKept::OtherNetwork),
            (Some(_), _) => Ok(WhyFreed::NotListed),
            (None, None) => Err(WhyKept::NamespaceUnknown),
            (None, Some(bits)) if bits >> netns & 1 == 1 => Err(WhyKept::NamespaceLives),
            (None, Some(_)) if age >= facts.grace_seconds => Ok(WhyFreed::NamespaceGone),
            (None, Some(_)) => Err(WhyKept::InGrace { seconds: facts.grace_seconds - age }),
        }
    }
}

impl From<&Refused> for Why {
    fn from(refused: &Refused) -> Self {
        match refused {
            Refused::NoPool(reason) => Self::NoPool(reason.family),
            Refused::Exhausted { family, pools } => {
                let state = |state: &ipam_core::PoolState| {
                    (state.pool.to_string(), state.total, state.counts, state.next_in_seconds)
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
                Self::NoPool(refused.as_ref().map(|refusal| refusal.pool.clone()))
            }
            RequestReason::Excluded { pool } => Self::Excluded(pool.to_string()),
            RequestReason::Reserved => Self::Reserved,
            RequestReason::Held { lease } => Self::Held(lease.attachment.clone()),
            RequestReason::Resting { rest, seconds } => Self::Resting(rest.clone(), *seconds),
            RequestReason::SecondOfFamily => Self::SecondOfFamily,
            RequestReason::TakenBefore => Self::TakenBefore,
            other => panic!("the oracle does not know {other:?}"),
        }
    }
}

pub(crate) fn number_of(lease: &Lease) -> u8 {
    lease.pool.as_str()[1..].parse().expect("pN")
}

fn sticky_key(pod: &PodRef, attachment: &Attachment) -> StickyKey {
    StickyKey {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        network: attachment.network.clone(),
        ifname: attachment.ifname.clone(),
    }
}
