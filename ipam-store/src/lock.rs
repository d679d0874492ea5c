//! The node-wide lock in front of the database.
//!
//! A file of our own is locked by `flock(2)` before the database is opened, in every program
//! that opens it. The kernel releases the lock when its holder dies, however it dies, so there is
//! no stale lock. The lock that the database library takes itself is no substitute: it does not
//! wait, and later releases change its kind.
//!
//! The file's one line says who held the lock last, since when, the revision that the database had
//! reached, and whether what it says was on the disk then. It is a note for people, and a witness:
//! a database that knows fewer commits than were noted is an older copy, and one that a commit was
//! begun on and not ended has to be settled (see [`crate::phased`]). It need not be synced: after a
//! loss of power an older note says less, and what is read is on the disk.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::flock::{Flock, Identity, Tried, now_ms};

/// The lock with its note, held until this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    flock: Flock,
    noted: Cell<Option<u64>>,
    is_settled: Cell<bool>,
}

impl Lock {
    /// Waits for the lock, at most `patience`.
    pub(crate) fn acquire(path: &Path, patience: Duration) -> Result<Self, Error> {
        match Flock::attempt(path)? {
            Tried::Held(flock) => Ok(Self::of(flock)),
            Tried::Waiting(mut waiting) => match waiting.wait(patience)? {
                Some(flock) => Ok(Self::of(flock)),
                None => Err(waiting.busy()),
            },
        }
    }

    /// For who is going to work with the database: says so in the file.
    pub(crate) fn of(flock: Flock) -> Self {
        let note = Note::read(flock.file());
        let noted = Cell::new(note.as_ref().map(|note| note.revision));
        let is_settled = Cell::new(note.is_some_and(|note| note.is_settled));
        let lock = Self { flock, noted, is_settled };
        // For people only: what it says about the database stays.
        drop(lock.write());
        lock
    }

    pub(crate) fn identity(&self) -> io::Result<Identity> {
        self.flock.identity()
    }

    /// The revision that the database had reached, as far as somebody noted it.
    pub(crate) fn noted(&self) -> Option<u64> {
        self.noted.get()
    }

    /// Whether what the database says is known to be on the disk.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled.get()
    }

    /// Notes that a commit begins. If this fails it must not begin: whoever opens the database
    /// after a death within it would not know.
    pub(crate) fn unsettle(&self) -> io::Result<()> {
        self.is_settled.set(false);
        self.write()
    }

    /// Notes that the database has reached a revision. Only after its commit is durable. No
    /// failure: a note that is lost says less, never something wrong.
    pub(crate) fn settle(&self, revision: u64) {
        self.noted.set(Some(revision));
        self.is_settled.set(true);
        drop(self.write());
    }

    fn write(&self) -> io::Result<()> {
        let (pid, since_ms) = (std::process::id(), now_ms());
        let (noted, is_settled) = (self.noted.get(), self.is_settled.get());
        let note = Note { pid, since_ms, revision: noted.unwrap_or_default(), is_settled };
        self.flock.file().write_all_at(note.line().as_bytes(), 0)
    }
}

/// The line in the lock file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) pid: u32,
    /// On `CLOCK_BOOTTIME`.
    pub(crate) since_ms: u64,
    revision: u64,
    is_settled: bool,
}

/// Enough for four numbers and a checksum; always written whole.
const NOTE_LENGTH: usize = 90;

impl Note {
    pub(crate) fn line(&self) -> String {
        let Self { pid, since_ms, revision, is_settled } = self;
        let settled = u8::from(*is_settled);
        let text = format!("pid {pid} since {since_ms} revision {revision} settled {settled}");
        let line = format!("{text} {:08x}", crc32fast::hash(text.as_bytes()));
        format!("{line:<width$}\n", width = NOTE_LENGTH - 1)
    }

    pub(crate) fn read(file: &File) -> Option<Self> {
        let mut line = [0; NOTE_LENGTH];
        file.read_exact_at(&mut line, 0).ok()?;
        Self::parse(std::str::from_utf8(&line).ok()?.trim_end())
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (text, checksum) = line.rsplit_once(' ')?;
        if u32::from_str_radix(checksum, 16) != Ok(crc32fast::hash(text.as_bytes())) {
            return None;
        }
        let mut words = text.split(' ');
        let mut number = |name| (words.next() == Some(name)).then(|| words.next()).flatten();
        Some(Self {
            pid: number("pid")?.parse().ok()?,
            since_ms: number("since")?.parse().ok()?,
            revision: number("revision")?.parse().ok()?,
            is_settled: number("settled")? == "1",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn the_lock_waits_for_its_release_and_no_longer_than_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path, Duration::ZERO).unwrap();
        let error = Lock::acquire(&path, Duration::from_millis(20)).unwrap_err();
        let Error::Busy { waited, holder: Some(holder), .. } = error else { panic!("{error}") };
        assert!(waited <= Duration::from_millis(20) && waited >= Duration::from_millis(18));
        assert_eq!(holder.pid, std::process::id());
        assert!(holder.held.is_some_and(|held| held >= waited && held.as_secs() < 60));
        let waiter = thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path, Duration::from_secs(60)).map(drop)
        });
        drop(held);
        waiter.join().unwrap().unwrap();
        // The waiter that gave up above must not keep the lock when it gets it at last.
        drop(Lock::acquire(&path, Duration::from_secs(60)).unwrap());
    }

    #[test]
    fn the_revision_is_handed_on_and_a_damaged_note_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::acquire(&path, Duration::ZERO).unwrap();
        assert_eq!(lock.noted(), None);
        assert!(!lock.is_settled(), "without a note nothing is known");
        lock.settle(7);
        drop(lock);
        let lock = Lock::acquire(&path, Duration::ZERO).unwrap();
        assert_eq!((lock.noted(), lock.is_settled()), (Some(7), true));
        lock.unsettle().unwrap();
        drop(lock);
        let lock = Lock::acquire(&path, Duration::ZERO).unwrap();
        assert_eq!((lock.noted(), lock.is_settled()), (Some(7), false));
        drop(lock);
        assert!(!Lock::acquire(&path, Duration::ZERO).unwrap().is_settled(), "a look changes it");
        let text = std::fs::read_to_string(&path).unwrap().replace("revision 7", "revision 8");
        std::fs::write(&path, text).unwrap();
        assert_eq!(Lock::acquire(&path, Duration::ZERO).unwrap().noted(), None);
        let (pid, since_ms, revision) = (u32::MAX, 1 << 42, 1 << 40);
        let longest = Note { pid, since_ms, revision, is_settled: true };
        assert_eq!(longest.line().len(), NOTE_LENGTH);
        assert_eq!(Note::parse(longest.line().trim_end()), Some(longest));
    }
}
