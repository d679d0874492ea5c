//! The machinery of `power/`, shown on a small workload of its own: it finds nothing where redb
//! is used as it should be, and it does find a disk that lies and an answer given too early.
#![expect(clippy::print_stdout, reason = "the figures are half of what a sweep is for")]

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use power::disk::Disk;
use power::faults::{self, Duration, Faulty};
use power::flips::{self, Flip, Flips, Tally, Unit, Verdict};
use power::image::Policy;
use power::sweep::{self, Progress};
use power::tape::Tape;
use redb::{
    Builder, Database, Durability, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
};
use rustix::io::Errno;

mod power;

/// Two tables that have to agree, as the store's leases and its index of their holders do.
const BY_ADDRESS: TableDefinition<'_, u32, (u64, &[u8])> = TableDefinition::new("by_address");
const BY_HOLDER: TableDefinition<'_, u64, u32> = TableDefinition::new("by_holder");

type Error = Box<dyn std::error::Error>;
/// Holder by address.
type Held = BTreeMap<u32, u64>;

#[derive(Debug, Clone, Copy)]
enum Operation {
    Add { address: u32, holder: u64 },
    Del { address: u32, holder: u64 },
}

/// Operations that make sense one after another, with what is held before each and at the end.
struct Workload {
    operations: Vec<Operation>,
    held: Vec<Held>,
}

impl Workload {
    /// Two thirds are additions at the lowest free address: what is held grows and has gaps.
    fn of(count: usize) -> Self {
        let mut operations = Vec::new();
        let mut held = vec![Held::new()];
        for number in 0..count {
            let mut next = held[number].clone();
            let holder = number as u64 * 7919 % 1000;
            let operation = if number % 3 == 2 {
                let (address, holder) = next.pop_first().unwrap();
                Operation::Del { address, holder }
            } else {
                let address = (0..=u32::MAX).find(|address| !next.contains_key(address)).unwrap();
                next.insert(address, holder);
                Operation::Add { address, holder }
            };
            operations.push(operation);
            held.push(next);
        }
        Self { operations, held }
    }

    /// What must be found, and what else may be, at this point of the tape.
    fn allowed(&self, progress: Progress<'_>) -> impl Iterator<Item = &Held> {
        let answered = progress.acknowledged.len();
        self.held[answered..=answered + progress.unanswered.len()].iter()
    }
}

/// As much as makes the tables several pages deep.
fn payload(holder: u64) -> [u8; 400] {
    [holder.to_le_bytes()[0]; 400]
}

