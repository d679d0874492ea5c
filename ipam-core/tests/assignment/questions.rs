//! The cost of a decision, in questions to the ledger: the same for every size of pool.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::IpAddr;

use ipam_core::{
    Attachment, Counts, Family, FreeRuns, IfName, Lease, Ledger, Moment, NetworkName, Policy, Pool,
    PoolSpec, RangeSet, Rest, RestKind, StickyKey, Strategy, decide,
};

use crate::node::{Node, attachment, demand, demand_of, pool, pool_with};

/// Counts what another ledger is asked.
struct Counting<'a, L> {
    ledger: &'a L,
    asked: Cell<usize>,
}

impl<'a, L: Ledger> Counting<'a, L> {
    fn new(ledger: &'a L) -> Self {
        Self { ledger, asked: Cell::new(0) }
    }

    fn ask(&self) -> &'a L {
        self.asked.set(self.asked.get() + 1);
        self.ledger
    }
}

impl<L: Ledger> Ledger for Counting<'_, L> {
    type Error = L::Error;

    fn first_free(&self, pool: &Pool, from: IpAddr) -> Result<Option<IpAddr>, L::Error> {
        self.ask().first_free(pool, from)
    }

    fn lease(&self, address: IpAddr) -> Result<Option<Lease>, L::Error> {
        self.ask().lease(address)
    }

    fn held_by(&self, attachment: &Attachment) -> Result<Vec<Lease>, L::Error> {
        self.ask().held_by(attachment)
    }

    fn held_by_pod(
        &self,
        uid: &str,
        network: &NetworkName,
        ifname: &IfName,
    ) -> Result<Vec<Lease>, L::Error> {
        self.ask().held_by_pod(uid, network, ifname)
    }

    fn rest(&self, address: IpAddr) -> Result<Option<Rest>, L::Error> {
        self.ask().rest(address)
    }

    fn next_resting(
        &self,
        pool: &Pool,
        kind: RestKind,
        after: Option<(Moment, IpAddr)>,
    ) -> Result<Option<(IpAddr, Rest)>, L::Error> {
        self.ask().next_resting(pool, kind, after)
    }

    fn waiting_for(&self, key: &StickyKey) -> Result<Vec<IpAddr>, L::Error> {
        self.ask().waiting_for(key)
    }

    fn last_given(&self, pool: &Pool) -> Result<Option<IpAddr>, L::Error> {
        self.ask().last_given(pool)
    }

    fn counts(&self, pool: &Pool) -> Result<Counts, L::Error> {
        self.ask().counts(pool)
    }
}

/// Knows of one pool which addresses are free; all others of it are held by nobody in particular.
struct FreeOnly {
    free: FreeRuns,
    last: Option<IpAddr>,
}

impl Ledger for FreeOnly {
    type Error = Infallible;

    fn first_free(&self, _: &Pool, from: IpAddr) -> Result<Option<IpAddr>, Infallible> {
        Ok(self.free.first_from(from))
    }

    fn lease(&self, _: IpAddr) -> Result<Option<Lease>, Infallible> {
        Ok(None)
    }

    fn last_given(&self, _: &Pool) -> Result<Option<IpAddr>, Infallible> {
        Ok(self.last)
    }

    fn counts(&self, _: &Pool) -> Result<Counts, Infallible> {
        Ok(Counts::default())
    }
}

const STRATEGIES: [Strategy; 4] = [
    Strategy::Lowest,
    Strategy::RoundRobin,
    Strategy::Random { seed: 0x1234_5678 },
    Strategy::OldestReleased,
];

/// Held, held by the pod, waiting; three kinds of rest; the last given; and up to two looks for a
/// free address.
const MOST: usize = 9;

fn questions(pool: &Pool, ledger: &FreeOnly, strategy: Strategy) -> usize {
    let counting = Counting::new(ledger);
    let mut policy = Policy { strategy, ..Policy::default() };
    policy.sticky = ipam_core::StickyNames::All;
    let demands = [demand_of("c", "eth0", Some(("web-0", "u1")))];
    let pools = std::slice::from_ref(pool);
    decide(&demands, pools, &policy, Moment(1), &counting).unwrap();
    counting.asked.get()
}

fn subnet(cidr: &'static str) -> impl FnOnce(&mut PoolSpec) {
    move |spec| spec.subnet = cidr.into()
}

/// Every thousandth address, at most 16 000 of them: what is left when 99.9 % are held.
fn sparse(pool: &Pool) -> RangeSet {
    let size = pool.assignable().size();
    let step = (size / 16_000).max(1000);
    let places = (0..16_000).map(|n| n * step + step / 8).take_while(|place| *place < size);
    places.filter_map(|place| pool.assignable().at(place)).collect()
}

