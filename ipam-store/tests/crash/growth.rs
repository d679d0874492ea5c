//! A disk on which the file cannot grow: what can still be released?

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::StorageBackend;
use rustix::io::Errno;

use super::script::declared;
use super::step::{Note, Operation, Step, create, examine, perform, stamp};
use crate::contents::Contents;
use crate::power::disk::Disk;

const MOST_HELD: usize = 255;

/// A file that does not grow, and by how many bytes it was to.
#[derive(Debug, Clone)]
struct Full {
    disk: Disk,
    wanted: Arc<AtomicU64>,
}

impl StorageBackend for Full {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.disk.len()?;
        if len > now {
            self.wanted.fetch_max(len - now, Ordering::Relaxed);
            return Err(Errno::NOSPC.into());
        }
        self.disk.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}

fn step(operation: Operation) -> Step {
    Step { operation, now: stamp(0, 1000), killed: false }
}

fn allocate(container: usize) -> Step {
    step(Operation::Allocate { container, pod: container, requested: Vec::new() })
}

fn release(container: usize) -> Step {
    step(Operation::Release { container })
}

/// Whether an attachment can be released at once where the file cannot grow; if not, by how many
/// bytes it was to.
fn released(disk: &Disk, container: usize, note: &Note) -> Result<(), u64> {
    let wanted = Arc::new(AtomicU64::new(0));
    let full = Full { disk: disk.clone(), wanted: Arc::clone(&wanted) };
    match perform(full, &release(container), note, |_, _| ()) {
        Ok(answer) => {
            assert_eq!(answer.released.len(), 2);
            Ok(())
        }
        Err(_) => Err(wanted.load(Ordering::Relaxed)),
    }
}

/// A release changes pages by writing others. How often there are none, at each number of
/// attachments held: for those the spare file is there.
#[test]
fn a_release_rarely_needs_the_file_to_grow_and_never_twice() {
    let disk = Disk::of(Vec::new());
    drop(create(disk.clone(), &Contents::default()));
    let note = Note::settled(1);
    perform(disk.clone(), &step(Operation::Apply(declared(300))), &note, |_, _| ()).unwrap();
    let (mut refused, mut most_bytes, mut most_written) = (Vec::new(), 0, 0);
    for held in 1..=MOST_HELD {
        perform(disk.clone(), &allocate(held), &note, |_, _| ()).unwrap();
        let revision = note.revision.get();
        let copy = Disk::of(disk.bytes());
        if let Err(bytes) = released(&copy, 1 + held / 2, &Note::settled(revision)) {
            refused.push(held);
            most_bytes = bytes.max(most_bytes);
            // With the spare file's blocks it grows, and then it is done.
            perform(copy.clone(), &release(1 + held / 2), &Note::settled(revision), |_, _| ())
                .unwrap();
            let now = copy.bytes();
            let new_blocks = now[disk.bytes().len()..].chunks(4096);
            let written = new_blocks.filter(|block| block.iter().any(|byte| *byte > 0)).count();
            most_written = most_written.max(written * 4096);
            assert_eq!(examine(copy).unwrap().leases.len(), 2 * (held - 1));
        }
    }
    println!(
        "of {MOST_HELD} files, {} have no room for a release: held {refused:?}",
        refused.len()
    );
    println!("it would grow by up to {most_bytes} bytes and write {most_written} of them");
    assert!(most_written * 4 <= 512 << 10, "the spare file is for several releases");
    let mut all_refused = Vec::new();
    for held in 1..=MOST_HELD {
        if let Err(bytes) = released(&disk, held, &note) {
            all_refused.push((held, bytes));
            perform(disk.clone(), &release(held), &note, |_, _| ()).unwrap();
        }
    }
    println!("of {MOST_HELD} releases one after the other, refused: {all_refused:?}");
    assert_eq!(examine(disk.clone()).unwrap().leases, []);
    assert!(all_refused.len() <= 1, "{all_refused:?}");
}
