//! One byte of a store's file flipped, each in turn: nothing that is held is given to somebody
//! else.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use ipam_core::{Attachment, Lease};

use super::script::{at, declared};
use super::step::{
    Answer, Note, Operation, Step, attachment, contents, demand, examine, perform, policy, stamp,
};
use crate::contents::{Contents, Resting};
use crate::phased::Phased;
use crate::power::disk::Disk;
use crate::power::flips::{self, Flips, Tally, Unit, Verdict};
use crate::power::panics;
use crate::store::{Request, Store};

/// Each has an address of either family.
const PODS: usize = 125;
/// These were released, and their addresses rest: of every third for the pod.
const GONE: usize = 12;
/// Nobody else asks for these.
const NEW: usize = 1000;

/// How many bytes lie between two flips; 1 for each byte of the file.
const STRIDE: &str = "IPAM_FLIP_STRIDE";

/// The file of a store with 250 leases, as the store makes it: the same bytes each time.
fn lived_in() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path().join("ipam"), std::time::Duration::from_secs(60))
        .with_policy(policy())
        .with_clock(|| stamp(0, 1000));
    store.apply(&declared(300)).unwrap();
    for container in 0..PODS + GONE {
        let demand = demand(container, container, Vec::new());
        let netns = ipam_core::NetnsRef { path: format!("/run/netns/{container}"), inode: None };
        store.allocate(&Request { demand, netns: Some(netns) }).unwrap();
    }
    for container in PODS..PODS + GONE {
        assert_eq!(store.release(&attachment(container)).unwrap().len(), 2);
    }
    assert!(store.verify(false).unwrap().faults.is_empty());
    // Leaves a file that was not closed by the maintenance before.
    store.release(&attachment(0)).unwrap();
    let demand = demand(0, 0, Vec::new());
    store.allocate(&Request { demand, netns: None }).unwrap();
    std::fs::read(store.directory().join("ipam.redb")).unwrap()
}

fn says(disk: Disk) -> Result<Contents, String> {
    let phased = Phased::open(disk, true).map_err(|error| error.to_string())?;
    contents(phased.database()).map_err(|fault| format!("{fault:?}"))
}

/// What programs do with the damaged file, each in a process of its own whatever became of those
/// before, and who holds what if all goes well.
struct Node {
    disk: Disk,
    note: Note,
    held: BTreeMap<IpAddr, Attachment>,
    errors: usize,
    panicked: Option<String>,
}

impl Node {
    fn of(disk: Disk, whole: &Contents) -> Self {
        let held = whole.leases.iter().map(|lease| (lease.address, lease.attachment.clone()));
        let (held, note) = (held.collect(), Note::settled(whole.revision));
        Self { disk, note, held, errors: 0, panicked: None }
    }

    fn does(&mut self, operation: Operation) -> Option<Answer> {
        let step = Step { operation, now: stamp(0, 1001), killed: false };
        let done = panics::catch(|| perform(self.disk.clone(), &step, &self.note, |_, _| ()));
        match done {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(_)) => {
                self.errors += 1;
                None
            }
            Err(panic) => {
                self.panicked.get_or_insert(panic);
                None
            }
        }
    }

    fn asks(&mut self, container: usize, requested: Vec<IpAddr>) -> Result<(), String> {
        let operation = Operation::Allocate { container, pod: container, requested };
        for Lease { address, .. } in self.does(operation).unwrap_or_default().granted {
            if let Some(holder) = self.held.insert(address, attachment(container)) {
                return Err(format!("{address} of {holder} is given to another"));
            }
        }
        Ok(())
    }

    fn releases(&mut self, container: usize) -> Result<(), String> {
        let Some(answer) = self.does(Operation::Release { container }) else { return Ok(()) };
        for Lease { address, .. } in answer.released {
            // Held by nobody: what a process began that said it had failed.
            if let Some(holder) = self.held.remove(&address)
                && holder != attachment(container)
            {
                return Err(format!("{address} of {holder} is released for another"));
            }
        }
        Ok(())
    }

    /// New pods, one that asks for what others hold, and one that goes.
    fn lives(&mut self) -> Result<(), String> {
        self.asks(NEW, Vec::new())?;
        self.asks(NEW + 1, vec![at(0, 20), at(1, 70)])?;
        self.asks(NEW + 2, vec![at(1, 100)])?;
        self.releases(40)?;
        self.asks(NEW + 3, Vec::new())?;
        self.asks(NEW + 4, vec![at(0, 90)])?;
        self.releases(NEW)?;
        self.asks(NEW + 5, Vec::new())
    }
}

