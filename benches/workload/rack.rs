//! Nodes that know what is free and nothing else.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::IpAddr;

use ipam_core::{Counts, Demand, FreeRuns, Lease, Ledger, Moment, Policy, Pool, decide};

use crate::{Case, MEASURED, copies, demand, pools};

/// The smallest ledger: the leases are kept by somebody else, and nothing rests. Only the measured
/// pool has addresses, so that a /8 costs no more than its free runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FreeOnly(FreeRuns);

impl Ledger for FreeOnly {
    type Error = Infallible;

    fn first_free(&self, pool: &Pool, from: IpAddr) -> Result<Option<IpAddr>, Infallible> {
        debug_assert_eq!(pool.name().as_str(), "measured");
        Ok(self.0.first_from(from))
    }

    fn lease(&self, _: IpAddr) -> Result<Option<Lease>, Infallible> {
        Ok(None)
    }

    fn counts(&self, _: &Pool) -> Result<Counts, Infallible> {
        Ok(Counts::default())
    }
}

/// One node with its pools, a demand, and what is free.
#[derive(Debug)]
struct Node {
    pools: Vec<Pool>,
    demands: [Demand; 1],
    policy: Policy,
    free: RefCell<FreeOnly>,
}

impl Node {
    fn new(case: Case) -> Self {
        let pools = pools(case.subnet);
        let measured = &pools[MEASURED];
        let free = FreeRuns::new(measured.family(), &case.free_space(measured));
        Self {
            pools,
            demands: [demand(0)],
            policy: Policy::default(),
            free: RefCell::new(FreeOnly(free)),
        }
    }

    fn allocate(&self) -> Holding<'_> {
        let mut free = self.free.borrow_mut();
        let decision = decide(&self.demands, &self.pools, &self.policy, Moment(0), &*free);
        let address = decision.expect("the pool has room for a batch").grants[0].address;
        assert!(free.0.remove(address), "{address} is held already");
        Holding { node: self, address }
    }
}

/// Nodes in the same state, asked in turn, so that a [`BATCH`](crate::BATCH) of addresses fits
/// even where a single one is left on each.
#[derive(Debug)]
pub struct Rack {
    nodes: Vec<Node>,
    turn: Cell<usize>,
}

impl Rack {
    /// Nodes in the state of `case`.
    pub fn new(case: Case) -> Self {
        let node = Node::new(case);
        let more = 1..copies(case.free_space(&node.pools[MEASURED]).size());
        let more = more.map(|_| Node::new(case));
        Self { nodes: [node].into_iter().chain(more).collect(), turn: Cell::new(0) }
    }

    /// How many runs the free addresses of a node are.
    pub fn run_count(&self) -> usize {
        self.nodes[0].free.borrow().0.run_count()
    }

    /// The whole decision in memory: selects among the pools, chooses an address, notes it as
    /// held. Dropping the answer releases it.
    ///
    /// # Panics
    ///
    /// If more than a [`BATCH`](crate::BATCH) is held at once, or an address is given twice.
    pub fn allocate(&self) -> Holding<'_> {
        let turn = self.turn.get();
        self.turn.set((turn + 1) % self.nodes.len());
        self.nodes[turn].allocate()
    }
}

/// An address held in memory; dropping it is the release.
#[derive(Debug)]
pub struct Holding<'a> {
    node: &'a Node,
    address: IpAddr,
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let is_new = self.node.free.borrow_mut().0.insert(self.address);
        assert!(is_new, "{} is free already", self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BATCH, CASES};

    #[test]
    fn the_free_addresses_are_as_scattered_as_the_results_say() {
        let runs: Vec<usize> = CASES.iter().map(|case| Rack::new(*case).run_count()).collect();
        assert_eq!(runs, [1, 94, 1, 1, 14_531, 65, 1, 16_383, 16_384, 1, 16_384, 16_384]);
    }

    #[test]
    fn a_batch_leaves_every_case_as_it_was() {
        for case in CASES {
            let rack = Rack::new(case);
            let state = || -> Vec<FreeOnly> {
                rack.nodes.iter().map(|node| node.free.borrow().clone()).collect()
            };
            let start = state();
            let batch: Vec<Holding<'_>> = (0..BATCH).map(|_| rack.allocate()).collect();
            assert_ne!(state(), start, "{case}");
            drop(batch);
            assert_eq!(state(), start, "{case}");
        }
    }
}
