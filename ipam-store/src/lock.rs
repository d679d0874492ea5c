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
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::{Error, Holder};

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    noted: Cell<Option<u64>>,
    is_settled: Cell<bool>,
}

impl Lock {
    /// Waits for the lock, at most `patience`. The kernel wakes waiters in the order of their
    /// arrival, though one who comes at the very moment of a release may be faster.
    pub(crate) fn acquire(path: &Path, patience: Duration) -> Result<Self, Error> {
        let failed = |operation| {
            move |source: io::Error| Error::Io { operation, path: path.to_path_buf(), source }
        };
        let file = open(path).map_err(failed("open the lock file"))?;
        match file.try_lock() {
            Ok(()) => return Ok(Self::taken(file)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let inode = file.metadata().map_err(failed("look at the lock file"))?.ino();
        let asleep = file.try_clone().map_err(failed("duplicate the lock file"))?;
        // flock has no deadline, so a thread of its own waits. If it gets the lock after the
        // deadline, nobody receives the file, and dropping it releases the lock again.
        let (sender, receiver) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("lock".into())
            .spawn(move || {
                let outcome = file.lock().map(|()| file);
                drop(sender.send(outcome));
            })
            .map_err(failed("start a thread that waits for the lock"))?;
        let waited = shortened(patience);
        match receiver.recv_timeout(waited) {
            Ok(Ok(file)) => Ok(Self::taken(file)),
            Ok(Err(source)) => Err(failed("lock")(source)),
            Err(_) => {
                let note = Note::read(&asleep);
                Err(Error::Busy {
                    path: path.to_path_buf(),
                    waited,
                    holder: holder_of(inode, note.as_ref()),
                })
            }
        }
    }

    fn taken(file: File) -> Self {
        let note = Note::read(&file);
        let noted = Cell::new(note.as_ref().map(|note| note.revision));
        let is_settled = Cell::new(note.is_some_and(|note| note.is_settled));
        let lock = Self { file, noted, is_settled };
        // For people only: what it says about the database stays.
        drop(lock.write());
        lock
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
        self.file.write_all_at(note.line().as_bytes(), 0)
    }
}

impl Drop for Lock {
    /// Not by the close alone: a child that another thread is starting has a copy of the descriptor
    /// until it calls exec, and would keep the lock for as long.
    fn drop(&mut self) {
        drop(self.file.unlock());
    }
}

/// A file system that became read-only still lets its files be locked for looking.
fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    match opened {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => File::open(path),
        other => other,
    }
}

/// Up to a tenth less, so that many who began to wait together do not all come back together.
fn shortened(patience: Duration) -> Duration {
    let nanoseconds = u32::try_from(clock_gettime(ClockId::Boottime).tv_nsec).unwrap_or_default();
    let draw = (std::process::id() ^ nanoseconds) % 100;
    patience.saturating_sub(patience / 1000 * draw)
}

fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or_default()
}

/// The line in the lock file.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    pid: u32,
    /// On `CLOCK_BOOTTIME`.
    since_ms: u64,
    revision: u64,
    is_settled: bool,
}

/// Enough for four numbers and a checksum; always written whole.
const NOTE_LENGTH: usize = 90;

impl Note {
    fn line(&self) -> String {
        let Self { pid, since_ms, revision, is_settled } = self;
        let settled = u8::from(*is_settled);
        let text = format!("pid {pid} since {since_ms} revision {revision} settled {settled}");
        let line = format!("{text} {:08x}", crc32fast::hash(text.as_bytes()));
        format!("{line:<width$}\n", width = NOTE_LENGTH - 1)
    }

    fn read(file: &File) -> Option<Self> {
        let mut line = [0; NOTE_LENGTH];
        file.read_exact_at(&mut line, 0).ok()?;
        Self::parse(std::str::from_utf8(&line).ok()?.trim_end())
    }

    fn parse(line: &str) -> Option<Self> {
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

/// Who holds the `flock` of this inode, by `/proc/locks`; for people, so any doubt is `None`.
fn holder_of(inode: u64, note: Option<&Note>) -> Option<Holder> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| flock_owner(line, inode))?;
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let since_ms = note.filter(|note| note.pid == pid).map(|note| note.since_ms);
    Some(Holder {
        pid,
        command: command.trim_end().to_string(),
        held: since_ms.map(|since| Duration::from_millis(now_ms().saturating_sub(since))),
    })
}

/// The owner in a line such as `7: FLOCK  ADVISORY  WRITE 4242 fe:00:917 0 EOF`. Waiters have
/// `->` in the second column.
fn flock_owner(line: &str, inode: u64) -> Option<u32> {
    let mut columns = line.split_whitespace().skip(1);
    if columns.next()? != "FLOCK" {
        return None;
    }
    let pid = columns.nth(2)?.parse().ok()?;
    let place = columns.next()?;
    (place.rsplit(':').next()?.parse() == Ok(inode)).then_some(pid)
}

#[cfg(test)]
mod tests {
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

    /// Seen with a test that started processes while another of its threads used a store: "Database
    /// already open".
    #[test]
    fn a_copy_of_the_descriptor_in_a_child_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = Lock::acquire(&path, Duration::ZERO).unwrap();
        let copy = lock.file.try_clone().unwrap();
        drop(lock);
        drop(Lock::acquire(&path, Duration::ZERO).unwrap());
        drop(copy);
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

    #[test]
    fn the_holder_is_read_from_the_kernels_list() {
        let line = "7: FLOCK  ADVISORY  WRITE 4242 fe:00:917 0 EOF";
        assert_eq!(flock_owner(line, 917), Some(4242));
        assert_eq!(flock_owner(line, 918), None);
        assert_eq!(flock_owner("7: -> FLOCK  ADVISORY  WRITE 1 fe:00:917 0 EOF", 917), None);
        assert_eq!(flock_owner("1: POSIX  ADVISORY  WRITE 4242 fe:00:917 0 EOF", 917), None);
        assert_eq!(flock_owner("", 917), None);
    }
}
