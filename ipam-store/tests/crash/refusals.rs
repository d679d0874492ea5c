//! A disk that fails at any call: an error means that nothing changed.

use rustix::io::Errno;

use super::script::script;
use super::step::{Note, Operation, Step, create, examine, perform, stamp};
use crate::contents::Contents;
use crate::power::disk::Disk;
use crate::power::faults::{self, Duration, Faulty};

/// A store with leases and rests, and its revision.
pub(super) fn lived_in() -> (Vec<u8>, Contents) {
    let disk = Disk::of(Vec::new());
    drop(create(disk.clone(), &Contents::default()));
    let note = Note::settled(1);
    for step in script(60, 4) {
        perform(disk.clone(), &step, &note, |_, _| ()).unwrap();
    }
    let bytes = disk.bytes();
    (bytes, examine(disk).unwrap())
}

pub(super) fn steps(contents: &Contents) -> Vec<Step> {
    let holder = &contents.leases[0].attachment;
    let container = usize::from_str_radix(holder.container.as_str(), 16).unwrap();
    let allocate = |container| Operation::Allocate { container, pod: 900, requested: Vec::new() };
    [allocate(900), Operation::Release { container }, allocate(container)]
        .map(|operation| Step { operation, now: stamp(1, 5000), killed: false })
        .into()
}

/// Does the steps on a disk that fails once or from some call on. Where a step fails, the disk is
/// examined, and the step is done again by a process for which the disk works.
#[test]
fn an_error_changes_nothing_and_the_next_process_goes_on() {
    let (file, first) = lived_in();
    let steps = steps(&first);
    for (error, duration) in [
        (Errno::NOSPC, Duration::Once),
        (Errno::NOSPC, Duration::Lasting),
        (Errno::IO, Duration::Once),
        (Errno::IO, Duration::Lasting),
    ] {
        let mut failed = 0;
        let faults = faults::fail_each(error, duration, |fault| {
            let disk = Disk::of(file.clone());
            let mut before = first.clone();
            let (mut is_broken, note) = (true, Note::settled(before.revision));
            for step in &steps {
                let noted = before.revision;
                let outcome = if is_broken {
                    perform(Faulty::new(disk.clone(), fault), step, &note, |_, _| ())
                } else {
                    perform(disk.clone(), step, &note, |_, _| ())
                };
                let found = examine(Disk::of(disk.bytes()))?;
                match outcome {
                    Ok(answer) => {
                        if answer.revision != Some(found.revision) || found.revision != noted + 1 {
                            return Err(format!("answered {answer:?}, has {}", found.revision));
                        }
                        before = found;
                    }
                    Err(_) if is_broken => {
                        failed += 1;
                        is_broken = duration == Duration::Once;
                        if found != before {
                            return Err("an error was answered, and all was done".into());
                        }
                        perform(disk.clone(), step, &note, |_, _| ())
                            .map_err(|fault| format!("the next process: {fault:?}"))?;
                        before = examine(Disk::of(disk.bytes()))?;
                    }
                    Err(fault) => return Err(format!("without a fault: {fault:?}")),
                }
            }
            Ok(())
        });
        println!("{error}, {duration:?}: {faults:?} faults, {failed} failed steps");
        assert!(faults.unwrap() > 30);
    }
}
