//! Network configurations, as runtimes read them from files.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The longest file in bytes that is read.
const LONGEST_FILE: u64 = 4 << 20;

/// A list (.conflist), or a plugin's own configuration (.conf).
pub(crate) fn read(file: &Path) -> Result<Value> {
    let name = || file.display().to_string();
    // A look first: to open a pipe would wait for its writer.
    ensure!(fs::metadata(file).with_context(name)?.is_file(), "{} is no regular file", name());
    let mut text = Vec::new();
    let opened = File::open(file).with_context(name)?;
    opened.take(LONGEST_FILE + 1).read_to_end(&mut text).with_context(name)?;
    ensure!(text.len() as u64 <= LONGEST_FILE, "{} has over {LONGEST_FILE} bytes", name());
    serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", name()))
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

/// The first file of a directory, in the order of names as runtimes have it, whose network is called
/// so. Files that cannot be read are not it.
pub(crate) fn of_network(directory: &Path, network: &str) -> Result<Option<(PathBuf, Value)>> {
    let context = || format!("look for the network {network} in {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        files.push(entry.with_context(context)?.path());
    }
    files.retain(|file| {
        file.extension()
            .is_some_and(|it| ["conflist", "conf", "json"].iter().any(|known| it == *known))
    });
    files.sort();
    Ok(files.into_iter().find_map(|file| {
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
        assert!(read(&pipe).unwrap_err().to_string().contains("is no regular file"));
        let file = directory.path().join("1.conf");
        fs::write(&file, r#"{"name":"n"}"#).unwrap();
        let (found, _) = of_network(directory.path(), "n").unwrap().unwrap();
        assert_eq!(found, file);
    }
}
