//! `flock(2)` on the lock file: tried, waited for with a deadline, held.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::{Error, Holder};
use crate::lock::Note;
use crate::private;

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Flock {
    file: File,
}

/// Which file it is that is locked: device and inode. Who locks the same one shares a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// What came of a first try.
pub(crate) enum Tried {
    Held(Flock),
    /// Somebody else has it, and this process has begun to wait.
    Waiting(Waiting),
}

/// A place among those who wait.
pub(crate) struct Waiting {
    path: PathBuf,
    file: File,
    receiver: Receiver<io::Result<Flock>>,
    waited: Duration,
}

impl Flock {
    /// Takes the lock, or begins to wait for it. The kernel wakes waiters in the order of their
    /// arrival, though one who comes at the very moment of a release may be faster.
    pub(crate) fn attempt(path: &Path) -> Result<Tried, Error> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => return Ok(Tried::Held(Self { file })),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed(path, "lock")(source)),
        }
        let asleep = file.try_clone().map_err(failed(path, "duplicate the lock file"))?;
        // flock has no deadline, so a thread of its own waits. If it gets the lock after the
        // deadline, nobody receives it, and dropping it releases it again.
        let (sender, receiver) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("lock".into())
            .spawn(move || {
                let outcome = file.lock().map(|()| Self { file });
                drop(sender.send(outcome));
            })
            .map_err(failed(path, "start a thread that waits for the lock"))?;
        let waited = Duration::ZERO;
        Ok(Tried::Waiting(Waiting { path: path.to_path_buf(), file: asleep, receiver, waited }))
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn identity(&self) -> io::Result<Identity> {
        identity(&self.file)
    }
}

impl Drop for Flock {
    /// Not by the close alone: a child that another thread is starting has a copy of the descriptor
    /// until it calls exec, and would keep the lock for as long.
    fn drop(&mut self) {
        drop(self.file.unlock());
    }
}

impl Waiting {
    /// Waits, at most `patience`; `None` if that was not enough.
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<Option<Flock>, Error> {
        let patience = shortened(patience);
        match self.receiver.recv_timeout(patience) {
            Ok(outcome) => outcome.map(Some).map_err(failed(&self.path, "lock")),
            Err(RecvTimeoutError::Timeout) => {
                self.waited += patience;
                Ok(None)
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(failed(&self.path, "wait for the lock")(io::ErrorKind::Other.into()))
            }
        }
    }

    pub(crate) fn identity(&self) -> io::Result<Identity> {
        identity(&self.file)
    }

    /// What to say to who has waited for so long.
    pub(crate) fn busy(&self) -> Error {
        let (path, waited) = (self.path.clone(), self.waited);
        Error::Busy { path, waited, holder: self.holder() }
    }

    /// The same to whose request somebody has taken on.
    pub(crate) fn unanswered(&self) -> Error {
        let (path, waited) = (self.path.clone(), self.waited);
        Error::Unanswered { path, waited, holder: self.holder() }
    }

    /// Who has the lock, by `/proc/locks`; for people, so any doubt is `None`.
    fn holder(&self) -> Option<Holder> {
        let inode = self.identity().ok()?.inode;
        let locks = std::fs::read_to_string("/proc/locks").ok()?;
        let pid = locks.lines().find_map(|line| owner(line, inode))?;
        let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let note = Note::read(&self.file).filter(|note| note.pid == pid);
        let held = note.map(|note| Duration::from_millis(now_ms().saturating_sub(note.since_ms)));
        Some(Holder { pid, command: command.trim_end().to_string(), held })
    }
}

fn failed(path: &Path, operation: &'static str) -> impl Fn(io::Error) -> Error + use<> {
    crate::durable::io_error(operation, path)
}

fn identity(file: &File) -> io::Result<Identity> {
    let found = file.metadata()?;
    Ok(Identity { device: found.dev(), inode: found.ino() })
}

/// A file system that became read-only still lets its files be locked for looking.
fn open(path: &Path) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    match private::open(options.read(true).write(true).create(true).truncate(false), path) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            private::open(OpenOptions::new().read(true), path)
        }
        other => other,
    }
}

/// Up to a tenth less, so that many who began to wait together do not all come back together.
fn shortened(patience: Duration) -> Duration {
    let nanoseconds = u32::try_from(clock_gettime(ClockId::Boottime).tv_nsec).unwrap_or_default();
    let draw = (std::process::id() ^ nanoseconds) % 100;
    patience.saturating_sub(patience / 1000 * draw)
}

/// On `CLOCK_BOOTTIME`, in milliseconds.
pub(crate) fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec * 1000 + now.tv_nsec / 1_000_000).unwrap_or_default()
}

/// The owner in a line such as `7: FLOCK  ADVISORY  WRITE 4242 fe:00:917 0 EOF`. Waiters have
/// `->` in the second column.
fn owner(line: &str, inode: u64) -> Option<u32> {
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

    /// Seen with a test that started processes while another of its threads used a store: "Database
    /// already open".
    #[test]
    fn a_copy_of_the_descriptor_in_a_child_does_not_keep_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = || match Flock::attempt(&path).unwrap() {
            Tried::Held(flock) => flock,
            Tried::Waiting(_) => panic!("somebody has the lock"),
        };
        let lock = held();
        let copy = lock.file.try_clone().unwrap();
        drop(lock);
        drop(held());
        drop(copy);
    }

    #[test]
    fn the_holder_is_read_from_the_kernels_list() {
        let line = "7: FLOCK  ADVISORY  WRITE 4242 fe:00:917 0 EOF";
        assert_eq!(owner(line, 917), Some(4242));
        assert_eq!(owner(line, 918), None);
        assert_eq!(owner("7: -> FLOCK  ADVISORY  WRITE 1 fe:00:917 0 EOF", 917), None);
        assert_eq!(owner("1: POSIX  ADVISORY  WRITE 4242 fe:00:917 0 EOF", 917), None);
        assert_eq!(owner("", 917), None);
    }
}
