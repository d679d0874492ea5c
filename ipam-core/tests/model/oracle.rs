//! What happens to every address and what is known of it, naively: one map from address to state,
//! and plain scans over it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam_core::{
    Attachment, Counts, Lease, PodRef, Rest, RestKind, RestReason, StickyKey, WhyFreed, WhyKept,
};

use crate::steps::{
    DemandPlan, FactsPlan, POD_NAMES, PinPlan, Place, PolicyPlan, PoolPlan, SIZE, Subnet,
};

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

#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    pub(crate) now: u64,
    pub(crate) policy: PolicyPlan,
    pub(crate) pools: BTreeMap<u8, PlainPool>,
    pub(crate) reserved: BTreeSet<IpAddr>,
    pub(crate) own: BTreeSet<IpAddr>,
    pub(crate) pins: Vec<PinPlan>,
    pub(crate) states: BTreeMap<IpAddr, State>,
    pub(crate) last_given: BTreeMap<u8, IpAddr>,
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

    pub(crate) fn is_v6(&self) -> bool {
        Subnet::of_pool(self.plan.pool) == Subnet::LastV6
    }
}

impl PinPlan {
    fn keeps(&self, address: IpAddr) -> bool {
        self.subnet.addresses(self.addresses).any(|kept| kept == address)
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
            pins: Vec::new(),
            states: BTreeMap::new(),
            last_given: BTreeMap::new(),
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
        for (address, state) in &mut self.states {
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
        self.states.insert(address, state);
    }

    pub(crate) fn is_sticky(&self, pod: &PodRef) -> bool {
        match self.policy.sticky {
            0 => false,
            1 => pod.name.starts_with("web-"),
            _ => true,
        }
    }

    // What is.

    pub(crate) fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.states.values().filter_map(|state| match state {
            State::Held(lease) => Some(lease),
            State::Resting { .. } => None,
        })
    }

    fn leases_where(&self, wanted: impl Fn(&Lease) -> bool) -> Vec<Lease> {
        self.leases().filter(|lease| wanted(lease)).cloned().collect()
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
        match self.states.get(&address)? {
            State::Resting { rest, .. } => Some(rest),
            State::Held(_) => None,
        }
    }

    /// What rests of a pool, in the order in which it ends.
    pub(crate) fn queue(&self, pool: u8, kind: RestKind) -> Vec<(IpAddr, Rest)> {
        let mut queue = Vec::new();
        for (address, state) in &self.states {
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
        let waits = |state: &State| match state {
            State::Resting { rest, .. } => rest.reason == RestReason::Sticky { key: key.clone() },
            State::Held(_) => false,
        };
        let waiting = self.states.iter().filter(|(_, state)| waits(state));
        waiting.map(|(address, _)| *address).collect()
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
        let mut assignable = self.usable(pool);
        assignable.retain(|address| !self.is_pinned(*address));
        assignable
    }

    /// What may be handed out to somebody who asks for nothing in particular.
    fn usable(&self, pool: u8) -> BTreeSet<IpAddr> {
        let usable = self.pools[&pool].usable();
        usable.into_iter().filter(|a| !self.reserved.contains(a) && !self.own.contains(a)).collect()
    }

    fn is_pinned(&self, address: IpAddr) -> bool {
        self.pins.iter().any(|pin| pin.keeps(address))
    }

    /// What is kept of a pool for pods.
    pub(crate) fn pinned(&self, pool: u8) -> BTreeSet<IpAddr> {
        let mut pinned = self.usable(pool);
        pinned.retain(|address| self.is_pinned(*address));
        pinned
    }

    /// Whether nobody may have an address of the pool, not even a pod that it is kept for.
    pub(crate) fn is_nobodys(&self, address: IpAddr, pool: u8) -> bool {
        self.reserved.contains(&address)
            || (self.is_pinned(address) && !self.pinned(pool).contains(&address))
    }

    /// Whether an address of the pool is kept for the one who asks.
    pub(crate) fn is_kept_for(&self, address: IpAddr, pool: u8, demand: &DemandPlan) -> bool {
        let is_for = |pin: &PinPlan| {
            demand.pod.is_some_and(|(name, _)| name == pin.name)
                && pin.network.is_none_or(|network| network == demand.place.network)
                && pin.interface.is_none_or(|interface| interface == demand.place.interface)
        };
        let is_kept = self.pins.iter().any(|pin| is_for(pin) && pin.keeps(address));
        is_kept && self.pinned(pool).contains(&address)
    }

    pub(crate) fn is_over(&self, rest: &Rest) -> bool {
        rest.until.0 <= self.now
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

pub(crate) fn number_of(lease: &Lease) -> u8 {
    lease.pool.as_str()[1..].parse().expect("pN")
}

pub(crate) fn sticky_key(pod: &PodRef, attachment: &Attachment) -> StickyKey {
    StickyKey {
        namespace: pod.namespace.clone(),
        name: pod.name.clone(),
        network: attachment.network.clone(),
        ifname: attachment.ifname.clone(),
    }
}