/// Without what decides about no address: how often something was changed, and for how long what
/// rests will rest, which begins anew where the boot id is not the one that was noted.
fn says_the_same(found: &Contents, expected: &Contents) -> bool {
    let rests = |contents: &Contents| -> Vec<_> {
        let rest = |resting: &Resting| (resting.address, resting.rest.reason.clone());
        contents.rests.iter().map(rest).collect()
    };
    found.pools == expected.pools
        && found.reserved == expected.reserved
        && found.leases == expected.leases
        && rests(found) == rests(expected)
}

fn judge(disk: Disk, whole: &Contents, expected: &Contents) -> Verdict {
    let mut node = Node::of(disk, whole);
    if let Err(wrong) = node.lives() {
        return Verdict::Wrong(wrong);
    }
    if let Some(panic) = node.panicked {
        panic!("{panic}");
    }
    if node.errors > 0 {
        return Verdict::Detected;
    }
    match says(node.disk.clone()) {
        Ok(found) if says_the_same(&found, expected) => Verdict::Harmless,
        Err(_) => Verdict::Detected,
        // What is not noticed by those who do not need it is noticed by `ipamctl verify`.
        Ok(found) => match examine(node.disk) {
            Err(_) => Verdict::Detected,
            Ok(_) => Verdict::Wrong(format!(
                "unnoticed: {} leases, {} rests, {} held",
                found.leases.len(),
                found.rests.len(),
                node.held.len()
            )),
        },
    }
}

fn sweep(test: &str, flips: Flips) -> Tally {
    let file = lived_in();
    let whole = says(Disk::of(file.clone())).unwrap();
    assert_eq!((whole.leases.len(), whole.rests.len()), (2 * PODS, 2 * GONE));
    let undamaged = Disk::of(file.clone());
    let mut node = Node::of(undamaged.clone(), &whole);
    node.lives().unwrap();
    assert_eq!((node.errors, node.panicked), (0, None));
    let expected = says(undamaged).unwrap();
    let holders = expected.leases.iter().map(|lease| (lease.address, lease.attachment.clone()));
    assert_eq!(node.held, holders.collect());
    let start = Instant::now();
    let tally = flips::sweep(test, &file, flips, |disk| judge(disk, &whole, &expected)).unwrap();
    println!("{test}: of {} bytes, {tally} in {:.1?}", file.len(), start.elapsed());
    assert_eq!((tally.wrong.count, tally.hung.count), (0, 0), "{tally}");
    assert!(tally.harmless > 0 && tally.detected > 0, "{tally}");
    tally
}

#[test]
fn no_flipped_byte_gives_a_held_address_away() {
    let stride = std::env::var(STRIDE).map_or(211, |stride| stride.parse().unwrap());
    let flips = Flips { unit: Unit::Byte, stride_bytes: stride, bytes: usize::MAX, processes: 2 };
    sweep("crash::damage::no_flipped_byte_gives_a_held_address_away", flips);
}

/// Which commit is the newest hangs on one bit, whose other value is a commit that was whole once.
#[test]
fn no_flipped_bit_of_the_header_gives_a_held_address_away() {
    let flips = Flips { unit: Unit::EachBit, stride_bytes: 1, bytes: 320, processes: 2 };
    sweep("crash::damage::no_flipped_bit_of_the_header_gives_a_held_address_away", flips);
}
