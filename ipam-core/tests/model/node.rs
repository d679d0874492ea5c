//! A node's pools and addresses, kept twice: by the crate and by the oracle. Every step is done to
//! both, and both must answer and end alike.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam_core::{
    AddressRange, Book, Decision, Demand, Family, Grant, Lease, Ledger, Moment, NetnsRef,
    NotDecided, Origin, Pool, RangeSet, Rest, RestKind, RestReason, Stamp, StickyKey, apply,
    decide, reclaim, reserve,
};

use crate::decision::{Answer, Given, Why};
use crate::oracle::{Oracle, attachment, pod_ref, pool_name};
use crate::plans::{BOOT, demand_of, facts_of, pinned_of, policy_of, reserved_of, spec_of};
use crate::steps::{
    CONTAINERS, DemandPlan, FactsPlan, PLACES, Place, PolicyPlan, PoolPlan, SIZE, Step, Subnet,
    UIDS,
};

const KINDS: [RestKind; 3] = [RestKind::Cooldown, RestKind::Quarantine, RestKind::Sticky];

pub(crate) struct Node {
    book: Book,
    oracle: Oracle,
    /// The pools as applied, and as they are among what is reserved.
    applied: BTreeMap<u8, Pool>,
    pools: Vec<Pool>,
    /// How often each kind of answer was given.
    seen: Seen,
}

pub(crate) type Seen = BTreeMap<String, usize>;

/// Does all steps, one after the other, and answers how often each kind of answer was seen.
///
/// # Panics
///
/// At the first difference between the crate and the oracle.
pub(crate) fn run(policy: PolicyPlan, steps: impl IntoIterator<Item = Step>) -> Seen {
    let mut node = Node::new(policy);
    for step in steps {
        node.step(&step);
        node.check();
    }
    node.seen
}

