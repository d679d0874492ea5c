//! Network configurations, as runtimes read them from files.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cni_ipam::{IPAM_TYPE, regular_file};
use serde_json::Value;

/// The longest file in bytes that is read.
const LONGEST_FILE: u64 = 4 << 20;

/// A list (.conflist), or a plugin's own configuration (.conf).
pub(crate) fn read(file: &Path) -> Result<Value> {
    let context = || format!("read the network configuration {}", file.display());
    value(file, LONGEST_FILE).with_context(context)
}

/// The value of a file of at most `longest` bytes.
///
/// # Errors
/// Says what is wrong; the file is not named.
pub(crate) fn value(file: &Path, longest: u64) -> io::Result<Value> {
    Ok(serde_json::from_slice(&regular_file::read(file, longest)?)?)
}

/// The files of a directory that a runtime reads (libcni, `ConfFiles` of `libcni/conf.go`), in the
/// order of names as runtimes have it.
pub(crate) fn files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| {
        let extension = file.extension().and_then(OsStr::to_str);
        matches!(extension, Some("conf" | "conflist" | "json"))
    });
    files.sort();
    Ok(files)
}

/// What a runtime gives the first plugin of a list that `is_it` knows; of a single configuration,
/// all of it.
pub(crate) fn own_part(value: Value, is_it: impl Fn(&Value) -> bool) -> Option<Value> {
    let Some(plugins) = value["plugins"].as_array() else { return Some(value) };
    let mut own = plugins.iter().find(|plugin| is_it(plugin))?.clone();
    for key in ["cniVersion", "name"] {
        own[key] = value[key].clone();
    }
    Some(own)
}

/// What a runtime gives the first plugin that has its addresses from cni-ipam.
pub(crate) fn part_with_our_ipam(value: Value) -> Option<Value> {
    own_part(value, |plugin| plugin["ipam"]["type"] == IPAM_TYPE)
}

/// The first file of a directory, in the order of names, whose network is called so. Files that
/// cannot be read are not it.
pub(crate) fn of_network(directory: &Path, network: &str) -> Result<Option<(PathBuf, Value)>> {
    let context = || format!("look for the network {network} in {}", directory.display());
    Ok(files(directory).with_context(context)?.into_iter().find_map(|file| {
        let value = read(&file).ok()?;
        (value["name"] == network).then_some((file, value))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe among the configurations was waited for.
    #[test]
    fn a_pipe_among_the_configurations_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("0.conf");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        assert!(read(&pipe).unwrap_err().root_cause().to_string().contains("is no regular file"));
        let file = directory.path().join("1.conf");
        fs::write(&file, r#"{"name":"n"}"#).unwrap();
        let (found, _) = of_network(directory.path(), "n").unwrap().unwrap();
        assert_eq!(found, file);
    }
}