fn apply(database: &Database, operation: Operation) -> Result<(), Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    {
        let mut by_address = transaction.open_table(BY_ADDRESS)?;
        let mut by_holder = transaction.open_table(BY_HOLDER)?;
        match operation {
            Operation::Add { address, holder } => {
                let taken = by_address.insert(address, (holder, payload(holder).as_slice()))?;
                assert!(taken.is_none(), "{address} is held");
                assert!(by_holder.insert(holder, address)?.is_none(), "{holder} holds something");
            }
            Operation::Del { address, holder } => {
                assert!(by_address.remove(address)?.is_some(), "{address} is free");
                assert!(by_holder.remove(holder)?.is_some(), "{holder} holds nothing");
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// What both tables hold, or how they disagree.
fn held(database: &Database) -> Result<Held, Error> {
    let transaction = database.begin_read()?;
    let mut held = Held::new();
    for row in transaction.open_table(BY_ADDRESS)?.iter()? {
        let (address, record) = row?;
        let (holder, bytes) = record.value();
        if bytes != payload(holder) {
            return Err(format!("the record of {} is damaged", address.value()).into());
        }
        held.insert(address.value(), holder);
    }
    let mut by_holder = BTreeMap::new();
    for row in transaction.open_table(BY_HOLDER)?.iter()? {
        let (holder, address) = row?;
        by_holder.insert(address.value(), holder.value());
    }
    if by_holder == held {
        Ok(held)
    } else {
        Err(format!("by address {held:?}, by holder {by_holder:?}").into())
    }
}

fn open(disk: impl StorageBackend) -> Result<Database, redb::DatabaseError> {
    Builder::new().create_with_backend(disk)
}

/// A database with both tables and nothing in them, closed.
fn empty() -> Vec<u8> {
    let disk = Disk::of(Vec::new());
    let database = open(disk.clone()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(BY_ADDRESS).unwrap();
    transaction.open_table(BY_HOLDER).unwrap();
    transaction.commit().unwrap();
    drop(database);
    disk.bytes()
}

/// When the workload says that an operation was done.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    AfterCommit,
    BeforeCommit,
}

/// Runs the workload, one process per operation: every second one is killed after its answer, the
/// others close the database.
fn record<B: StorageBackend>(
    workload: &Workload,
    answer: Answer,
    device: impl Fn(&Tape) -> B,
) -> Tape {
    let tape = Tape::new(empty());
    for (number, operation) in workload.operations.iter().enumerate() {
        tape.begin(number);
        let database = open(device(&tape)).unwrap();
        if answer == Answer::BeforeCommit {
            tape.acknowledge(number);
        }
        apply(&database, *operation).unwrap();
        if answer == Answer::AfterCommit {
            tape.acknowledge(number);
        }
        if number % 2 == 0 {
            tape.kill();
        }
    }
    tape
}

/// Opens what is left, compares it with what was answered, and goes on working with it.
fn check(workload: &Workload, disk: Disk, progress: Progress<'_>) -> Result<(), String> {
    let examine = || -> Result<(), Error> {
        let mut database = open(disk.clone())?;
        let found = held(&database)?;
        if !workload.allowed(progress).any(|held| *held == found) {
            return Err(format!("{progress:?} but {found:?}").into());
        }
        if !database.check_integrity()? {
            return Err("the file had to be repaired".into());
        }
        apply(&database, Operation::Add { address: 1 << 20, holder: 1 << 20 })?;
        drop(database);
        let mut expected = found;
        expected.insert(1 << 20, 1 << 20);
        let found = held(&open(disk)?)?;
        if found == expected { Ok(()) } else { Err(format!("next: {found:?}").into()) }
    };
    examine().map_err(|error| error.to_string())
}

fn cut_everywhere(workload: &Workload, tape: &Tape) -> sweep::Outcome {
    let start = Instant::now();
    let outcome = sweep::sweep(&tape.recording(), &Policy::DEFAULT, |disk, progress| {
        check(workload, disk, progress)
    });
    println!("{outcome} in {:.1?}", start.elapsed());
    outcome
}

#[test]
fn two_hundred_operations_survive_a_power_cut_anywhere() {
    let workload = Workload::of(200);
    let tape = record(&workload, Answer::AfterCommit, Tape::device);
    let outcome = cut_everywhere(&workload, &tape);
    assert_eq!(outcome.failures, 0, "{outcome}");
    assert!(outcome.cut_points > 200 * 20, "{outcome}");
    // A second, smaller unit than a sector: no part of redb may count on 512 bytes being whole.
    let torn = [8, 64].map(|unit_bytes| Policy::Torn { seed: 5, unit_bytes });
    let workload = Workload::of(40);
    let tape = record(&workload, Answer::AfterCommit, Tape::device);
    let outcome =
        sweep::sweep(&tape.recording(), &torn, |disk, progress| check(&workload, disk, progress));
    println!("{outcome} in small pieces");
    assert_eq!(outcome.failures, 0, "{outcome}");
}

/// A disk that answers a sync without doing it.
#[derive(Debug)]
struct Lying<B>(B);

impl<B: StorageBackend> StorageBackend for Lying<B> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

#[test]
fn a_disk_that_only_pretends_to_sync_is_found() {
    let workload = Workload::of(6);
    let tape = record(&workload, Answer::AfterCommit, |tape| Lying(tape.device()));
    let outcome = cut_everywhere(&workload, &tape);
    assert!(outcome.failures > 0, "{outcome}");
    // Each policy finds it by itself; that of a kill alone, which loses nothing, need not.
    for policy in Policy::DEFAULT.into_iter().filter(|policy| *policy != Policy::Everything) {
        let outcome = sweep::sweep(&tape.recording(), &[policy], |disk, progress| {
            check(&workload, disk, progress)
        });
        assert!(outcome.failures > 0, "{policy:?}: {outcome}");
    }
}

#[test]
fn an_answer_before_the_commit_is_found_and_can_be_replayed() {
    let workload = Workload::of(6);
    let tape = record(&workload, Answer::BeforeCommit, Tape::device);
    let outcome = cut_everywhere(&workload, &tape);
    assert!(outcome.failures > 0, "{outcome}");
    for failure in &outcome.first {
        let replayed = sweep::replay(&tape.recording(), failure, |disk, progress| {
            check(&workload, disk, progress)
        });
        assert_eq!(replayed.as_ref(), Err(&failure.message));
    }
}

#[test]
fn a_disk_that_fails_at_any_call_leaves_what_was_answered() {
    let workload = Workload::of(4);
    for (error, duration) in [
        (Errno::NOSPC, Duration::Lasting),
        (Errno::IO, Duration::Once),
        (Errno::IO, Duration::Lasting),
    ] {
        let faults = faults::fail_each(error, duration, |fault| {
            let disk = Disk::of(empty());
            let mut answered = Vec::new();
            for (number, operation) in workload.operations.iter().enumerate() {
                let Ok(database) = open(Faulty::new(disk.clone(), fault)) else { break };
                if apply(&database, *operation).is_err() {
                    break;
                }
                answered.push(number);
            }
            let unanswered = [answered.len()];
            let begun = answered.len() < workload.operations.len();
            let unanswered = if begun { unanswered.as_slice() } else { &[] };
            check(&workload, disk, Progress { acknowledged: &answered, unanswered })
        });
        println!("{error}, {duration:?}: {faults:?} faults");
        assert!(faults.unwrap() > workload.operations.len() * 10);
    }
}

/// A closed file with some 130 entries.
fn filled() -> (Vec<u8>, Held) {
    let workload = Workload::of(200);
    let disk = Disk::of(empty());
    let database = open(disk.clone()).unwrap();
    for operation in &workload.operations {
        apply(&database, *operation).unwrap();
    }
    drop(database);
    (disk.bytes(), workload.held.last().unwrap().clone())
}

fn flips(test: &str, read: impl Fn(&mut Database) -> Result<Held, Error>) -> Tally {
    let (file, expected) = filled();
    let start = Instant::now();
    let flips = Flips { unit: Unit::Byte, stride_bytes: 13, bytes: usize::MAX, processes: 2 };
    let tally = flips::sweep(test, &file, flips, |disk| {
        match open(disk).map_err(Error::from).and_then(|mut database| read(&mut database)) {
            Ok(held) if held == expected => Verdict::Harmless,
            Ok(held) => Verdict::Wrong(format!("{} of {} held", held.len(), expected.len())),
            Err(_) => Verdict::Detected,
        }
    })
    .unwrap();
    println!("{test}: of {} bytes, {tally} in {:.1?}", file.len(), start.elapsed());
    assert_eq!(tally.flips(), file.len().div_ceil(flips.stride_bytes));
    assert!(tally.harmless > 0 && tally.detected > 0, "{tally}");
    assert_eq!(tally.hung.count, 0, "{tally}");
    tally
}

#[test]
fn an_integrity_check_finds_every_flipped_byte() {
    let tally = flips("an_integrity_check_finds_every_flipped_byte", |database| {
        if database.check_integrity()? { held(database) } else { Err("repaired".into()) }
    });
    assert_eq!(tally.wrong.count, 0, "{tally}");
}

/// redb reads without a look at its checksums: nothing but a second copy or a checksum of the
/// record's own notices.
#[test]
fn a_flipped_byte_gives_wrong_answers_where_nothing_checks() {
    let tally = flips("a_flipped_byte_gives_wrong_answers_where_nothing_checks", |database| {
        let mut held = Held::new();
        for row in database.begin_read()?.open_table(BY_HOLDER)?.iter()? {
            let (holder, address) = row?;
            held.insert(address.value(), holder.value());
        }
        Ok(held)
    });
    assert!(tally.wrong.count > 0, "{tally}");
}

#[test]
fn a_flip_that_ends_the_process_is_counted_and_the_sweep_goes_on() {
    let flips = Flips { unit: Unit::EachBit, stride_bytes: 1, bytes: usize::MAX, processes: 2 };
    let test = "a_flip_that_ends_the_process_is_counted_and_the_sweep_goes_on";
    let tally = flips::sweep(test, &[0; 8], flips, |disk| match disk.bytes()[..] {
        [1, ..] => std::process::abort(),
        [2, ..] => panic!("caught"),
        [.., 1] => Verdict::Wrong("the last".to_owned()),
        [.., 2] => Verdict::Detected,
        _ => Verdict::Harmless,
    })
    .unwrap();
    assert_eq!((tally.flips(), tally.harmless, tally.detected), (64, 60, 1), "{tally}");
    let counts = [&tally.aborted, &tally.panicked, &tally.wrong, &tally.hung].map(|p| p.count);
    assert_eq!(counts, [1, 1, 1, 0], "{tally}");
    assert_eq!(tally.panicked.first[0].0, Flip { offset: 0, mask: 2 });
}
