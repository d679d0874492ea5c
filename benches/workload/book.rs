//! Nodes that keep every lease in a [`Book`].

use std::cell::{Cell, RefCell};

use ipam_core::{
    AddressRange, Attachment, Book, Demand, Lease, Moment, NetnsRef, PodRef, Policy, Pool, Stamp,
    decide,
};

use crate::{Case, MEASURED, copies, demand, pools};

/// A released address is free at once, so that every sample starts from the same state.
fn policy() -> Policy {
    Policy { cooldown_seconds: 0, ..Policy::default() }
}

/// The lease of sandbox number `serial` with all that a runtime tells, as long as it usually is.
fn lease(serial: u32, pool: &Pool, address: std::net::IpAddr) -> Lease {
    Lease {
        address,
        pool: pool.name().clone(),
        attachment: demand(serial).attachment,
        pod: Some(pod(serial)),
        netns: Some(netns(serial)),
        since: since(),
    }
}

fn pod(serial: u32) -> PodRef {
    PodRef {
        namespace: "default".into(),
        name: format!("test-app-7d4b9c6f5d-{serial:05x}"),
        uid: Some(format!("{serial:08x}-1b2c-4d5e-8f90-0123456789ab")),
    }
}

fn netns(serial: u32) -> NetnsRef {
    let path = format!("/var/run/netns/cni-{serial:08x}-1b2c-4d5e-8f90-0123456789ab");
    NetnsRef { path, inode: Some(4_026_531_840 + u64::from(serial)) }
}

fn since() -> Stamp {
    let boot = "0f7c2d6e-1b2c-4d5e-8f90-0123456789ab".parse().expect("a valid name");
    Stamp { boot: Some(boot), moment: Moment(1_000), unix_seconds: 1_700_000_000 }
}

/// A book with the first `leases` addresses of a /16 held.
pub fn full_book(leases: u32) -> Book {
    let pools = pools("10.0.0.0/16");
    let mut book = Book::new(&pools);
    let ranges = pools[MEASURED].assignable().ranges();
    let addresses = ranges.iter().flat_map(AddressRange::addresses);
    for (serial, address) in (0..leases).zip(addresses) {
        book.hold(lease(serial, &pools[MEASURED], address));
    }
    book
}

/// One node with its pools and its book.
#[derive(Debug)]
struct Node {
    pools: Vec<Pool>,
    policy: Policy,
    book: RefCell<Book>,
}

impl Node {
    fn new(case: Case) -> Self {
        let pools = pools(case.subnet);
        let measured = &pools[MEASURED];
        let mut book = Book::new(&pools);
        let held = measured.assignable().difference(&case.free_space(measured));
        let addresses = held.ranges().iter().flat_map(AddressRange::addresses);
        for (serial, address) in (0..).zip(addresses) {
            book.hold(lease(serial, measured, address));
        }
        Self { pools, policy: policy(), book: RefCell::new(book) }
    }
}

/// Nodes in the same state, asked in turn.
#[derive(Debug)]
pub struct BookRack {
    nodes: Vec<Node>,
    turn: Cell<usize>,
    serial: Cell<u32>,
    stamp: Stamp,
}

impl BookRack {
    /// Nodes in the state of `case`.
    pub fn new(case: Case) -> Self {
        let node = Node::new(case);
        let more = 1..copies(case.free_space(&node.pools[MEASURED]).size());
        let more = more.map(|_| Node::new(case));
        let nodes = [node].into_iter().chain(more).collect();
        Self { nodes, turn: Cell::new(0), serial: Cell::new(0x8000_0000), stamp: since() }
    }

    /// What a sandbox that was never there before asks for.
    pub fn request(&self) -> (Demand, NetnsRef) {
        let serial = self.serial.get();
        self.serial.set(serial + 1);
        (Demand { pod: Some(pod(serial)), ..demand(serial) }, netns(serial))
    }

    /// Decides and writes the lease down. Dropping the answer releases it.
    ///
    /// # Panics
    ///
    /// If more than a [`BATCH`](crate::BATCH) is held at once.
    pub fn allocate(&self, (demand, netns): (Demand, NetnsRef)) -> BookHolding<'_> {
        let turn = self.turn.get();
        self.turn.set((turn + 1) % self.nodes.len());
        let node = &self.nodes[turn];
        let mut book = node.book.borrow_mut();
        let demands = [demand];
        let decision = decide(&demands, &node.pools, &node.policy, Moment(1_000), &*book)
            .expect("the pool has room for a batch");
        book.write(&demands, &decision, Some(&netns), &self.stamp);
        let [demand] = demands;
        BookHolding { node, attachment: demand.attachment }
    }
}

/// A lease in a book; dropping it is the release.
#[derive(Debug)]
pub struct BookHolding<'a> {
    node: &'a Node,
    attachment: Attachment,
}

impl Drop for BookHolding<'_> {
    fn drop(&mut self) {
        let Node { book, policy, .. } = self.node;
        let released = book.borrow_mut().release(&self.attachment, policy, Moment(1_000));
        assert_eq!(released.len(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BATCH, LISTED_CASES};

    #[test]
    fn a_batch_leaves_every_case_as_it_was() {
        for case in LISTED_CASES {
            let rack = BookRack::new(case);
            let state = || -> Vec<Vec<Lease>> {
                let leases =
                    rack.nodes.iter().map(|node| node.book.borrow().leases().cloned().collect());
                leases.collect()
            };
            let start = state();
            let pool = &rack.nodes[0].pools[MEASURED];
            let held = pool.assignable().size() - case.free_space(pool).size();
            assert_eq!(start[0].len() as u128, held, "{case}");
            // All are asked for before the first is answered, as the bench has it.
            let requests: Vec<_> = (0..BATCH).map(|_| rack.request()).collect();
            let batch: Vec<_> = requests.into_iter().map(|one| rack.allocate(one)).collect();
            let count = |state: Vec<Vec<Lease>>| -> usize { state.iter().map(Vec::len).sum() };
            assert_eq!(count(state()), count(start.clone()) + BATCH as usize, "{case}");
            drop(batch);
            assert_eq!(state(), start, "{case}");
        }
    }

    #[test]
    fn a_full_book_has_as_many_leases_as_it_says() {
        assert_eq!(full_book(1000).leases().count(), 1000);
    }
}
