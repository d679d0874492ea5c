//! What goes wrong inside a transaction, before anybody says in which file.

use std::io;
use std::path::Path;

use crate::codec::CodecError;
use crate::error::Error;

/// A failure without its place.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The database refused.
    Database(Box<redb::Error>),
    /// A record is not what was written.
    Record { what: String, source: CodecError },
    /// Two tables that must agree do not.
    Disagreement(String),
    /// The file is of a newer format.
    Newer { found: u64 },
    /// The file is a database, but not one of this project's.
    Foreign,
}

pub(crate) type Outcome<T> = Result<T, Fault>;

impl Fault {
    /// Names the record whose bytes could not be decoded.
    pub(crate) fn record(what: String) -> impl FnOnce(CodecError) -> Self {
        move |source| Self::Record { what, source }
    }

    /// A failure to note that a commit begins.
    pub(crate) fn note(error: io::Error) -> Self {
        Self::Database(Box::new(redb::Error::Io(error)))
    }

    /// The failure of `operation` on the database at `path`.
    pub(crate) fn at(self, operation: &'static str, path: &Path) -> Error {
        let path = path.to_path_buf();
        let source = match self {
            Self::Record { what, source } => {
                return Error::Damaged { path, what: format!("{what}: {source}") };
            }
            Self::Disagreement(what) => return Error::Damaged { path, what },
            Self::Newer { found } => {
                return Error::Newer { path, found, known: crate::schema::FORMAT };
            }
            Self::Foreign => return Error::Foreign { path },
            Self::Database(source) => source,
        };
        match *source {
            // The version of the database library's own format, which only grows.
            redb::Error::Corrupted(what) if what.contains("Expected file format version") => {
                Error::Database { operation, path, source: Box::new(redb::Error::Corrupted(what)) }
            }
            redb::Error::Corrupted(what) => Error::Damaged { path, what },
            redb::Error::Io(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Error::Damaged { path, what: error.to_string() }
                }
                _ => Error::Io { operation, path, source: error },
            },
            // Types of tables and versions of the file format are written once and never change.
            other @ (redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => {
                Error::Damaged { path, what: other.to_string() }
            }
            other => Error::Database { operation, path, source: Box::new(other) },
        }
    }
}

macro_rules! from_database {
    ($($error:ty),*) => {
        $(impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        })*
    };
}

from_database!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::SetDurabilityError
);
