//! Which of the database library's writes and syncs reach the disk, by what it is doing.
//!
//! The library is made for programs that keep a database open. One that opens it for one decision
//! would sync it six or seven times, of which two make the decision durable:
//!
//! - While it **opens**, it notes in the file that it is open, and syncs that. The note is there
//!   already, since nobody ever takes it away (see below); where it is not, it becomes durable with
//!   the commit. So syncs are left out until the database is open, unless it has to be repaired or
//!   is not settled.
//! - While it **works**, everything is done as asked: a commit is durable when it returns.
//! - When the work is **over**, nothing is written any more. The library would commit once more to
//!   make the next open cheap; every commit of ours has done that already (quick repair).
//!
//! So each open finds the file as after a kill, the one case that is tested at each single write
//! (`tests/crash`).
//!
//! If a write or a sync **fails**, the header is put back that the last sync has left: whoever is
//! told that a commit failed will find that nothing changed, unless the disk refuses that too.
//!
//! A file is **settled** if what is read from it is on the disk. It is not after a process died, or
//! a sync failed, within a commit: the header that the kernel shows may be newer than the disk's,
//! and the first page written over one that only the older header needs would, with a loss of
//! power, leave neither whole. Then the library's syncs are done while it opens too, before it
//! writes anything else.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, DatabaseError, StorageBackend};

const OPENING: u8 = 0;
const SETTLING: u8 = 1;
const WORKING: u8 = 2;
const OVER: u8 = 3;

/// A database that writes nothing when it is dropped.
#[derive(Debug)]
pub(crate) struct Phased {
    database: Database,
    phase: Arc<AtomicU8>,
}

impl Phased {
    /// Opens the database on a storage, or makes one on an empty storage.
    pub(crate) fn open(
        storage: impl StorageBackend,
        is_settled: bool,
    ) -> Result<Self, DatabaseError> {
        let phase = Arc::new(AtomicU8::new(if is_settled { OPENING } else { SETTLING }));
        let repairing = Arc::clone(&phase);
        let backend = Backend { storage, phase: Arc::clone(&phase), headers: Mutex::default() };
        let database = redb::Builder::new()
            .set_repair_callback(move |_| repairing.store(SETTLING, Ordering::Relaxed))
            .create_with_backend(backend)?;
        phase.store(WORKING, Ordering::Relaxed);
        Ok(Self { database, phase })
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn database_mut(&mut self) -> &mut Database {
        &mut self.database
    }

    /// Lets the library close the database in its own way: after maintenance, whose commits do not
    /// all make the next open cheap.
    pub(crate) fn close_cleanly(self) {
        // The last word is not that the work is over, so that the drop of the database is heard;
        // but after a failure it is.
        if self.phase.load(Ordering::Relaxed) == WORKING {
            self.phase.store(SETTLING, Ordering::Relaxed);
        }
    }
}

impl Drop for Phased {
    fn drop(&mut self) {
        // Anything else means that the database is to be closed cleanly.
        if self.phase.load(Ordering::Relaxed) == WORKING {
            self.phase.store(OVER, Ordering::Relaxed);
        }
    }
}

#[derive(Debug)]
struct Backend<S> {
    storage: S,
    phase: Arc<AtomicU8>,
    headers: Mutex<Headers>,
}

/// The first bytes of the file, which say what is the newest commit. All else that a commit writes
/// goes where nothing is.
#[derive(Debug, Default)]
struct Headers {
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl<S> Backend<S> {
    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Relaxed)
    }

    fn unless_over(&self) -> io::Result<()> {
        if self.phase() == OVER {
            return Err(io::Error::other("the work on the database is over"));
        }
        Ok(())
    }

    fn headers(&self) -> MutexGuard<'_, Headers> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: StorageBackend> Backend<S> {
    /// Hands the outcome of a call on. A failure within the work takes the commit back and ends it.
    fn undoing(&self, outcome: io::Result<()>) -> io::Result<()> {
        if outcome.is_err() && self.phase() == WORKING {
            self.phase.store(OVER, Ordering::Relaxed);
            let headers = self.headers();
            if !headers.synced.is_empty() {
                // The caller is told of the first failure.
                drop(self.storage.write(0, &headers.synced));
            }
        }
        outcome
    }
}

impl<S: StorageBackend> StorageBackend for Backend<S> {
    fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.unless_over()?;
        let outcome = self.storage.set_len(len);
        // The library cuts the file when the commit is durable. One that stays longer is as after a
        // kill, and what was committed must not be reported as failed.
        if outcome.is_err() && self.phase() == WORKING && self.storage.len()? > len {
            return Ok(());
        }
        self.undoing(outcome)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.unless_over()?;
        if self.phase() != OPENING {
            self.undoing(self.storage.sync_data())?;
        }
        let mut headers = self.headers();
        let Headers { written, synced } = &mut *headers;
        synced.clone_from(written);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.unless_over()?;
        if offset == 0 {
            self.headers().written = data.to_vec();
        }
        self.undoing(self.storage.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.storage.close()
    }
}