impl Node {
    fn new(policy: PolicyPlan) -> Self {
        let mut node = Self {
            book: Book::default(),
            oracle: Oracle::new(policy),
            applied: BTreeMap::new(),
            pools: Vec::new(),
            seen: Seen::new(),
        };
        for (pool, ips) in [(0, 0xc00f), (1, 0x00f0), (2, 0x001f), (4, 0x0036)] {
            node.step(&Step::Apply(PoolPlan {
                pool,
                ips,
                excluded: 0,
                gateway: (pool == 4).then_some(1),
                node: (pool == 1).then_some(0),
                network: (pool == 4).then_some(1),
                default: true,
                disable: false,
            }));
        }
        assert_eq!(node.pools.len(), 4);
        node
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Decide(demands) => self.decide(demands),
            Step::Release(place) => {
                let policy = policy_of(self.oracle.policy);
                let now = Moment(self.oracle.now);
                let released = self.book.release(&attachment(*place), &policy, now);
                assert_eq!(released, self.oracle.release(&attachment(*place)));
            }
            Step::Apply(plan) => self.apply(plan),
            Step::Pass { seconds } => self.oracle.now += seconds,
            Step::Quarantine { pool, number, seconds } => {
                self.quarantine(*pool, *number, *seconds);
            }
            Step::Wake(address) => {
                self.book.wake(*address);
                self.oracle.wake(*address);
            }
            Step::Reserve { subnet, reserved, own } => {
                let replace = |set: &mut BTreeSet<IpAddr>, bits: u16| {
                    set.retain(|address| subnet.addresses(u16::MAX).all(|other| other != *address));
                    set.extend(subnet.addresses(bits));
                };
                replace(&mut self.oracle.reserved, *reserved);
                replace(&mut self.oracle.own, *own);
                self.put_pools();
            }
            Step::Pin(plan) => {
                let pins = &mut self.oracle.pins;
                pins.retain(|pin| (pin.subnet, pin.name) != (plan.subnet, plan.name));
                pins.push(plan.clone());
                self.put_pools();
            }
            Step::Follow(policy) => self.oracle.policy = *policy,
            Step::Reclaim(facts) => self.reclaim(facts),
        }
    }

    fn apply(&mut self, plan: &PoolPlan) {
        let pool = Pool::new(&pool_name(plan.pool), &spec_of(plan)).expect("the plan is valid");
        let stored: Vec<Pool> = self.applied.values().cloned().collect();
        let leases: Vec<Lease> = self.book.leases().cloned().collect();
        let answer = apply(&stored, std::slice::from_ref(&pool), &leases);
        assert_eq!(answer.is_ok(), self.oracle.accepts(plan), "{answer:?}");
        if answer.is_ok() {
            self.applied.insert(plan.pool, pool);
            self.oracle.apply(plan);
            self.put_pools();
        }
    }

    fn put_pools(&mut self) {
        let own: RangeSet = self.oracle.own.iter().copied().collect();
        let pools: Vec<Pool> =
            self.applied.values().map(|pool| pool.among(&RangeSet::new(), &own)).collect();
        let mut reserved = reserved_of(self.oracle.reserved.iter().copied());
        reserved.extend(self.oracle.pins.iter().flat_map(pinned_of));
        self.pools = reserve(&pools, &reserved);
        self.book.put_pools(&self.pools);
        for (number, pool) in self.applied.keys().zip(&self.pools) {
            let ranges = pool.assignable().ranges().iter();
            let listed: BTreeSet<IpAddr> = ranges.flat_map(AddressRange::addresses).collect();
            assert_eq!(listed, self.oracle.assignable(*number), "pool {number}");
            let pinned = pool.pinned().ranges().iter().flat_map(AddressRange::addresses);
            assert_eq!(pinned.collect::<BTreeSet<_>>(), self.oracle.pinned(*number));
        }
    }

    fn decide(&mut self, plans: &[DemandPlan]) {
        let demands: Vec<Demand> = plans.iter().map(demand_of).collect();
        let policy = policy_of(self.oracle.policy);
        let now = Moment(self.oracle.now);
        let decision = decide(&demands, &self.pools, &policy, now, &self.book);
        let answer = match &decision {
            Ok(decision) => Ok((
                decision.woken.iter().copied().collect(),
                decision.grants.iter().map(given_of).collect(),
            )),
            Err(NotDecided::Refused(refused)) => Err(Box::new(Why::from(&**refused))),
            Err(NotDecided::Ledger(impossible)) => match *impossible {},
        };
        self.compare(plans, &answer);
        count(&mut self.seen, self.oracle.policy.strategy, &answer);
        let Ok(decision) = decision else { return };
        self.check_grants(&demands, &decision);
        let container = plans.first().map_or(0, |plan| plan.place.container);
        let netns = NetnsRef {
            path: format!("/run/netns/{container}"),
            inode: container.is_multiple_of(2).then_some(u64::from(container)),
        };
        let since = Stamp { boot: BOOT.parse().ok(), moment: now, unix_seconds: 0 };
        let leases = self.book.write(&demands, &decision, Some(&netns), &since);
        for (lease, grant) in leases.iter().zip(&decision.grants) {
            assert_eq!(lease.address, grant.address);
            assert_eq!(&lease.pool, grant.pool.name());
            assert_eq!(lease.attachment, demands[grant.demand].attachment);
            assert_eq!(lease.pod, demands[grant.demand].pod);
            assert_eq!((&lease.netns, &lease.since), (&Some(netns.clone()), &since));
        }
        assert_eq!(leases.len(), decision.grants.len());
        self.oracle.write(&decision.woken.iter().copied().collect(), &leases);
    }

    /// Whether the oracle says the same; with random choices, whether it can.
    fn compare(&self, plans: &[DemandPlan], answer: &Answer) {
        if let Ok((_, given)) = answer {
            let mut pick = |index: usize, free: &BTreeSet<IpAddr>| {
                let same = given.get(index).map(|one| one.address);
                same.filter(|address| free.contains(address)).unwrap_or(*free.first().expect("one"))
            };
            assert_eq!(*answer, self.oracle.decide(plans, &mut pick));
            return;
        }
        // A refusal does not tell what was chosen before it: try all choices that can matter.
        let matters = |address: &IpAddr| {
            plans.iter().any(|plan| plan.requested.contains(address))
                || self.oracle.rest(*address).is_some()
        };
        let mut path: Vec<(usize, usize)> = Vec::new();
        loop {
            let mut depth = 0;
            let mut pick = |_: usize, free: &BTreeSet<IpAddr>| {
                let mut choices: Vec<_> = free.iter().filter(|a| matters(a)).collect();
                choices.extend(free.iter().find(|a| !matters(a)));
                if depth == path.len() {
                    path.push((0, choices.len()));
                }
                depth += 1;
                *choices[path[depth - 1].0]
            };
            let expected = self.oracle.decide(plans, &mut pick);
            if *answer == expected {
                return;
            }
            while path.last().is_some_and(|(choice, count)| choice + 1 == *count) {
                path.pop();
            }
            match path.last_mut() {
                Some((choice, _)) => *choice += 1,
                None => assert_eq!(*answer, expected),
            }
        }
    }

    /// What holds of every decision, whatever the oracle says.
    fn check_grants(&self, demands: &[Demand], decision: &Decision<'_>) {
        let addresses: BTreeSet<IpAddr> = decision.grants.iter().map(|g| g.address).collect();
        assert_eq!(addresses.len(), decision.grants.len(), "an address is given twice");
        for (index, demand) in demands.iter().enumerate() {
            let of_demand = || decision.grants.iter().filter(|grant| grant.demand == index);
            assert!(of_demand().count() >= 1, "a demand without an address");
            for family in [Family::V4, Family::V6] {
                assert!(of_demand().filter(|g| Family::of(g.address) == family).count() <= 1);
            }
            for grant in of_demand() {
                let holder = self.book.lease(grant.address).expect("infallible");
                match &grant.origin {
                    Origin::TakenOver { from } => {
                        let uid = |pod: Option<&ipam_core::PodRef>| pod.and_then(|p| p.uid.clone());
                        assert_eq!(holder.as_ref(), Some(&**from));
                        assert_eq!(uid(from.pod.as_ref()), uid(demand.pod.as_ref()));
                        continue;
                    }
                    Origin::Requested => assert!(demand.requested.contains(&grant.address)),
                    Origin::Pinned => assert!(grant.pool.pinned().contains(grant.address)),
                    _ => assert!(grant.pool.assignable().contains(grant.address)),
                }
                assert_eq!(holder, None, "{} has a holder", grant.address);
                assert!(!grant.pool.reserved().contains(grant.address));
                if let Some(rest) = self.book.rest(grant.address).expect("infallible") {
                    let is_over = rest.until.0 <= self.oracle.now;
                    assert!(is_over || rest.kind() != RestKind::Quarantine, "quarantine is early");
                }
            }
        }
    }

    fn quarantine(&mut self, number: u8, address: u8, seconds: u64) {
        let address = Subnet::of_pool(number).address(address);
        let Some(pool) = self.applied.get(&number) else { return };
        if !pool.claimed().contains(address) {
            return;
        }
        let seen = "a neighbour".to_owned();
        let now = Moment(self.oracle.now);
        let rest = Rest::quarantine(seen.clone(), now, now.after(seconds));
        self.book.rest_for(address, pool.name(), rest);
        self.oracle.rest_for(address, number, seconds, RestReason::Quarantine { seen });
    }

    fn reclaim(&mut self, plan: &FactsPlan) {
        let facts = facts_of(plan, self.oracle.now);
        let leases: Vec<Lease> = self.book.leases().cloned().collect();
        let answer = reclaim(&leases, &facts);
        let mut judged: BTreeMap<IpAddr, Result<_, _>> = BTreeMap::new();
        judged.extend(answer.freed.iter().map(|(lease, why)| (lease.address, Ok(*why))));
        judged.extend(answer.kept.iter().map(|(lease, why)| (lease.address, Err(*why))));
        let judge = |lease: &Lease| (lease.address, self.oracle.judge(lease, plan));
        assert_eq!(judged, self.oracle.leases().map(judge).collect());
        assert_eq!(judged.len(), answer.freed.len() + answer.kept.len());

        let policy = policy_of(self.oracle.policy);
        let now = Moment(self.oracle.now);
        for (lease, _) in answer.freed {
            let key = StickyKey::new(lease.pod.as_ref(), &lease.attachment);
            let rest = policy.rest(key, now);
            let is_free = rest.is_none();
            let rest = rest.unwrap_or(Rest::cooling(now, now));
            self.book.rest_for(lease.address, &lease.pool, rest);
            if is_free {
                self.book.wake(lease.address);
            }
            self.oracle.free(lease);
        }
    }

    /// Whether the book and each of its indexes say what the oracle says.
    fn check(&self) {
        let Self { book, oracle, .. } = self;
        let Ok(()) = (|| {
            assert_eq!(book.leases().collect::<Vec<_>>(), oracle.leases().collect::<Vec<_>>());
            for subnet in Subnet::ALL {
                for address in subnet.addresses(u16::MAX) {
                    assert_eq!(book.lease(address)?.as_ref(), oracle.lease(address));
                    assert_eq!(book.rest(address)?.as_ref(), oracle.rest(address));
                }
            }
            for (&number, pool) in self.applied.keys().zip(&self.pools) {
                assert_eq!(book.counts(pool)?, oracle.counts(number), "pool {number}");
                assert_eq!(book.last_given(pool)?, oracle.last_given.get(&number).copied());
                let mut free = oracle.assignable(number);
                free.retain(|address| !oracle.states.contains_key(address));
                for from in (0..SIZE).map(|from| Subnet::of_pool(number).address(from)) {
                    let first = free.iter().find(|address| **address >= from).copied();
                    assert_eq!(book.first_free(pool, from)?, first, "pool {number} from {from}");
                }
                for kind in KINDS {
                    let mut queue = Vec::new();
                    let mut after = None;
                    while let Some((address, rest)) = book.next_resting(pool, kind, after)? {
                        after = Some((rest.until, address));
                        queue.push((address, rest));
                    }
                    assert_eq!(queue, oracle.queue(number, kind), "pool {number} {kind:?}");
                }
            }
            self.check_holders()
        })();
    }

    fn check_holders(&self) -> Result<(), std::convert::Infallible> {
        let Self { book, oracle, .. } = self;
        for (network, interface) in (0..PLACES).flat_map(|n| (0..PLACES).map(move |i| (n, i))) {
            let place = |container| attachment(Place { container, network, interface });
            for container in 0..CONTAINERS {
                let attachment = place(container);
                assert_eq!(book.held_by(&attachment)?, oracle.held_by(&attachment));
            }
            let place = place(0);
            for uid in (0..UIDS).map(|uid| format!("uid{uid}")) {
                let held = book.held_by_pod(&uid, &place.network, &place.ifname)?;
                assert_eq!(held, oracle.held_by_pod(&uid, &place), "{uid}");
            }
            for name in 0..3 {
                let key = StickyKey::new(Some(&pod_ref((name, None))), &place).expect("a pod");
                assert_eq!(book.waiting_for(&key)?, oracle.waiting_for(&key), "{key}");
            }
        }
        Ok(())
    }
}

fn count(seen: &mut Seen, strategy: u8, answer: &Answer) {
    // The name of the variant: what stands before its contents.
    let name = |value: &dyn std::fmt::Debug| {
        let text = format!("{value:?}");
        let end = text.find([' ', '(', '{']).unwrap_or(text.len());
        text[..end].to_owned()
    };
    let names = match answer {
        Ok((woken, given)) => given
            .iter()
            .map(|one| format!("{strategy} {}", name(&one.origin)))
            .chain(woken.iter().map(|_| "woken".to_owned()))
            .collect(),
        Err(why) => match &**why {
            Why::Request(_, why) => vec![format!("not {}", name(why))],
            why => vec![name(why)],
        },
    };
    for name in names {
        *seen.entry(name).or_default() += 1;
    }
}

fn given_of(grant: &Grant<'_>) -> Given {
    Given {
        demand: grant.demand,
        address: grant.address,
        pool: grant.pool.name().as_str()[1..].parse().expect("pN"),
        origin: grant.origin.clone(),
    }
}
