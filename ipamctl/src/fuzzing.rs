//! What the fuzz targets ask of this program; compiled for them alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use cloud::Reading;
use ipam_core::{ContainerId, IfName, NetworkName, Pool, RangeSet, Reserved};
use serde_json::Value;

use crate::conflist;
use crate::documents::Documents;
use crate::export::Export;
use crate::host_local::HostLocal;
use crate::result_cache::ResultCache;

/// Valid pools and reservations, faults and warnings.
pub type Applied = (Vec<Pool>, Vec<Reserved>, Vec<String>, Vec<String>);

/// What `apply` reads.
///
/// # Errors
/// The file is not there, or no text.
pub fn documents(file: &Path) -> Result<Applied> {
    let Documents { pools, reserved, faults, warnings } = Documents::read(&[file.to_path_buf()])?;
    let pools = pools.into_iter().map(|(place, pool)| {
        assert!(!place.of_pool(pool.name().as_str()).contains('\n'));
        pool
    });
    Ok((pools.collect(), reserved, faults, warnings))
}

/// The documents of a file of YAML as they stand there, or what is wrong with one.
///
/// # Errors
/// The file is not there, or no text.
pub fn values(file: &Path) -> Result<Vec<Result<Value, String>>> {
    let text = crate::documents::text_of(file)?;
    Ok(crate::documents::values(file, &text).into_iter().map(|(_, value)| value).collect())
}

/// What `render` makes of the documents, each with its file's name.
///
/// # Errors
/// Names each fault.
pub fn rendered(file: &Path, is_conflist: bool, is_ours: bool) -> Result<Vec<(String, String)>> {
    crate::render::fuzzing(file, is_conflist, is_ours)
}

/// What `render --to namespaces` makes of the documents.
///
/// # Errors
/// Names each fault.
pub fn namespaces(file: &Path) -> Result<String> {
    crate::render::fuzzing_namespaces(file)
}

/// An export, and what is written of it again.
///
/// # Errors
/// As `restore` has it.
pub fn export(text: &str) -> Result<String> {
    let export = Export::from_json(text)?;
    let again = export.to_json()?;
    assert_eq!(Export::from_json(&again)?, export);
    Ok(again)
}

/// The reservations of host-local, addresses with empty files, and how many files are odd.
pub type Reservations =
    (Vec<(std::net::IpAddr, ContainerId, Option<IfName>)>, Vec<std::net::IpAddr>, usize);

/// What host-local has written.
///
/// # Errors
/// As `import host-local` has it.
pub fn host_local(data_dir: &Path, network: &NetworkName) -> Result<Reservations> {
    let found = HostLocal::read(data_dir, network, Duration::ZERO)?;
    let reservations = found.reservations.into_iter();
    let reservations = reservations.map(|it| (it.address, it.container, it.ifname));
    Ok((reservations.collect(), found.abandoned, found.oddities.len()))
}

/// The results of a runtime's cache: how many candidates each has, whether its pod is known, and
/// how many addresses it has; and the warnings.
///
/// # Errors
/// The directory cannot be read.
pub fn result_cache(cache_dir: &Path) -> Result<(Vec<(usize, bool, usize)>, Vec<String>)> {
    let ResultCache { results, warnings } = ResultCache::read(cache_dir)?;
    let results = results.iter().map(|result| {
        let _ = result.netns_path();
        assert!(result.attachment().is_none() || result.candidates.len() == 1);
        (result.candidates.len(), result.pod.is_some(), result.addresses.len())
    });
    Ok((results.collect(), warnings))
}

/// What `explain` takes of a configuration, and where a network's is found.
///
/// # Errors
/// The file cannot be read.
pub fn own_part(directory: &Path, file: &Path, network: &str) -> Result<Option<Value>> {
    drop(conflist::of_network(directory, network)?);
    let is_it = |plugin: &Value| plugin["type"] == "cni-coordinator";
    Ok(conflist::own_part(conflist::read(file)?, is_it))
}

/// The settings of `sync.yaml`, in words.
///
/// # Errors
/// As `sync` has it.
pub fn sync_file(file: &Path) -> Result<String> {
    crate::sync::fuzzing_settings(file)
}

/// The addresses that `sync` would give to pods of a node with these own addresses.
///
/// # Errors
/// As `sync` has it.
pub fn proposed(reading: &Reading, own: &RangeSet) -> Result<RangeSet> {
    crate::sync::fuzzing_proposed(reading, own)
}

/// Runs `doctor` on the node whose files are below `root`. Answers what it prints.
///
/// # Errors
/// As the program has it.
pub fn doctor(root: &Path) -> Result<Vec<u8>> {
    let text = |path: &Path| path.display().to_string();
    let data_dir: PathBuf = root.join("data");
    let arguments = ["ipamctl", "--data-dir", &text(&data_dir), "doctor", "--root", &text(root)]
        .map(str::to_owned);
    let mut out = Vec::new();
    let command = crate::Command::try_parse_from(arguments)?;
    crate::run(&command, &mut out)?;
    Ok(out)
}
