//! The database file, open: only ever under the lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, WriteTransaction};

use crate::contents::Contents;
use crate::declared::Declared;
use crate::disk::{Disk, Growth};
use crate::durable::{create_directory, io_error, is_there, rename};
use crate::error::Error;
use crate::fault::{Fault, Outcome};
use crate::lock::Lock;
use crate::migrate::format_of;
use crate::overlay::Overlay;
use crate::phased::Phased;
use crate::private;
use crate::register::Register;
use crate::rows;
use crate::schema::{DEPARTED, FORMAT, META, META_FORMAT, META_REVISION};

/// Where a store lives and how long its lock is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) directory: PathBuf,
    pub(crate) patience: Duration,
}

/// The database and the lock. Field order matters: the database closes before the lock opens.
pub(crate) struct Opened {
    database: Phased,
    path: PathBuf,
    lock: Lock,
}

impl Location {
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("ipam.redb")
    }

    /// Where [`crate::Declared`] is kept.
    pub(crate) fn declared(&self) -> PathBuf {
        self.directory.join("declared.yaml")
    }

    /// A name for a database that is moved away, which nothing has yet.
    pub(crate) fn aside(&self, unix_seconds: u64) -> Result<PathBuf, Error> {
        let mut number = 0;
        loop {
            let ending = if number == 0 { String::new() } else { format!(".{number}") };
            let path = self.directory.join(format!("ipam.redb.aside-{unix_seconds}{ending}"));
            if !is_there(&path)? {
                return Ok(path);
            }
            number += 1;
        }
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.directory.join("lock")
    }

    pub(crate) fn lock(&self) -> Result<Lock, Error> {
        private::guard(&self.directory)?;
        Lock::acquire(&self.lock_file(), self.patience)
    }

    /// Opens the existing database for one decision.
    pub(crate) fn open(&self, growth: Growth) -> Result<Opened, Error> {
        let lock = self.lock_existing()?;
        self.open_locked(lock, growth)
    }

    /// Fails if there is no database to wait for. One that seems to be lost may be in the making by
    /// who has the lock.
    pub(crate) fn require_or_wait(&self) -> Result<(), Error> {
        private::guard(&self.directory)?;
        match self.require() {
            Err(Error::Lost { .. }) => Ok(()),
            other => other,
        }
    }

    /// The lock, where there is a database to work with.
    fn lock_existing(&self) -> Result<Lock, Error> {
        self.require_or_wait()?;
        let lock = self.lock()?;
        self.require().map(|()| lock)
    }

    /// Answers [`Error::Missing`] or [`Error::Lost`] if there is no file, and only then: a file
    /// that cannot be seen may hold every address.
    fn require(&self) -> Result<(), Error> {
        let path = self.file();
        if is_there(&path)? {
            Ok(())
        } else if is_there(&self.declared())? {
            Err(Error::Lost { path })
        } else {
            Err(Error::Missing { path })
        }
    }

    pub(crate) fn open_locked(&self, lock: Lock, growth: Growth) -> Result<Opened, Error> {
        self.require()?;
        let path = self.file();
        let file = existing(OpenOptions::new().read(true).write(true), &path)?;
        let database = Phased::open(Disk::new(file, growth), lock.is_settled());
        let database = database.map_err(|error| Fault::from(error).at("open", &path))?;
        if !lock.is_settled() {
            lock.settle(lock.noted().unwrap_or_default());
        }
        Ok(Opened { database, path, lock })
    }

    /// Opens the database for looking only: not a byte of it is written.
    pub(crate) fn look(&self) -> Result<Snapshot, Error> {
        let (path, lock) = (self.file(), self.lock_existing()?);
        Ok(Snapshot { database: open_overlay(&path)?, path, lock })
    }

    /// What the database says, whatever its revision, for who has the lock.
    pub(crate) fn peek(&self, _lock: &Lock) -> Result<Contents, Error> {
        let path = self.file();
        let database = open_overlay(&path)?;
        let read = begin_read(&database).and_then(|transaction| Contents::read(&transaction));
        read.map_err(|fault| fault.at("read", &path))
    }

    /// Makes a database with what `contents` writes, under the lock, and puts it where none is: under
    /// another name first, so that whoever finds it finds it whole, whenever this process or the
    /// power goes.
    ///
    /// Its first revision is above any that was noted, so that no older copy is taken for it.
    pub(crate) fn create(
        &self,
        lock: &Lock,
        declared: &Declared,
        contents: impl FnOnce(&mut Register<'_>) -> Outcome<()>,
    ) -> Result<(), Error> {
        create_directory(&self.directory)?;
        let (path, draft) = (self.file(), self.directory.join("ipam.redb.new"));
        if is_there(&path)? {
            return Err(Error::Exists { path });
        }
        // First: when the database is there, its loss has to be noticed.
        declared.write(&self.declared())?;
        let file = fresh(&mut OpenOptions::new(), &draft)?;
        let noted = lock.noted().unwrap_or_default();
        let made = Phased::open(Disk::new(file, Growth::Blocks), true)
            .map_err(Fault::from)
            .and_then(|database| create_tables(database.database(), noted, contents));
        made.map_err(|fault| fault.at("create", &draft))?;
        File::open(&draft).and_then(|file| file.sync_all()).map_err(io_error("sync", &draft))?;
        rename(&draft, &path)
    }
}

