//! A process that is killed at any call, a second one that goes on, and then the power goes.
//!
//! What the first wrote and did not sync is there for the second, since the kernel has it, and
//! need not be there after the power is back.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use redb::StorageBackend;

use super::refusals::{lived_in, steps};
use super::step::{Note, contents, examine, perform};
use crate::contents::Contents;
use crate::phased::Phased;
use crate::power::disk::Disk;
use crate::power::image::Policy;
use crate::power::sweep;
use crate::power::tape::{Device, Tape};

/// The device of a process that is killed before one of the calls that change the disk.
#[derive(Debug)]
struct Mortal {
    device: Device,
    tape: Tape,
    calls: AtomicUsize,
    last: usize,
}

impl Mortal {
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

#[test]
fn a_process_killed_at_any_call_leaves_a_file_that_survives_a_power_cut() {
    let (file, first) = lived_in();
    let steps = steps(&first);
    let (mut images, mut cut_points, mut kills) = (0, 0, 0);
    for [killed, next] in [[0, 1], [1, 2], [0, 2]] {
        for last in 0.. {
            let tape = Tape::new(file.clone());
            tape.begin(0);
            let (device, calls) = (tape.device(), AtomicUsize::new(0));
            let mortal = Mortal { device, tape: tape.clone(), calls, last };
            let note = Note::settled(first.revision);
            let outcome = perform(mortal, &steps[killed], &note, |_, _| ());
            if outcome.is_ok() {
                break;
            }
            kills += 1;
            let say = |file: Vec<u8>| {
                contents(Phased::open(Disk::of(file), true).unwrap().database()).unwrap()
            };
            let between = say(tape.contents());
            tape.begin(1);
            perform(tape.device(), &steps[next], &note, |_, _| tape.acknowledge(1)).unwrap();
            let done = say(tape.contents());
            let finished = {
                let disk = Disk::of(file.clone());
                perform(disk.clone(), &steps[killed], &Note::settled(0), |_, _| ()).unwrap();
                say(disk.bytes())
            };
            let unsettled: [&Contents; 4] = [&first, &finished, &between, &done];
            let outcome = sweep::sweep(&tape.recording(), &Policy::DEFAULT, |disk, progress| {
                let found = examine(disk)?;
                let is_done = progress.acknowledged == [1];
                let allowed = if is_done { &unsettled[3..] } else { &unsettled[..] };
                if allowed.contains(&&found) { Ok(()) } else { Err("other contents".into()) }
            });
            images += outcome.images;
            cut_points += outcome.cut_points;
            assert_eq!(outcome.failures, 0, "killed at call {last} of {killed}: {outcome}");
        }
    }
    println!("{kills} kills: {cut_points} cut points, {images} images");
    assert!(kills > 50, "{kills}");
}
