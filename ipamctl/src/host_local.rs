//! The data directory of the plugin host-local: read, and written so that it goes on from there.
//!
//! `DIR/NETWORK` has one file for each address that is held, named by the address as Go prints it
//! and with `CONTAINERID\r\nIFNAME` inside (before 2019 only `CONTAINERID`), `last_reserved_ip.N`
//! with the address that range set N gave last (`last_reserved_ip` while there was one set), and
//! `lock`, on which `flock(2)` is taken (containernetworking/plugins,
//! `plugins/ipam/host-local/backend/disk`; go-filemutex). On Windows alone `_` stands for the `:` of
//! an address; host-local on Linux does not know such files, and neither do we.

mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ipam_core::{ContainerId, IfName, NetworkName};

pub(crate) use write::{Written, write};

/// Between the two parts of a file, on every system (`LineBreak` of host-local).
const SEPARATOR: &str = "\r\n";
/// The beginning of the name of a file with the last address of a range set.
const LAST_RESERVED: &str = "last_reserved_ip";
const LOCK: &str = "lock";
/// The longest file in bytes that is read; names have at most 253.
const LONGEST_FILE: u64 = 4096;
/// host-local holds its lock for some file operations only: to ask this often is fair enough.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// What host-local knows of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostLocal {
    /// The network.
    pub(crate) network: NetworkName,
    /// Who holds what, in the order of the addresses.
    pub(crate) reservations: Vec<Reservation>,
    /// Addresses with an empty file: a process died between creating and filling it, or the disk
    /// lost what was in it. host-local never gives them out, and no DEL frees them.
    pub(crate) abandoned: Vec<IpAddr>,
    /// The address that each range set gave last.
    pub(crate) last_reserved: BTreeMap<u32, IpAddr>,
    /// What is none of the above.
    pub(crate) oddities: Vec<Oddity>,
}

/// A file that host-local would not have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Oddity {
    /// The file.
    pub(crate) file: PathBuf,
    /// What is wrong with it.
    pub(crate) why: String,
}

/// One address that is held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reservation {
    /// The address.
    pub(crate) address: IpAddr,
    /// Its holder.
    pub(crate) container: ContainerId,
    /// The holder's interface; `None` in a file of before 2019, which stands for any.
    pub(crate) ifname: Option<IfName>,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.why)
    }
}

impl HostLocal {
    /// Reads `data_dir/NETWORK` under host-local's own lock, for which it waits at most `patience`.
    /// Nothing is changed, but that the lock's file is made where it is missing.
    ///
    /// # Errors
    /// If the directory is missing, cannot be listed or stays locked, or if `network` can be none of
    /// host-local's since it is no CNI network name. A single file is never an error.
    pub(crate) fn read(data_dir: &Path, network: &NetworkName, patience: Duration) -> Result<Self> {
        let directory = directory_of(data_dir, network)?;
        let _lock = lock(&directory, patience)?;
        Self::scan(&directory, network)
    }

    /// As [`Self::read`], for who has the lock.
    fn scan(directory: &Path, network: &NetworkName) -> Result<Self> {
        let context = || format!("read the host-local directory {}", directory.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).with_context(context)? {
            files.push(entry.with_context(context)?.path());
        }
        files.sort();
        let mut found = Self {
            network: network.clone(),
            reservations: Vec::new(),
            abandoned: Vec::new(),
            last_reserved: BTreeMap::new(),
            oddities: Vec::new(),
        };
        for file in files {
            if let Err(error) = found.add(&file) {
                found.oddities.push(Oddity { file, why: format!("{error:#}") });
            }
        }
        found.reservations.sort();
        found.abandoned.sort();
        Ok(found)
    }

    fn add(&mut self, file: &Path) -> Result<()> {
        let name = file.file_name().unwrap_or_default();
        let name = name.to_str().context("its name is not UTF-8")?;
        if name == LOCK {
            return Ok(());
        }
        if let Some(set) = name.strip_prefix(LAST_RESERVED) {
            let number = if set.is_empty() { Some("0") } else { set.strip_prefix('.') };
            let number = number.and_then(|number| number.parse().ok());
            let set = number.with_context(|| format!("its name is not {LAST_RESERVED}.NUMBER"))?;
            let text = text_of(file)?;
            let address = text.trim().parse();
            self.last_reserved.insert(set, address.with_context(|| format!("{text:?}"))?);
            return Ok(());
        }
        let address: IpAddr = name
            .parse()
            .context("its name is neither an address nor one that host-local writes")?;
        let written = file_name(address);
        ensure!(name == written, "host-local looks for {address} at {written} only");
        let text = text_of(file)?;
        match text.trim() {
            "" => self.abandoned.push(address),
            text => self.reservations.push(reservation(address, text)?),
        }
        Ok(())
    }
}

/// What a file says, by host-local's own comparison: it finds `CONTAINERID\r\nIFNAME`, or
/// `CONTAINERID` alone, with any white space around the whole.
fn reservation(address: IpAddr, text: &str) -> Result<Reservation> {
    let (container, ifname) = match text.split_once(SEPARATOR) {
        Some((container, ifname)) => (container, Some(ifname)),
        None => (text, None),
    };
    let unreadable = || format!("{text:?} is not CONTAINERID{SEPARATOR:?}IFNAME");
    Ok(Reservation {
        address,
        container: container.parse().with_context(unreadable)?,
        ifname: ifname.map(str::parse).transpose().with_context(unreadable)?,
    })
}

/// The name of an address's file. Go knows no IPv4-mapped IPv6 address: it is the IPv4 address.
fn file_name(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

fn text_of(file: &Path) -> Result<String> {
    // A look first: to open a pipe would wait for its writer.
    ensure!(fs::symlink_metadata(file)?.is_file(), "it is no regular file");
    let mut bytes = Vec::new();
    File::open(file)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= LONGEST_FILE, "it is longer than {LONGEST_FILE} bytes");
    String::from_utf8(bytes).context("it is not UTF-8")
}

/// The directory of a network. The stricter rule of the specification keeps its name inside.
fn directory_of(data_dir: &Path, network: &NetworkName) -> Result<PathBuf> {
    cni_proto::NetworkName::new(network.as_str())?;
    Ok(data_dir.join(network.as_str()))
}

/// Takes host-local's lock; it is held until the file is dropped.
fn lock(directory: &Path, patience: Duration) -> Result<File> {
    let path = directory.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("open host-local's lock {}", path.display()))?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(LOCK_RETRY);
            }
            Err(TryLockError::WouldBlock) => bail!(
                "host-local's lock {} was held by another process for {} s",
                path.display(),
                patience.as_secs()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
    }
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
