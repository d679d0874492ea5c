//! The power goes at every write of the store's life.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use redb::StorageBackend;

use super::format_1;
use super::script::script;
use super::step::{
    Note, Operation, Step, contents, create, demand, examine, perform, policy, policy_of,
};
use crate::contents::Contents;
use crate::phased::Phased;
use crate::power::disk::Disk;
use crate::power::image::{Dice, Policy};
use crate::power::sweep::{self, Outcome, Progress};
use crate::power::tape::{Device, Event, Tape};
use crate::transaction::{allocate, transact};

/// Who asks for addresses when a check goes on working; the script has no such container.
const CONTAINER_OF_A_CHECK: usize = 1 << 20;

/// A workload that was run on a tape.
struct Recorded {
    tape: Tape,
    steps: Vec<Step>,
    /// What the store says before the first step and after each.
    states: Vec<Contents>,
}

impl Recorded {
    /// Runs the steps one after the other, each in a process of its own on what `device` makes of
    /// the machine's disk, from a file that is there.
    fn of<B: StorageBackend>(file: Vec<u8>, steps: Vec<Step>, device: fn(Device) -> B) -> Self {
        let first =
            contents(Phased::open(Disk::of(file.clone()), true).unwrap().database()).unwrap();
        let note = Note::settled(first.revision);
        let (tape, mut states) = (Tape::new(file), vec![first]);
        for (number, step) in steps.iter().enumerate() {
            tape.begin(number);
            let noted = states[number].revision;
            let done = perform(device(tape.device()), step, &note, |database, answer| {
                let state = contents(database).unwrap();
                assert_eq!(answer.revision.unwrap_or(noted), state.revision);
                states.push(state);
                tape.acknowledge(number);
                if step.killed {
                    tape.kill();
                }
            });
            done.unwrap();
        }
        Self { tape, steps, states }
    }

    fn sweep(&self, policies: &[Policy]) -> Outcome {
        let recording = self.tape.recording();
        sweep::sweep(&recording, policies, |disk, at| self.check(disk, at))
    }

    fn sweep_aloud(&self, policies: &[Policy]) -> Outcome {
        let start = Instant::now();
        let outcome = self.sweep(policies);
        println!("{outcome} in {:.1?}", start.elapsed());
        outcome
    }

    /// Looks at what is left, and goes on working with it as the next process does.
    fn check(&self, disk: Disk, progress: Progress<'_>) -> Result<(), String> {
        let answered = progress.acknowledged.len();
        let allowed = &self.states[answered..=answered + progress.unanswered.len()];
        let left = Disk::of(disk.bytes());
        let found = examine(disk)?;
        if !allowed.contains(&found) {
            let first = &allowed[0];
            return Err(format!(
                "{progress:?}: revision {} with {} leases where {} with {} was answered",
                found.revision,
                found.leases.len(),
                first.revision,
                first.leases.len()
            ));
        }
        if found.pools.is_empty() {
            return Ok(());
        }
        go_on(left, found, self.states[answered].revision)
    }
}

/// The next process gives addresses out, of which nobody holds any, and the one after it finds
/// that and nothing else changed.
fn go_on(disk: Disk, found: Contents, noted: u64) -> Result<(), String> {
    let now = ipam_core::Stamp {
        boot: found.boot.clone(),
        moment: found.moment.after(1),
        unix_seconds: 0,
    };
    let demand = demand(CONTAINER_OF_A_CHECK, CONTAINER_OF_A_CHECK, Vec::new());
    let phased = Phased::open(disk.clone(), true).map_err(|error| error.to_string())?;
    let ended = transact(
        phased.database(),
        Some(noted),
        &policy_of,
        &now,
        || Ok(()),
        |register| allocate(register, std::slice::from_ref(&demand), None, &policy(), &now),
    );
    let ended = ended.map_err(|error| match error {
        crate::error::Undecided::Refused(refused) => refused.to_string(),
        crate::error::Undecided::Fault(fault) => format!("{fault:?}"),
        crate::error::Undecided::Store(error) => error.to_string(),
    })?;
    let mut leases = found.leases;
    for grant in ended.answer {
        let address = grant.lease.address;
        if leases.iter().any(|lease| lease.address == address) {
            return Err(format!("{address} was held and is given out"));
        }
        leases.push(grant.lease);
    }
    leases.sort_by_key(|lease| lease.address);
    drop(phased);
    let later = examine(disk)?;
    // Rests that are over end with any decision.
    let rests_stay = later.rests.iter().all(|resting| found.rests.contains(resting));
    let same = (later.leases == leases, later.pools == found.pools, rests_stay);
    let revision = (ended.revision == Some(found.revision + 1), later.revision > found.revision);
    match (same, revision) {
        ((true, true, true), (true, true)) => Ok(()),
        other => Err(format!("after the next allocation: {other:?}")),
    }
}

/// The file of a store in which nothing was ever applied, as its creation leaves it.
fn created() -> Vec<u8> {
    let disk = Disk::of(Vec::new());
    drop(create(disk.clone(), &Contents::default()));
    disk.bytes()
}

/// The same, closed as the library does it.
fn closed_cleanly() -> Vec<u8> {
    let disk = Disk::of(Vec::new());
    create(disk.clone(), &Contents::default()).close_cleanly();
    disk.bytes()
}

#[test]
fn two_hundred_operations_survive_a_power_cut_anywhere() {
    let recorded = Recorded::of(created(), script(200, 1), |device| device);
    let held = recorded.states.iter().map(|state| state.leases.len()).max();
    println!("at most {held:?} addresses held, file of {} bytes", recorded.tape.contents().len());
    let outcome = recorded.sweep_aloud(&Policy::DEFAULT);
    assert_eq!(outcome.failures, 0, "{outcome}");
    assert!(outcome.cut_points > 200 * 15, "{outcome}");
}

