//! A process that is killed or fails at any call, a second one that goes on, and then the power
//! goes.
//!
//! What the first wrote and did not sync is there for the second, since the kernel has it, and
//! need not be there after the power is back.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use redb::StorageBackend;
use rustix::io::Errno;

use super::refusals::{lived_in, steps};
use super::step::{Note, Step, contents, examine, perform};
use crate::contents::Contents;
use crate::phased::Phased;
use crate::power::disk::Disk;
use crate::power::faults::{Duration, Fault, Faulty};
use crate::power::image::Policy;
use crate::power::sweep;
use crate::power::tape::{Device, Tape};

/// The device of a process that is killed before one of the calls that change the disk.
#[derive(Debug)]
pub(super) struct Mortal {
    device: Device,
    tape: Tape,
    calls: AtomicUsize,
    last: usize,
}

impl Mortal {
    pub(super) fn new(tape: &Tape, last: usize) -> Self {
        let (device, tape) = (tape.device(), tape.clone());
        Self { device, tape, calls: AtomicUsize::new(0), last }
    }

    fn call(&self) {
        if self.calls.fetch_add(1, Ordering::Relaxed) == self.last {
            self.tape.kill();
        }
    }
}

impl StorageBackend for Mortal {
    fn len(&self) -> io::Result<u64> {
        self.device.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.device.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call();
        self.device.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.call();
        self.device.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.call();
        self.device.write(offset, data)
    }
}

/// How the first process ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Killed,
    /// One call fails, and it gives up.
    Refused,
}

#[test]
fn a_process_that_ends_at_any_call_leaves_a_file_that_survives_a_power_cut() {
    let (file, first) = lived_in();
    let steps = steps(&first);
    for end in [End::Killed, End::Refused] {
        let mut total = sweep::Outcome::default();
        let mut ends = 0;
        for [ending, next] in [[0, 1], [1, 2], [0, 2]] {
            for call in 0.. {
                let steps = [&steps[ending], &steps[next]];
                let Some(outcome) = end_and_go_on(&file, &first, steps, end, call) else { break };
                assert_eq!(outcome.failures, 0, "{end:?} at call {call} of {ending}: {outcome}");
                ends += 1;
                total.images += outcome.images;
                total.cut_points += outcome.cut_points;
            }
        }
        println!("{end:?} {ends} times: {total}");
        assert!(ends > 50, "{ends}");
    }
}

/// `None` if the first process does its step with fewer calls.
fn end_and_go_on(
    file: &[u8],
    first: &Contents,
    [ending, next]: [&Step; 2],
    end: End,
    call: usize,
) -> Option<sweep::Outcome> {
    let (tape, note) = (Tape::new(file.to_vec()), Note::settled(first.revision));
    tape.begin(0);
    let outcome = match end {
        End::Killed => perform(Mortal::new(&tape, call), ending, &note, |_, _| ()),
        End::Refused => {
            let fault = Fault::new(call, Errno::IO, Duration::Once);
            perform(Faulty::new(tape.device(), &fault), ending, &note, |_, _| ())
        }
    };
    if outcome.is_ok() {
        return None;
    }
    let say = |file: Vec<u8>| {
        let phased = Phased::open(Disk::of(file), true).unwrap();
        contents(phased.database()).unwrap()
    };
    let between = say(tape.contents());
    tape.begin(1);
    perform(tape.device(), next, &note, |_, _| tape.acknowledge(1)).unwrap();
    let done = say(tape.contents());
    let undisturbed = Disk::of(file.to_vec());
    perform(undisturbed.clone(), ending, &Note::settled(0), |_, _| ()).unwrap();
    let states = [first.clone(), say(undisturbed.bytes()), between, done];
    Some(sweep::sweep(&tape.recording(), &Policy::DEFAULT, |disk, progress| {
        let found = examine(disk)?;
        let is_done = progress.acknowledged == [1];
        let allowed = if is_done { &states[3..] } else { &states[..] };
        if allowed.contains(&found) { Ok(()) } else { Err("other contents".into()) }
    }))
}
