//! What the plugin host-local has reserved in the directory of a network.
//!
//! `DIR/NETWORK` has one file for each address that is held, named by the address as Go prints it
//! and with `CONTAINERID\r\nIFNAME` inside, before 2019 only `CONTAINERID`
//! (containernetworking/plugins, `plugins/ipam/host-local/backend/disk`).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

use ipam_core::{Attachment, ContainerId, IfName, Lease, NetworkName, Pool, PoolName};

use crate::report;

/// The interface of a reservation that names none: what runtimes call the only one.
const USUAL_IFNAME: &str = "eth0";

/// The longest file in bytes that is read; names have at most 253.
const LONGEST_FILE: u64 = 4096;

/// The reservations in `directory` as leases of `network`, each of the pool that claims its
/// address; `otherwise` where none does. Files that are none are reported and left out, an empty
/// one, which a killed ADD has left, is nobody's.
///
/// # Errors
///
/// The directory or one of its files cannot be read: who holds what is not known.
pub(crate) fn leases(
    directory: &Path,
    network: &NetworkName,
    pools: &[Pool],
    otherwise: &PoolName,
) -> io::Result<Vec<Lease>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(address) = name.to_str().and_then(|name| name.parse::<IpAddr>().ok()) {
            let is_odd = name != *address.to_canonical().to_string();
            files.push((address, is_odd, entry.path()));
        }
    }
    // Of an address, the file that host-local writes comes first: it knows of no other, and what it
    // says holds, also if that is nothing.
    files.sort();
    let since = ipam_store::now();
    let mut leases = Vec::new();
    let mut seen = BTreeSet::new();
    for (address, _, file) in files {
        // It writes an address in one way, but FD00::5 is fd00::5 too.
        if !seen.insert(address) {
            report::line(&format!("{}: stands there twice", file.display()));
            continue;
        }
        let text = text_of(&file)?;
        if text.trim().is_empty() {
            continue;
        }
        let Some((container, ifname)) = holder(text.trim()) else {
            report::line(&format!("{}: not taken over: {text:?}", file.display()));
            continue;
        };
        let pool = pools.iter().find(|pool| pool.claims(address)).map(Pool::name);
        leases.push(Lease {
            address,
            pool: pool.unwrap_or(otherwise).clone(),
            attachment: Attachment { network: network.clone(), container, ifname },
            pod: None,
            netns: None,
            since: since.clone(),
        });
    }
    if !leases.is_empty() {
        let count = leases.len();
        report::line(&format!("{}: took over {count} reservations", directory.display()));
    }
    Ok(leases)
}

fn holder(text: &str) -> Option<(ContainerId, IfName)> {
    let (container, ifname) = text.split_once("\r\n").unwrap_or((text, USUAL_IFNAME));
    Some((container.parse().ok()?, ifname.parse().ok()?))
}

fn text_of(file: &Path) -> io::Result<String> {
    // A look first: to open a pipe would wait for its writer.
    if !fs::symlink_metadata(file)?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(LONGEST_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing.
    #[test]
    fn an_address_in_two_spellings_is_held_once() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["fd00::5", "FD00::5", "10.0.0.7"] {
            fs::write(directory.path().join(name), "c1\r\neth0").unwrap();
        }
        let (network, pool) = ("net".parse().unwrap(), "p".parse().unwrap());
        let leases = leases(directory.path(), &network, &[], &pool).unwrap();
        assert_eq!(leases.len(), 2, "{leases:?}");
    }

    /// Found by fuzzing: it was of whichever file the directory had first.
    #[test]
    fn of_two_spellings_that_of_host_local_says_who_holds_the_address() {
        let directory = tempfile::tempdir().unwrap();
        for number in 0..16 {
            let name = format!("fd00::a{number:x}");
            fs::write(directory.path().join(name.to_uppercase()), "odd").unwrap();
            fs::write(directory.path().join(name), "own").unwrap();
        }
        for (name, text) in [("fd00::b", ""), ("FD00::B", "odd"), ("FD00::C", "own")] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let (network, pool) = ("net".parse().unwrap(), "p".parse().unwrap());
        let leases = leases(directory.path(), &network, &[], &pool).unwrap();
        let holders = leases.iter().map(|lease| lease.attachment.container.as_str());
        assert_eq!(holders.collect::<Vec<_>>(), ["own"; 17]);
    }
}
