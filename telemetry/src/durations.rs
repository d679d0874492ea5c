//! How long calls take, over all processes since the boot: histograms in a file in memory.
//!
//! No daemon counts, so each process adds itself to a table of fixed size, under `flock(2)`, by one
//! read and one write of 256 bytes within a page: a kill does not tear it. Slot 0 says what the file
//! is; one follows for each plugin, verb and outcome. A slot is, little-endian: the CRC-32 of the
//! rest, zero, the sum of the durations in nanoseconds, how many calls were in each bucket (the
//! last has no bound), how many failed for each reason. A slot whose checksum does not hold starts
//! anew, and so does a file of another kind, version or length.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cni_proto::Verb;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::directory::Directory;
use crate::lock::Locked;

mod failure;

pub use failure::Failure;

/// Where plugins count, unless there is no such directory: then nothing is counted.
pub const DEFAULT_FILE: &str = "/run/node-ipam/durations";

/// The upper bounds of the buckets, in nanoseconds; a call of exactly that is in it.
pub const BUCKETS_NANOS: [u64; 19] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// The plugins that are counted; others are not.
pub const PLUGINS: [&str; 3] = ["cni-ipam", "cni-ipvlan", "cni-coordinator"];

const VERBS: [Verb; 5] = [Verb::Add, Verb::Del, Verb::Check, Verb::Gc, Verb::Status];

const SLOT: usize = 256;
const SLOTS: usize = PLUGINS.len() * VERBS.len() * 2;
const LENGTH: u64 = (SLOT * (SLOTS + 1)) as u64;
const MAGIC: &[u8; 24] = b"node-ipam durations 1\n\0\0";
const BUCKETS: usize = BUCKETS_NANOS.len() + 1;
const FAILURES: usize = Failure::ALL.len();

/// The most calls that one number of the file can be about: no node comes near it, and the sum of all
/// numbers still has 64 bits.
const MOST_CALLS: u64 = 1 << 54;
const _: () = assert!(8 + 8 * (1 + BUCKETS + FAILURES) <= SLOT);

/// How long another process is waited for: it takes microseconds, unless somebody stopped it, and
/// then no pod waits for a number.
const PATIENCE: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_micros(50);

/// The file of durations.
#[derive(Debug, Clone)]
pub struct Durations {
    path: PathBuf,
}

/// The calls of one plugin and verb that ended in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// Which plugin.
    pub plugin: &'static str,
    /// Which verb.
    pub verb: Verb,
    /// Whether they failed.
    pub failed: bool,
    /// How long they took together, in nanoseconds.
    pub sum_nanos: u64,
    /// How many were at most as long as the bound at the same place of [`BUCKETS_NANOS`] and longer
    /// than the one before; the last entry has no bound.
    pub buckets: [u64; BUCKETS],
    /// How many failed for each reason, in the order of [`Failure::ALL`].
    pub failures: [u64; FAILURES],
}

/// Why calls are not counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DurationsError {
    /// There is no file, or no directory for one: nothing was counted yet.
    #[error("{}: nothing was counted yet", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Another process has had the file for too long.
    #[error(
        "{} is locked by another process, which is stopped: look for it with fuser",
        path.display()
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written; a link and another user's file are refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Durations {
    /// Those in a file. Touches nothing.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Adds one call of `plugin` that took so long, and failed for the reason if there is one. One of
    /// a plugin or verb that is not in the file is left out.
    ///
    /// # Errors
    /// Any [`DurationsError`]: it was not counted, and nothing is to be done about it.
    pub fn count(
        &self,
        plugin: &str,
        verb: Verb,
        failure: Option<Failure>,
        took: Duration,
    ) -> Result<(), DurationsError> {
        let Some(place) = slot_of(plugin, verb, failure.is_some()) else { return Ok(()) };
        let file = self.open(OFlags::RDWR)?;
        let _locked = self.locked(|| Locked::exclusive(&file))?;
        add(&file, place, failure, took).map_err(|source| self.io(source))
    }

    /// Everything that was counted, what never happened left out.
    ///
    /// # Errors
    /// Any [`DurationsError`].
    pub fn read(&self) -> Result<Vec<Measured>, DurationsError> {
        let file = self.open(OFlags::RDONLY)?;
        let _locked = self.locked(|| Locked::shared(&file))?;
        read_all(&file).map_err(|source| self.io(source))
    }

    fn open(&self, flags: OFlags) -> Result<File, DurationsError> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let name = self.path.file_name().unwrap_or(OsStr::new("durations"));
        let opened = Directory::open(parent).and_then(|directory| {
            if flags == OFlags::RDONLY {
                directory.existing(name)
            } else {
                directory.file(name, flags)
            }
        });
        opened.map_err(|errno| match errno {
            Errno::NOENT => DurationsError::Missing { path: self.path.clone() },
            errno => self.io(errno.into()),
        })
    }

    fn locked<'a>(
        &self,
        attempt: impl Fn() -> Result<Locked<'a>, Errno>,
    ) -> Result<Locked<'a>, DurationsError> {
        let began = Instant::now();
        loop {
            match attempt() {
                Err(Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    return Err(DurationsError::Busy { path: self.path.clone() });
                }
                Err(Errno::INTR) => {}
                taken => return taken.map_err(|errno| self.io(errno.into())),
            }
        }
    }

    fn io(&self, source: io::Error) -> DurationsError {
        DurationsError::Io { path: self.path.clone(), source }
    }
}

