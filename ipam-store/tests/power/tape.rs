//! The tape: every change that a disk was asked for, in order, and what was answered meanwhile.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// One entry of the tape.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Bytes written at an offset. Not on the disk for certain before the next sync.
    Write { offset: u64, bytes: Box<[u8]> },
    /// The file was given this length. As uncertain as a write.
    SetLen(u64),
    /// A sync completed: all before it is on the disk.
    Sync,
    /// This operation of the workload has begun.
    Begun(usize),
    /// This operation of the workload was answered: its effect may no longer be lost.
    Acknowledged(usize),
}

/// The machine under test: a file, the tape of its changes, and processes that come and go.
/// A clone is another handle to the same machine.
#[derive(Debug, Clone)]
pub(crate) struct Tape(Arc<Mutex<Machine>>);

struct Machine {
    initial: Arc<Vec<u8>>,
    contents: Vec<u8>,
    events: Vec<Event>,
    process: u64,
}

/// What a tape has recorded: the file that it began with, durable, and the events since.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    pub(crate) initial: Arc<Vec<u8>>,
    pub(crate) events: Vec<Event>,
}

impl Tape {
    /// Begins with a file of these contents, all of them durable. Empty: nothing was ever written.
    pub(crate) fn new(contents: Vec<u8>) -> Self {
        let initial = Arc::new(contents.clone());
        Self(Arc::new(Mutex::new(Machine { initial, contents, events: Vec::new(), process: 0 })))
    }

    /// The file as the process running now sees it, for `Builder::create_with_backend`.
    pub(crate) fn device(&self) -> Device {
        Device { process: self.machine().process, tape: self.clone() }
    }

    /// Ends the running process as `_exit` or `kill -9` does: every [`Device`] handed out so far
    /// fails from here on and records nothing, so dropping a database on it changes nothing.
    pub(crate) fn kill(&self) {
        self.machine().process += 1;
    }

    /// Marks that an operation begins: from here on its effect may or may not be found.
    pub(crate) fn begin(&self, operation: usize) {
        self.machine().events.push(Event::Begun(operation));
    }

    /// Marks that an operation was answered: from here on its effect has to be found. An operation
    /// that failed is never acknowledged.
    pub(crate) fn acknowledge(&self, operation: usize) {
        self.machine().events.push(Event::Acknowledged(operation));
    }

    /// The file as the machine sees it while the power is on.
    pub(crate) fn contents(&self) -> Vec<u8> {
        self.machine().contents.clone()
    }

    /// What was recorded so far.
    pub(crate) fn recording(&self) -> Recording {
        let machine = self.machine();
        Recording { initial: machine.initial.clone(), events: machine.events.clone() }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        // A check that panicked must not fail the workloads after it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (len, events) = (self.contents.len(), self.events.len());
        write!(formatter, "Machine {{ len: {len}, events: {events} }}")
    }
}

/// The recorded file, open in one process.
#[derive(Debug)]
pub(crate) struct Device {
    process: u64,
    tape: Tape,
}

impl Device {
    fn machine(&self) -> io::Result<MutexGuard<'_, Machine>> {
        let machine = self.tape.machine();
        if machine.process == self.process {
            Ok(machine)
        } else {
            Err(io::Error::other("this process was killed"))
        }
    }
}

impl StorageBackend for Device {
    fn len(&self) -> io::Result<u64> {
        Ok(self.machine()?.contents.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let machine = self.machine()?;
        let range = range(offset, out.len(), machine.contents.len())?;
        out.copy_from_slice(&machine.contents[range]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut machine = self.machine()?;
        machine.contents.resize(position(len)?, 0);
        machine.events.push(Event::SetLen(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.machine()?.events.push(Event::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut machine = self.machine()?;
        let range = range(offset, data.len(), machine.contents.len())?;
        machine.contents[range].copy_from_slice(data);
        machine.events.push(Event::Write { offset, bytes: data.into() });
        Ok(())
    }
}

/// The bytes that an access of `count` bytes at `offset` touches, which have to be in the file:
/// redb writes nothing beyond the length that it has set.
pub(super) fn range(
    offset: u64,
    count: usize,
    file_len: usize,
) -> io::Result<std::ops::Range<usize>> {
    let start = position(offset)?;
    match start.checked_add(count) {
        Some(end) if end <= file_len => Ok(start..end),
        _ => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("{count} bytes at {offset} are not within the file's {file_len}"),
        )),
    }
}

pub(super) fn position(offset: u64) -> io::Result<usize> {
    // A memory disk of a damaged length must fail as a real one does, not run out of memory.
    const LONGEST_BYTES: u64 = 1 << 30;
    match usize::try_from(offset) {
        Ok(position) if offset <= LONGEST_BYTES => Ok(position),
        _ => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{offset} is too far"))),
    }
}
