//! Reservations into host-local's directories: all of them, or none.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipam_core::NetworkName;

use super::{HostLocal, Reservation, SEPARATOR, directory_of, file_name, lock};

/// A file is written under this name first. Only one process writes at a time, so one name is
/// enough, and what a killed one left is overwritten by the next.
const UNFINISHED: &str = ".ipamctl-unfinished";

/// What [`write()`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// How many files are new. A file that a killed process had left empty counts as new.
    pub(crate) created: usize,
    /// How many said the same before.
    pub(crate) unchanged: usize,
}

/// Writes one file for each reservation to `data_dir/NETWORK`, under the locks of all these
/// networks, and syncs them. Missing directories are made, whatever comes of the rest.
///
/// Once this returned, host-local gives none of these addresses to anybody else, and its DEL of a
/// holder frees the holder's. To write again what is there changes nothing.
///
/// # Errors
/// If a file already says something else, or two of the reservations contradict each other: all
/// such addresses are named, and nothing was written. If an operation failed: the files that were
/// written before are gone again.
pub(crate) fn write(
    data_dir: &Path,
    reservations: &[(NetworkName, Reservation)],
    patience: Duration,
) -> Result<Written> {
    let mut networks: BTreeMap<&NetworkName, Vec<&Reservation>> = BTreeMap::new();
    for (network, reservation) in reservations {
        networks.entry(network).or_default().push(reservation);
    }
    // In the order of their names: two writers cannot wait for each other.
    let mut locks = Vec::new();
    let mut plans = Vec::new();
    let mut conflicts = Vec::new();
    for (network, wanted) in networks {
        let directory = directory_of(data_dir, network)?;
        fs::create_dir_all(&directory)
            .with_context(|| format!("create {}", directory.display()))?;
        locks.push(lock(&directory, patience)?);
        let found = HostLocal::scan(&directory, network)?;
        plans.push(Plan::new(directory, &found, &wanted, &mut conflicts));
    }
    if !conflicts.is_empty() {
        bail!("nothing was written:\n  {}", conflicts.join("\n  "));
    }
    apply(&plans)?;
    Ok(Written {
        created: plans.iter().map(|plan| plan.files.len()).sum(),
        unchanged: plans.iter().map(|plan| plan.unchanged).sum(),
    })
}

/// What has to be written to one directory.
#[derive(Debug)]
struct Plan {
    directory: PathBuf,
    /// By address: one file each.
    files: BTreeMap<IpAddr, NewFile>,
    unchanged: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct NewFile {
    content: String,
    /// Whether it takes the place of an empty one.
    replaces_empty: bool,
}

impl Plan {
    fn new(
        directory: PathBuf,
        found: &HostLocal,
        wanted: &[&Reservation],
        conflicts: &mut Vec<String>,
    ) -> Self {
        let mut plan = Self { directory, files: BTreeMap::new(), unchanged: 0 };
        for wanted in wanted {
            let address = wanted.address.to_canonical();
            let path = plan.directory.join(file_name(address));
            let content = content(wanted);
            let present = found.reservations.iter().find(|present| present.address == address);
            if let Some(present) = present {
                if stands_for(present, wanted) {
                    plan.unchanged += 1;
                } else {
                    let present = self::content(present);
                    conflicts.push(conflict(&path, &format!("it says {present:?}"), &content));
                }
                continue;
            }
            if let Some(odd) = found.oddities.iter().find(|odd| odd.file == path) {
                conflicts.push(conflict(&path, &odd.why, &content));
                continue;
            }
            let replaces_empty = found.abandoned.contains(&address);
            let new = NewFile { content, replaces_empty };
            match plan.files.get(&address) {
                Some(earlier) if *earlier != new => {
                    let earlier = format!("{:?} is to be written to it too", earlier.content);
                    conflicts.push(conflict(&path, &earlier, &new.content));
                }
                Some(_) => {}
                None => drop(plan.files.insert(address, new)),
            }
        }
        plan
    }
}

fn conflict(path: &Path, present: &str, wanted: &str) -> String {
    format!("{}: {present}, and not {wanted:?}", path.display())
}

/// host-local lets a file without interface stand for any interface of the container.
fn stands_for(present: &Reservation, wanted: &Reservation) -> bool {
    present.container == wanted.container
        && (present.ifname.is_none() || present.ifname == wanted.ifname)
}

fn content(reservation: &Reservation) -> String {
    match &reservation.ifname {
        Some(ifname) => format!("{}{SEPARATOR}{ifname}", reservation.container),
        None => reservation.container.to_string(),
    }
}

fn apply(plans: &[Plan]) -> Result<()> {
    let mut undo = Undo::default();
    for plan in plans {
        for (address, new) in &plan.files {
            let path = plan.directory.join(file_name(*address));
            put(&plan.directory, &path, &new.content)
                .with_context(|| format!("write {}", path.display()))?;
            undo.steps.push((path, new.replaces_empty));
        }
        // The directory and the one above may be new themselves.
        let above = plan.directory.ancestors().take(3);
        for directory in above.filter(|directory| !directory.as_os_str().is_empty()) {
            File::open(directory)
                .and_then(|opened| opened.sync_all())
                .with_context(|| format!("sync {}", directory.display()))?;
        }
    }
    undo.steps.clear();
    Ok(())
}

/// A whole file or none, whenever the process or the machine stops.
fn put(directory: &Path, path: &Path, content: &str) -> io::Result<()> {
    let unfinished = directory.join(UNFINISHED);
    let put = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    put().inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

/// Takes back, when dropped, what was written so far, the last first.
#[derive(Debug, Default)]
struct Undo {
    /// Each file, and whether it was there before, empty.
    steps: Vec<(PathBuf, bool)>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        while let Some((path, was_empty)) = self.steps.pop() {
            // The error that is on its way says more than one of these could.
            drop(if was_empty { File::create(&path).map(drop) } else { fs::remove_file(&path) });
        }
    }
}
