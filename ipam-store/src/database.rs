//! The database file, open: only ever under the lock.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redb::{ReadOnlyDatabase, ReadTransaction, ReadableDatabase, ReadableTable, WriteTransaction};

use crate::error::Error;
use crate::lock::Lock;
use crate::schema::{ATTACHMENTS, FORMAT, LEASES, META, META_FORMAT, POOLS};

/// Where a store lives and how long its lock is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) directory: PathBuf,
    pub(crate) patience: Duration,
}

/// The database and the lock. Field order matters: the database closes before the lock opens.
pub(crate) struct Opened<D> {
    database: D,
    path: PathBuf,
    _lock: Lock,
}

impl Location {
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("ipam.redb")
    }

    fn lock(&self) -> Result<Lock, Error> {
        Lock::acquire(&self.directory.join("lock"), self.patience)
    }

    /// Opens the existing database for one decision.
    pub(crate) fn open(&self) -> Result<Opened<redb::Database>, Error> {
        self.require()?;
        let lock = self.lock()?;
        self.open_locked(lock)
    }

    /// Answers [`Error::Missing`] if there is no file, and only then: a file that cannot be seen
    /// may hold every address.
    fn require(&self) -> Result<(), Error> {
        let path = self.file();
        if is_there(&path)? { Ok(()) } else { Err(Error::Missing { path }) }
    }

    /// As [`Self::open`], but makes directory and database first where they are missing.
    pub(crate) fn open_or_create(&self) -> Result<Opened<redb::Database>, Error> {
        create_durably(&self.directory)?;
        let lock = self.lock()?;
        if !is_there(&self.file())? {
            self.create()?;
        }
        self.open_locked(lock)
    }

    fn open_locked(&self, lock: Lock) -> Result<Opened<redb::Database>, Error> {
        let path = self.file();
        match redb::Database::open(&path) {
            Ok(database) => Ok(Opened { database, path, _lock: lock }),
            Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))
                if error.kind() == io::ErrorKind::NotFound =>
            {
                Err(Error::Missing { path })
            }
            Err(error) => Err(database_error("open", &path)(error.into())),
        }
    }

    /// Opens the database for looking only, without writing a byte where that is possible.
    pub(crate) fn look(&self) -> Result<Snapshot, Error> {
        self.require()?;
        let (path, lock) = (self.file(), self.lock()?);
        match ReadOnlyDatabase::open(&path) {
            Ok(database) => Ok(Snapshot::Clean(Opened { database, path, _lock: lock })),
            // The last writer was killed: only an open for writing puts the file in order.
            Err(redb::DatabaseError::RepairAborted) => {
                self.open_locked(lock).map(Snapshot::Repaired)
            }
            Err(error) => Err(database_error("open", &path)(error.into())),
        }
    }

    /// Makes the database under another name and renames it: whoever finds the file finds it
    /// whole, whenever this process or the power goes.
    fn create(&self) -> Result<(), Error> {
        let (path, draft) = (self.file(), self.directory.join("ipam.redb.new"));
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &draft)(error));
            }
            _ => {}
        }
        let failed = |error: redb::Error| database_error("create", &draft)(error);
        let database = redb::Database::create(&draft).map_err(|error| failed(error.into()))?;
        let transaction = database.begin_write().map_err(|error| failed(error.into()))?;
        fill(&transaction).map_err(|error| failed(error.into()))?;
        transaction.commit().map_err(|error| failed(error.into()))?;
        drop(database);
        File::open(&draft).and_then(|file| file.sync_all()).map_err(io_error("sync", &draft))?;
        fs::rename(&draft, &path).map_err(io_error("rename", &draft))?;
        sync_directory(&self.directory)
    }
}

/// Whether anything stands at `path`, a broken link included. Only "no such file" means no.
fn is_there(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("look for", path)(error)),
    }
}

/// Creates a directory with those above it, and syncs each into the one that holds it.
fn create_durably(directory: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(io_error("create", directory))?;
    missing.iter().filter_map(|path| path.parent()).try_for_each(|parent| {
        // The parent of a relative path's first part is empty and means the current directory.
        let here = Path::new(".");
        sync_directory(if parent.as_os_str().is_empty() { here } else { parent })
    })
}

fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io_error("sync", directory))
}

fn fill(transaction: &WriteTransaction) -> Result<(), redb::TableError> {
    transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
    transaction.open_table(POOLS)?;
    transaction.open_table(LEASES)?;
    transaction.open_table(ATTACHMENTS)?;
    Ok(())
}

impl Opened<redb::Database> {
    /// A transaction that survives power loss once it is committed, and after which no kill makes
    /// the next open scan the file.
    pub(crate) fn write(&self) -> Result<WriteTransaction, Error> {
        let mut transaction = self
            .database
            .begin_write()
            .map_err(|error| database_error("write to", &self.path)(error.into()))?;
        // Implies two-phase commit, which a commit needs to survive any torn write.
        transaction.set_quick_repair(true);
        check_format(&self.path, transaction.open_table(META))?;
        Ok(transaction)
    }
}

/// A database open for looking.
pub(crate) enum Snapshot {
    Clean(Opened<ReadOnlyDatabase>),
    Repaired(Opened<redb::Database>),
}

impl Snapshot {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Clean(opened) => &opened.path,
            Self::Repaired(opened) => &opened.path,
        }
    }

    pub(crate) fn read(&self) -> Result<ReadTransaction, Error> {
        let transaction = match self {
            Self::Clean(opened) => opened.database.begin_read(),
            Self::Repaired(opened) => opened.database.begin_read(),
        };
        let transaction =
            transaction.map_err(|error| database_error("read", self.path())(error.into()))?;
        check_format(self.path(), transaction.open_table(META))?;
        Ok(transaction)
    }
}

/// Refuses a file of another program or of a newer format.
fn check_format(
    path: &Path,
    meta: Result<impl ReadableTable<&'static str, u64>, redb::TableError>,
) -> Result<(), Error> {
    let failed = database_error("read", path);
    let found = match meta {
        // A database of somebody else's: ours has had the table since it was created.
        Err(redb::TableError::TableDoesNotExist(_)) => None,
        Err(error) => return Err(failed(error.into())),
        Ok(meta) => meta.get(META_FORMAT).map_err(|e| failed(e.into()))?.map(|row| row.value()),
    };
    let path = path.to_path_buf();
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(Error::Newer { path, found, known: FORMAT }),
        None => Err(Error::Foreign { path }),
    }
}

/// Makes a transaction durable.
pub(crate) fn commit(transaction: WriteTransaction, path: &Path) -> Result<(), Error> {
    transaction.commit().map_err(|error| database_error("commit to", path)(error.into()))
}

pub(crate) fn database_error(
    operation: &'static str,
    path: &Path,
) -> impl Fn(redb::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| Error::Database { operation, path: path.clone(), source: Box::new(source) }
}

fn io_error(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |source| Error::Io { operation, path: path.clone(), source }
}
