//! What labs of killed processes left: nobody else removes it.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result};

use crate::lab::PREFIX;
use crate::namespace;

/// Removes the namespaces and says the names of labs whose process is no more: one that was
/// killed could not clean up. A living process's labs stay, and so do those of which another
/// process has this one's id. Not for a `/run/netns` that is shared between process namespaces.
///
/// # Errors
///
/// A namespace could not be removed (this needs root).
pub fn remove_orphans() -> Result<BTreeSet<String>> {
    let entries = match fs::read_dir(namespace::DIRECTORY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut removed = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(process) = process_of(&name) else {
            continue;
        };
        if !Path::new("/proc").join(process.to_string()).exists() {
            namespace::delete(&name).with_context(|| name.clone())?;
            removed.insert(name);
        }
    }
    Ok(removed)
}

/// As [`remove_orphans`], told on standard error: that some stay keeps no lab from starting.
pub(crate) fn remove_and_say() {
    match remove_orphans() {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => eprintln!("lab: {} namespaces of killed labs removed", removed.len()),
        Err(error) => eprintln!("lab: namespaces of killed labs stay: {error:#}"),
    }
}

/// The process whose lab has a namespace of this name; `None` if no lab has.
fn process_of(name: &str) -> Option<u32> {
    let (process, rest) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let (number, _) = rest.split_once('-')?;
    number.parse::<u32>().ok()?;
    process.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::process_of;

    #[test]
    fn only_a_labs_own_names_are_taken_for_its() {
        assert_eq!(process_of("ipamlab17-0-vpc"), Some(17));
        assert_eq!(process_of("ipamlab4194304-12-node-master"), Some(4_194_304));
        for other in ["lab17-0-vpc", "ipamlab17", "ipamlab17-vpc", "ipamlab-0-vpc", "ipamlabs-0-x"]
        {
            assert_eq!(process_of(other), None, "{other}");
        }
    }
}