impl Measured {
    /// How many calls.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

fn slot_of(plugin: &str, verb: Verb, failed: bool) -> Option<usize> {
    let plugin = PLUGINS.iter().position(|known| *known == plugin)?;
    let verb = VERBS.iter().position(|known| *known == verb)?;
    Some((plugin * VERBS.len() + verb) * 2 + usize::from(failed))
}

fn offset(place: usize) -> u64 {
    (SLOT * (1 + place)) as u64
}

fn add(file: &File, place: usize, failure: Option<Failure>, took: Duration) -> io::Result<()> {
    if !is_ours(file)? {
        file.set_len(0)?;
        file.set_len(LENGTH)?;
        file.write_all_at(MAGIC, 0)?;
    }
    let at = offset(place);
    let mut slot = Slot::read(file, at)?;
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let bucket = BUCKETS_NANOS.partition_point(|bound| *bound < nanos);
    slot.sum_nanos = slot.sum_nanos.saturating_add(nanos);
    slot.buckets[bucket] += 1;
    if let Some(failure) = failure {
        slot.failures[failure as usize] += 1;
    }
    file.write_all_at(&slot.bytes(), at)
}

fn read_all(file: &File) -> io::Result<Vec<Measured>> {
    let mut all = Vec::new();
    if !is_ours(file)? {
        return Ok(all);
    }
    for plugin in PLUGINS {
        for verb in VERBS {
            for failed in [false, true] {
                let place = slot_of(plugin, verb, failed).unwrap_or_default();
                let Slot { sum_nanos, buckets, failures } = Slot::read(file, offset(place))?;
                if buckets.iter().any(|count| *count > 0) {
                    let measured = Measured { plugin, verb, failed, sum_nanos, buckets, failures };
                    all.push(measured);
                }
            }
        }
    }
    Ok(all)
}

fn is_ours(file: &File) -> io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) => Ok(magic == *MAGIC && file.metadata()?.len() == LENGTH),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Slot {
    sum_nanos: u64,
    buckets: [u64; BUCKETS],
    failures: [u64; FAILURES],
}

impl Slot {
    fn read(file: &File, at: u64) -> io::Result<Self> {
        let mut bytes = [0; SLOT];
        file.read_exact_at(&mut bytes, at)?;
        let (checksum, rest) = bytes.split_at(4);
        let is_whole = checksum == crc32fast::hash(rest).to_le_bytes();
        let mut numbers =
            rest[4..].chunks_exact(8).map(|chunk| chunk.try_into().map_or(0, u64::from_le_bytes));
        let mut next = || numbers.next().unwrap_or_default();
        let slot = Self {
            sum_nanos: next(),
            buckets: std::array::from_fn(|_| next()),
            failures: std::array::from_fn(|_| next()),
        };
        let is_sound = slot.buckets.iter().chain(&slot.failures).all(|count| *count < MOST_CALLS);
        // One that was never written is zero, and its checksum does not hold either.
        Ok(if is_whole && is_sound { slot } else { Self::default() })
    }

    fn bytes(&self) -> [u8; SLOT] {
        let mut bytes = [0; SLOT];
        let numbers = [self.sum_nanos].into_iter().chain(self.buckets).chain(self.failures);
        for (chunk, number) in bytes[8..].chunks_exact_mut(8).zip(numbers) {
            chunk.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests;