#[test]
fn a_decision_asks_the_same_of_every_size_of_pool() {
    let thousand: Vec<String> =
        (0..1000).map(|n| format!("10.{}.{}.9", n / 250, n % 250)).collect();
    let pools = [
        pool("small", "10.0.0.0/24"),
        pool_with("wide", "10.0.0.0/8", subnet("10.0.0.0/8")),
        pool("six", "fd00::/64"),
        pool_with("whole", "::/0", subnet("::/0")),
        pool_with("ranges", &thousand.join(","), subnet("10.0.0.0/8")),
    ];
    for pool in &pools {
        let last = pool.assignable().ranges().last().unwrap().last();
        for (share, free) in [("nothing", pool.assignable().clone()), ("99.9 %", sparse(pool))] {
            for strategy in STRATEGIES {
                for last in [None, Some(last)] {
                    let free = FreeRuns::new(pool.family(), &free);
                    let asked = questions(pool, &FreeOnly { free, last }, strategy);
                    let name = pool.name();
                    assert!(asked <= MOST, "{asked} for {name}, {share} held, {strategy:?}");
                }
            }
        }
    }
}

/// Of the addresses given in a decision, each is met at most once for each later demand.
#[test]
fn interfaces_ask_for_themselves_and_what_was_given_before() {
    let pool = pool_with("wide", "10.0.0.0/8", subnet("10.0.0.0/8"));
    let free = FreeRuns::new(Family::V4, pool.assignable());
    let ledger = FreeOnly { free, last: None };
    for strategy in STRATEGIES {
        let counting = Counting::new(&ledger);
        let demands: Vec<_> = (0..10).map(|n| demand(&n.to_string())).collect();
        let policy = Policy { strategy, ..Policy::default() };
        let pools = std::slice::from_ref(&pool);
        let decision = decide(&demands, pools, &policy, Moment(1), &counting).unwrap();
        assert_eq!(decision.grants.len(), 10);
        // Each: what it holds, the last given, and one look; the three kinds of rest only once.
        let most = 10 * 3 + 3 + (0..10).sum::<usize>();
        assert!(counting.asked.get() <= most, "{strategy:?}: {}", counting.asked.get());
    }
}

/// What still rests costs nothing; what has rested long enough costs once.
#[test]
fn resting_addresses_are_looked_through_once() {
    for strategy in STRATEGIES {
        let pools = [pool_with("a", "10.0.0.0/16", subnet("10.0.0.0/16"))];
        let mut node = Node::with(pools, Strategy::Lowest, 30);
        let many = 2000;
        for n in 0..many {
            node.add(demand(&n.to_string()));
        }
        for n in 0..many {
            node.del(&attachment(&n.to_string(), "eth0"));
        }
        node.policy.strategy = strategy;
        let asked = |node: &Node| {
            let counting = Counting::new(&node.book);
            let now = Moment(node.now);
            decide(&[demand("x")], &node.pools, &node.policy, now, &counting).unwrap();
            counting.asked.get()
        };
        node.now += 29;
        assert!(asked(&node) <= MOST, "{strategy:?} while they rest");
        node.now += 1;
        node.add(demand("x"));
        node.del(&attachment("x", "eth0"));
        assert!(asked(&node) <= MOST + 1, "{strategy:?} once they are free");
    }
}

/// Also to say that nothing is left, and that a requested address cannot be had.
#[test]
fn a_refusal_asks_no_more_than_an_answer() {
    let pool = pool_with("wide", "10.0.0.0/8", subnet("10.0.0.0/8"));
    let none = FreeRuns::new(Family::V4, &RangeSet::new());
    let ledger = FreeOnly { free: none, last: None };
    for strategy in STRATEGIES {
        let counting = Counting::new(&ledger);
        let policy = Policy { strategy, ..Policy::default() };
        let pools = std::slice::from_ref(&pool);
        decide(&[demand("x")], pools, &policy, Moment(1), &counting).unwrap_err();
        // Two more for the text, and one for what cools down.
        assert!(counting.asked.get() <= MOST + 3, "{strategy:?}: {}", counting.asked.get());
    }
    let counting = Counting::new(&ledger);
    let mut request = demand("x");
    request.requested = vec!["10.200.0.1".parse().unwrap()];
    let pools = std::slice::from_ref(&pool);
    decide(&[request], pools, &Policy::default(), Moment(1), &counting).unwrap();
    assert_eq!(counting.asked.get(), 3);
}
