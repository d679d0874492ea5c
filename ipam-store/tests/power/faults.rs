//! A disk that refuses: every call that changes it fails in turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redb::StorageBackend;
use rustix::io::Errno;

use super::panics;

/// The call that fails. A clone counts the same calls.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// The call that fails, of those that change the disk, counted from 0.
    nth: usize,
    error: Errno,
    duration: Duration,
    calls: Arc<AtomicUsize>,
}

/// Whether the disk recovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duration {
    /// One call fails, the next works again.
    Once,
    /// Every call from the fault on fails: a disk that is full, or gone.
    Lasting,
}

impl Fault {
    /// `error` is what a disk answers: `Errno::NOSPC`, `Errno::IO`, `Errno::ROFS`.
    pub(crate) fn new(nth: usize, error: Errno, duration: Duration) -> Self {
        Self { nth, error, duration, calls: Arc::default() }
    }

    /// Whether the faulty call was made.
    pub(crate) fn struck(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > self.nth
    }

    /// How many calls were made that change the disk, the failed ones among them.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn call(&self) -> io::Result<()> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let fails = match self.duration {
            Duration::Once => number == self.nth,
            Duration::Lasting => number >= self.nth,
        };
        if fails { Err(self.error.into()) } else { Ok(()) }
    }
}

/// A disk with a fault in it. Over a [`Device`](super::tape::Device) it records what got through.
#[derive(Debug)]
pub(crate) struct Faulty<B> {
    disk: B,
    fault: Fault,
}

impl<B> Faulty<B> {
    pub(crate) fn new(disk: B, fault: &Fault) -> Self {
        Self { disk, fault: fault.clone() }
    }
}

impl<B: StorageBackend> StorageBackend for Faulty<B> {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fault.call()?;
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fault.call()?;
        self.disk.sync_data()
    }

    /// A write that fails has written its first half: `write(2)` may stop anywhere.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.fault.call() {
            Ok(()) => self.disk.write(offset, data),
            Err(error) => {
                self.disk.write(offset, &data[..data.len() / 2])?;
                Err(error)
            }
        }
    }

    fn close(&self) -> io::Result<()> {
        self.disk.close()
    }
}

/// Runs a workload once for every call that changes its disk, with that call failing, until a run
/// ends without its fault having struck. Answers how many faults there were.
///
/// # Errors
/// The first run that answered an error or panicked, with the number of its fault.
pub(crate) fn fail_each(
    error: Errno,
    duration: Duration,
    mut run: impl FnMut(&Fault) -> Result<(), String>,
) -> Result<usize, String> {
    for nth in 0.. {
        let fault = Fault::new(nth, error, duration);
        panics::catch(|| run(&fault))
            .unwrap_or_else(|panic| Err(format!("panic: {panic}")))
            .map_err(|message| format!("fault {nth} ({error}, {duration:?}): {message}"))?;
        if !fault.struck() {
            return Ok(nth);
        }
    }
    unreachable!("a run ends, so it makes finitely many calls")
}
