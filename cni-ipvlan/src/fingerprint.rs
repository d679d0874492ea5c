//! What a NIC's segment is like, remembered for a while.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni_net::{Family, MacAddr, NetnsId};
use ipnet::IpNet;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Where fingerprints are: gone with a reboot.
const DIRECTORY: &str = "/run/node-ipam/segments";

/// How long a segment is taken to be as it was, in seconds.
const LIFETIME_SECONDS: u64 = 600;

/// The largest file that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// What is remembered of a NIC's segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    /// The NIC's MAC and addresses then: with others it may be another segment.
    mac: String,
    addresses: Vec<String>,
    /// When, in seconds of the boot clock.
    seconds: u64,
    /// Who answers for every address.
    proxy: Option<String>,
}

/// The file of a NIC and family: that a segment answers for every address of one says nothing of
/// the other.
pub(crate) fn file(netns: NetnsId, index: u32, family: Family) -> PathBuf {
    let family = match family {
        Family::V4 => 4,
        Family::V6 => 6,
    };
    Path::new(DIRECTORY).join(format!("{}-{index}-ipv{family}.json", netns.ino))
}

/// What a segment is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who has an address answers for it, and nobody else.
    Plain,
    /// Somebody answers for every address.
    Proxied(MacAddr),
}

/// What was found there not long ago, on the NIC as it is now.
pub(crate) fn recall(file: &Path, mac: MacAddr, addresses: &[IpNet]) -> Option<Kind> {
    if fs::metadata(file).ok()?.len() > LONGEST {
        return None;
    }
    let found: Fingerprint = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let same = Fingerprint::new(mac, addresses, found.seconds, Kind::Plain);
    let now = now();
    let is_fresh = found.seconds <= now && now - found.seconds < LIFETIME_SECONDS;
    let is_same = same.mac == found.mac && same.addresses == found.addresses;
    if !(is_fresh && is_same) {
        return None;
    }
    match found.proxy {
        None => Some(Kind::Plain),
        Some(proxy) => proxy.parse().ok().map(Kind::Proxied),
    }
}

/// Remembers it. Where that fails it is found out again the next time.
pub(crate) fn remember(file: &Path, mac: MacAddr, addresses: &[IpNet], kind: Kind) {
    let fingerprint = Fingerprint::new(mac, addresses, now(), kind);
    drop(write(file, &fingerprint));
}

fn write(file: &Path, fingerprint: &Fingerprint) -> io::Result<()> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let draft = file.with_extension(format!("{}", std::process::id()));
    let mut options = OpenOptions::new();
    let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    out.write_all(&serde_json::to_vec(fingerprint)?)?;
    fs::rename(&draft, file)
}

impl Fingerprint {
    fn new(mac: MacAddr, addresses: &[IpNet], seconds: u64, kind: Kind) -> Self {
        let mut addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        addresses.sort_unstable();
        let proxy = match kind {
            Kind::Plain => None,
            Kind::Proxied(proxy) => Some(proxy.to_string()),
        };
        Self { mac: mac.to_string(), addresses, seconds, proxy }
    }
}

fn now() -> u64 {
    clock_gettime(ClockId::Boottime).tv_sec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const PROXY: MacAddr = MacAddr([0xee, 0xff, 0xff, 0xff, 0xff, 0xff]);

    #[test]
    fn each_nic_and_family_has_a_file() {
        let netns = cni_net::Netns::current().unwrap().id();
        let files = [(2, Family::V4), (2, Family::V6), (3, Family::V4)];
        let files = files.map(|(index, family)| file(netns, index, family));
        assert!(files[0] != files[1] && files[0] != files[2], "{files:?}");
        assert!(files[1].ends_with(format!("{}-2-ipv6.json", netns.ino)));
    }

    #[test]
    fn a_segment_is_recalled_while_its_nic_is_the_same_and_it_is_fresh() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("segments/4-2.json");
        let addresses: Vec<IpNet> = vec!["10.0.0.1/24".parse().unwrap()];
        assert_eq!(recall(&file, MAC, &addresses), None);
        for kind in [Kind::Plain, Kind::Proxied(PROXY)] {
            remember(&file, MAC, &addresses, kind);
            assert_eq!(recall(&file, MAC, &addresses), Some(kind));
        }
        assert_eq!(recall(&file, PROXY, &addresses), None, "another MAC");
        assert_eq!(recall(&file, MAC, &[]), None, "another address");
        for seconds in [now() + 5, now().saturating_sub(LIFETIME_SECONDS)] {
            write(&file, &Fingerprint::new(MAC, &addresses, seconds, Kind::Plain)).unwrap();
            assert_eq!(recall(&file, MAC, &addresses), None, "of the future, or too old");
        }
        for text in ["", "{}", "[1]", &"x".repeat(70_000)] {
            fs::write(&file, text).unwrap();
            assert_eq!(recall(&file, MAC, &addresses), None);
        }
    }
}