/// A new file in the place of what somebody who was killed may have left there.
pub(crate) fn fresh(options: &mut OpenOptions, path: &Path) -> Result<File, Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove", path)(error));
        }
        _ => {}
    }
    private::open(options.read(true).write(true).create_new(true), path)
}

/// An existing database file that no other program has open. All of ours take the lock first; what
/// another one writes meanwhile would be lost or worse.
pub(crate) fn existing(options: &OpenOptions, path: &Path) -> Result<File, Error> {
    let file = private::open(options, path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Fault::from(DatabaseError::DatabaseAlreadyOpen).at("open", path));
        }
        Err(TryLockError::Error(error)) => return Err(io_error("lock", path)(error)),
    }
    // The library would take an empty file for one that is to be filled.
    if file.metadata().map_err(io_error("look at", path))?.len() == 0 {
        return Err(Error::Damaged { path: path.to_path_buf(), what: "it is empty".into() });
    }
    Ok(file)
}

/// Opens an existing database so that nothing that is done with it reaches the file.
pub(crate) fn open_overlay(path: &Path) -> Result<Database, Error> {
    let overlay = existing(OpenOptions::new().read(true), path)
        .and_then(|file| Overlay::new(file).map_err(io_error("look at", path)))?;
    let database = redb::Builder::new().create_with_backend(overlay);
    database.map_err(|error| Fault::from(error).at("open", path))
}

/// A transaction on a file of this format or an older one, which lacks tables.
fn begin_read(database: &Database) -> Outcome<ReadTransaction> {
    let transaction = database.begin_read()?;
    match format_of(transaction.open_table(META))? {
        0 => Err(Fault::Foreign),
        1..=FORMAT => Ok(transaction),
        found => Err(Fault::Newer { found }),
    }
}

/// Creates all tables of a database, at a revision above `noted`, with what `fill` writes.
pub(crate) fn create_tables(
    database: &Database,
    noted: u64,
    fill: impl FnOnce(&mut Register<'_>) -> Outcome<()>,
) -> Outcome<()> {
    let transaction = begin(database)?;
    {
        transaction.open_table(DEPARTED)?;
        let mut register = Register::open(&transaction)?;
        register.meta.insert(META_FORMAT, FORMAT)?;
        register.meta.insert(META_REVISION, noted + 1)?;
        fill(&mut register)?;
    }
    Ok(transaction.commit()?)
}

/// A transaction that survives power loss once it is committed, and after which no kill makes the
/// next open scan the file.
pub(crate) fn begin(database: &Database) -> Outcome<WriteTransaction> {
    let mut transaction = database.begin_write()?;
    // Implies two-phase commit, which a commit needs to survive any torn write.
    transaction.set_quick_repair(true);
    Ok(transaction)
}

impl Opened {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How much of the file is in use, in bytes.
    pub(crate) fn used_bytes(&self) -> Outcome<u64> {
        let stats = begin(self.database.database())?.stats()?;
        Ok(stats.allocated_pages() * u64::try_from(stats.page_size()).unwrap_or(u64::MAX))
    }

    pub(crate) fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The same after a transaction that failed, under the same lock: what is left of it in memory
    /// is gone.
    pub(crate) fn reopen(self, location: &Location, growth: Growth) -> Result<Self, Error> {
        let Self { database, lock, .. } = self;
        drop(database);
        // The note says whether a commit was begun: as it would for another process.
        location.open_locked(lock, growth)
    }

    /// Notes that maintenance begins, which commits more than once. The next open settles it.
    pub(crate) fn unsettle(&self) -> Result<(), Error> {
        self.lock.unsettle().map_err(|error| Fault::note(error).at("note", &self.path))
    }

    /// For maintenance, which ends with [`Self::close_cleanly`].
    pub(crate) fn database_mut(&mut self) -> &mut Database {
        self.database.database_mut()
    }

    pub(crate) fn database(&self) -> &Database {
        self.database.database()
    }

    /// Closes the database as the library does it, which commits once more.
    pub(crate) fn close_cleanly(self) {
        let Self { database, lock, .. } = self;
        // Without the note nothing more may be written; the next open repairs then.
        if lock.unsettle().is_ok() {
            database.close_cleanly();
        }
        drop(lock);
    }
}

/// A database that knows fewer commits than were made was put back, or fell back: since then
/// addresses may have been given that it takes for free.
pub(crate) fn check_revision(revision: Option<u64>, noted: Option<u64>) -> Outcome<()> {
    let (revision, noted) = (revision.unwrap_or_default(), noted.unwrap_or_default());
    if revision >= noted {
        return Ok(());
    }
    Err(Fault::Disagreement(format!(
        "it is an older copy: it has revision {revision}, revision {noted} was written"
    )))
}

/// A database open for looking.
pub(crate) struct Snapshot {
    database: Database,
    path: PathBuf,
    lock: Lock,
}

impl Snapshot {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A transaction on a file of this format or an older one that is no older copy of itself.
    pub(crate) fn read(&self) -> Outcome<ReadTransaction> {
        let transaction = begin_read(&self.database)?;
        let revision = rows::number(&transaction.open_table(META)?, META_REVISION)?;
        check_revision(revision, self.lock.noted())?;
        Ok(transaction)
    }

    /// The database; what is written to it reaches no file.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    pub(crate) fn lock(&self) -> &Lock {
        &self.lock
    }
}
