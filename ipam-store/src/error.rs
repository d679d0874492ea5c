//! What can go wrong with the store, apart from a decision that refuses.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ipam_core::{NotDecided, Refused, Rejection};

use crate::codec::CodecError;

/// The store failed. Nothing was changed unless a commit had already succeeded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no database. Nothing is created on the way: apply pools first.
    #[error("no database at {}: apply pools on this node first (ipamctl apply)", path.display())]
    Missing {
        /// The database file.
        path: PathBuf,
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
    /// A newer program has written the database: use that program.
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
    /// A record is damaged.
    #[error("database {} is damaged at {what}: {source}", path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// Which record.
        what: String,
        /// How it is damaged.
        source: CodecError,
    },
    /// The operating system refused an operation on a file.
    #[error("{operation} {}: {source}", path.display())]
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

/// A process that holds the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command's name, at most 15 bytes.
    pub command: String,
}

fn held_by(holder: Option<&Holder>) -> String {
    match holder {
        Some(Holder { pid, command }) => format!(", held by {command} (pid {pid})"),
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

impl From<NotDecided<Error>> for AllocateError {
    fn from(error: NotDecided<Error>) -> Self {
        match error {
            NotDecided::Refused(refused) => Self::Refused(refused),
            NotDecided::Ledger(error) => Self::Store(error),
        }
    }
}

/// No pool was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The pools break rules together or against what is stored: correct the documents.
    #[error("{}", Rejections(.0))]
    Rejected(Vec<Rejection>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
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
