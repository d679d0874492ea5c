//! What can go wrong with the store, apart from a decision that refuses.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipam_core::{Attachment, NotDecided, PoolName, Refused, Rejection};
use rustix::process::geteuid;

use crate::fault::Fault;

/// The store failed. Nothing was changed unless a commit had already succeeded, or
/// [`Self::Unanswered`] says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no database, and there never was one here. Nothing is created on the way: apply
    /// pools first.
    #[error("no database at {}: apply pools on this node first (ipamctl apply)", path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
    },
    /// The database is gone. Who held what is not known, so nothing is handed out until it is
    /// rebuilt.
    #[error("database {} is gone, though pools were applied here: no address is handed out before `ipamctl rebuild`", path.display())]
    Lost {
        /// The database file.
        path: PathBuf,
    },
    /// The database is damaged. What it says cannot be trusted, so nothing is handed out until it
    /// is rebuilt, or its indexes are.
    #[error("database {} is damaged: {what}: no address is handed out before `ipamctl verify --repair` or `ipamctl rebuild`", path.display())]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Somebody else held the lock for too long: try again.
    #[error("waited {} ms for the lock {}{}: try again", waited.as_millis(), path.display(), held_by(holder.as_ref()))]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long the lock was waited for.
        waited: Duration,
        /// Who holds it, as far as the kernel tells.
        holder: Option<Holder>,
    },
    /// Somebody else held the lock for too long, and has taken this request on: it may have been
    /// carried out, or be still. Release the attachment, then try again.
    #[error("waited {} ms for the lock {}{}, which has taken the request on and not answered: DEL frees what it may get, then try again", waited.as_millis(), path.display(), held_by(holder.as_ref()))]
    Unanswered {
        /// The lock file.
        path: PathBuf,
        /// How long the answer was waited for.
        waited: Duration,
        /// Who holds the lock, as far as the kernel tells.
        holder: Option<Holder>,
    },
    /// A newer program has written the database: use that program. Releases are accepted all the
    /// same.
    #[error("database {} has format {found}, this program knows up to {known}: update this program", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The file's format version.
        found: u64,
        /// The highest version that this program knows.
        known: u64,
    },
    /// The file is a database, but not one of this project's.
    #[error("{} is a database of another program: move it away or choose another directory", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// There is a database already, where one was to be created.
    #[error("{} is there already", path.display())]
    Exists {
        /// The database file.
        path: PathBuf,
    },
    /// Somebody else could choose what is read there.
    #[error("{} {what}: {remedy}", path.display())]
    Unsafe {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        remedy: String,
    },
    /// It is another user's: run as that user.
    #[error("{} belongs to {}", path.display(), owner_and_remedy(*owner))]
    NotOwner {
        /// The directory or file.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
    /// The operating system refused an operation on a file.
    #[error("{operation} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The database refused an operation.
    #[error("{operation} database {}: {source}", path.display())]
    Database {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The database's answer.
        source: Box<redb::Error>,
    },
}

impl Error {
    /// Whether the disk has no room, or this user no more of it.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_full(source))
    }

    /// Whether the database cannot say who holds what, so that only a rebuild helps.
    pub fn needs_rebuild(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Damaged { .. })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// What to do about an errno that an operator meets.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if is_full(error) => ": free some space; addresses can still be released",
        io::ErrorKind::ReadOnlyFilesystem => ": mount it read-write again",
        io::ErrorKind::PermissionDenied if !geteuid().is_root() => ": run as root (sudo)",
        _ => "",
    }
}

fn owner_and_remedy(owner: u32) -> String {
    match owner {
        0 => "root: run as root (sudo)".to_owned(),
        uid => format!("uid {uid}: run as that user, or as root after `chown`"),
    }
}

/// A process that holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command's name, at most 15 bytes.
    pub command: String,
    /// For how long, where it noted that.
    pub held: Option<Duration>,
}

fn held_by(holder: Option<&Holder>) -> String {
    match holder {
        Some(Holder { pid, command, held: Some(held) }) => {
            format!(", held by {command} (pid {pid}) for {} ms", held.as_millis())
        }
        Some(Holder { pid, command, held: None }) => format!(", held by {command} (pid {pid})"),
        None => String::new(),
    }
}

/// No address was allocated, and nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// The demand cannot be met; the text says why, for each pool.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why a decision inside a transaction was not made.
pub(crate) enum Undecided {
    Refused(Box<Refused>),
    Store(Error),
    Fault(Fault),
}

impl From<NotDecided<Fault>> for Undecided {
    fn from(error: NotDecided<Fault>) -> Self {
        match error {
            NotDecided::Refused(refused) => Self::Refused(refused),
            NotDecided::Ledger(fault) => Self::Fault(fault),
        }
    }
}

impl From<Error> for Undecided {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<Fault> for Undecided {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// No pool was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The pools break rules together or against what is stored: correct the documents.
    #[error("{}", Rejections(.0))]
    Rejected(Vec<Rejection>),
    /// A pool was to be removed while somebody holds one of its addresses: release it first.
    #[error("pool {pool} cannot be removed: {address} is held by {holder}: release it first")]
    Held {
        /// The pool.
        pool: PoolName,
        /// The first address that is held.
        address: IpAddr,
        /// Who holds it.
        holder: Attachment,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Why documents were not applied, inside a transaction.
pub(crate) enum Unapplied {
    Apply(ApplyError),
    Fault(Fault),
}

impl From<ApplyError> for Unapplied {
    fn from(error: ApplyError) -> Self {
        Self::Apply(error)
    }
}

impl From<Error> for Unapplied {
    fn from(error: Error) -> Self {
        Self::Apply(error.into())
    }
}

impl From<Fault> for Unapplied {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

struct Rejections<'a>(&'a [Rejection]);

impl fmt::Display for Rejections<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rejection) in self.0.iter().enumerate() {
            write!(f, "{}{rejection}", if index > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}
