//! The node-wide lock in front of the database.
//!
//! A file of our own is locked by `flock(2)` before the database is opened, in every program
//! that opens it. The kernel releases the lock when its holder dies, however it dies, so there is
//! no stale lock. The lock that the database library takes itself is no substitute: it does not
//! wait, and later releases change its kind.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::error::{Error, Holder};

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock, at most `patience`. The kernel wakes waiters in the order of their arrival,
    /// though one who comes at the very moment of a release may be faster.
    pub(crate) fn acquire(path: &Path, patience: Duration) -> Result<Self, Error> {
        let failed = |operation| {
            move |source: io::Error| Error::Io { operation, path: path.to_path_buf(), source }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open the lock file"))?;
        match file.try_lock() {
            Ok(()) => return Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let inode = file.metadata().map_err(failed("look at the lock file"))?.ino();
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
        match receiver.recv_timeout(patience) {
            Ok(Ok(file)) => Ok(Self { _file: file }),
            Ok(Err(source)) => Err(failed("lock")(source)),
            Err(_) => Err(Error::Busy {
                path: path.to_path_buf(),
                waited: patience,
                holder: holder_of(inode),
            }),
        }
    }
}

/// Who holds the `flock` of this inode, by `/proc/locks`; for people, so any doubt is `None`.
fn holder_of(inode: u64) -> Option<Holder> {
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| flock_owner(line, inode))?;
    let command = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Holder { pid, command: command.trim_end().to_string() })
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
        let error = Lock::acquire(&path, Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
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
    fn the_holder_is_read_from_the_kernels_list() {
        let line = "7: FLOCK  ADVISORY  WRITE 4242 fe:00:917 0 EOF";
        assert_eq!(flock_owner(line, 917), Some(4242));
        assert_eq!(flock_owner(line, 918), None);
        assert_eq!(flock_owner("7: -> FLOCK  ADVISORY  WRITE 1 fe:00:917 0 EOF", 917), None);
        assert_eq!(flock_owner("1: POSIX  ADVISORY  WRITE 4242 fe:00:917 0 EOF", 917), None);
        assert_eq!(flock_owner("", 917), None);
    }
}
