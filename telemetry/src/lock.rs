//! `flock(2)` on an open file, until it is dropped.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// A lock on a file.
#[derive(Debug)]
pub(crate) struct Locked<'a>(&'a File);

impl<'a> Locked<'a> {
    /// Takes the lock, if nobody else has it (`EWOULDBLOCK`).
    pub(crate) fn exclusive(file: &'a File) -> Result<Self, Errno> {
        Self::by(file, FlockOperation::NonBlockingLockExclusive)
    }

    /// The same for who only reads, beside others who do.
    pub(crate) fn shared(file: &'a File) -> Result<Self, Errno> {
        Self::by(file, FlockOperation::NonBlockingLockShared)
    }

    fn by(file: &'a File, operation: FlockOperation) -> Result<Self, Errno> {
        flock(file.as_fd(), operation)?;
        Ok(Self(file))
    }
}

impl Drop for Locked<'_> {
    /// Not by the close alone: a child that another thread is starting has a copy of the descriptor
    /// until it calls exec, and would keep the lock for as long.
    fn drop(&mut self) {
        // There is nothing to be done about it, and the close comes next.
        let _ = flock(self.0.as_fd(), FlockOperation::Unlock);
    }
}