/// No part of the library may count on a sector being whole, nor on more than that.
#[test]
fn operations_survive_writes_torn_into_small_and_large_pieces() {
    let torn = [8, 64, 4096].map(|unit_bytes| Policy::Torn { seed: 5, unit_bytes });
    let recorded = Recorded::of(closed_cleanly(), script(60, 2), |device| device);
    let outcome = recorded.sweep_aloud(&[torn.as_slice(), &[Policy::Nothing]].concat());
    assert_eq!(outcome.failures, 0, "{outcome}");
}

/// The power goes once more while the next process works on what the first cut left.
#[test]
fn a_second_power_cut_finds_what_was_answered_too() {
    let recorded = Recorded::of(created(), script(60, 3), |device| device);
    let recording = recorded.tape.recording();
    let mut dice = Dice::new(7, 0);
    let (mut images, mut cut_points) = (0, 0);
    let torn = Policy::Torn { seed: 8, unit_bytes: 512 };
    let outcome = sweep::sweep(&recording, &[torn], |disk, progress| {
        if dice.below(40) > 0 {
            return Ok(());
        }
        let answered = progress.acknowledged.len();
        let allowed = &recorded.states[answered..=answered + progress.unanswered.len()];
        let file = disk.bytes();
        let found = examine(disk)?;
        if found.pools.is_empty() {
            return Ok(());
        }
        assert!(allowed.contains(&found));
        let container = CONTAINER_OF_A_CHECK + 1;
        let operation = Operation::Allocate { container, pod: container, requested: Vec::new() };
        let now = recorded.steps[answered.saturating_sub(1)].now.clone();
        let steps = vec![Step { operation, now, killed: false }];
        let second = Recorded::of(file, steps, |device| device).sweep(&Policy::DEFAULT);
        images += second.images;
        cut_points += second.cut_points;
        if second.failures == 0 { Ok(()) } else { Err(second.to_string()) }
    });
    println!("second cuts: {cut_points} cut points, {images} images");
    assert_eq!(outcome.failures, 0, "{outcome}");
    assert!(cut_points > 300, "{cut_points}");
}

#[test]
fn a_file_of_format_1_is_migrated_whole_or_not_at_all() {
    for is_clean in [true, false] {
        let file = format_1::file(is_clean);
        let recorded = Recorded::of(file, format_1::first_steps(), |device| device);
        assert_eq!(recorded.states[0].leases, format_1::leases());
        let last = recorded.states.last().unwrap();
        assert!(last.revision > 0 && last.leases.len() == format_1::leases().len());
        let outcome = recorded.sweep_aloud(&Policy::DEFAULT);
        assert_eq!(outcome.failures, 0, "{outcome}");
        assert!(outcome.cut_points > 30, "{outcome}");
    }
}

/// Two: of the pages, and of the header that names them. Growth takes one more.
#[test]
fn an_allocation_and_a_release_take_two_syncs_each() {
    let recorded = Recorded::of(created(), script(200, 1), |device| device);
    let (mut syncs, mut grew, mut counted) = (0, false, 0);
    for event in recorded.tape.recording().events {
        match event {
            Event::Begun(_) => (syncs, grew) = (0, false),
            Event::Sync => syncs += 1,
            Event::SetLen(_) => grew = true,
            Event::Acknowledged(number) => {
                let (before, after) = (&recorded.states[number], &recorded.states[number + 1]);
                let expected = if before == after { 0 } else { 2 };
                let maintained = number > 0
                    && matches!(
                        recorded.steps[number - 1].operation,
                        Operation::Verify | Operation::Compact
                    );
                if let Operation::Allocate { .. } | Operation::Release { .. } =
                    recorded.steps[number].operation
                    && !grew
                    && !maintained
                {
                    assert_eq!(syncs, expected, "step {number}");
                    counted += expected / 2;
                }
            }
            Event::Write { .. } => {}
        }
    }
    println!("{counted} operations of two syncs each");
    assert!(counted > 60, "{counted}");
}

/// A disk that answers some syncs of each process without doing them.
#[derive(Debug)]
struct Skipping {
    device: Device,
    done: AtomicUsize,
    skipped: fn(usize) -> bool,
}

impl StorageBackend for Skipping {
    fn len(&self) -> io::Result<u64> {
        self.device.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.device.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.device.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        let number = self.done.fetch_add(1, Ordering::Relaxed);
        if (self.skipped)(number) { Ok(()) } else { self.device.sync_data() }
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.device.write(offset, data)
    }
}

fn skipping(device: Device, skipped: fn(usize) -> bool) -> Skipping {
    Skipping { device, done: AtomicUsize::new(0), skipped }
}

/// Leaving out one sync more than [`Phased`] does loses something, and this test sees it.
#[test]
fn each_of_the_two_syncs_is_needed() {
    let steps = || script(12, 1);
    for (name, recorded) in [
        ("all", Recorded::of(created(), steps(), |device| skipping(device, |_| true))),
        ("the first", Recorded::of(created(), steps(), |device| skipping(device, |n| n == 0))),
        ("the second", Recorded::of(created(), steps(), |device| skipping(device, |n| n == 1))),
    ] {
        let outcome = recorded.sweep(&Policy::DEFAULT);
        println!("without {name}: {} of {} images fail", outcome.failures, outcome.images);
        assert!(outcome.failures > 0, "without {name}: {outcome}");
    }
}
