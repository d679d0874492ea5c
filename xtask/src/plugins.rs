//! The plugin binaries that the end-to-end tests and the demo start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::executable;
use crate::kernel_tests::PLUGINS;

/// The environment variable that tells them the folder with the plugins.
pub(crate) const FOLDER_VARIABLE: &str = "NODE_IPAM_BIN";

/// Builds of plugins that only tests start: package, feature, and a name of their own, for the
/// folder's others are those that are installed.
const VARIANTS: [(&str, &str, &str); 3] = [
    // Their requests to the kernel fail where a test wants it, for the tests that sweep over all.
    ("cni-ipvlan", "fault-injection", "cni-ipvlan-faulty"),
    ("cni-coordinator", "fault-injection", "cni-coordinator-faulty"),
    // It leaves out what a test names, to see what that is there for.
    ("cni-coordinator", "omit-ingredients", "cni-coordinator-partial"),
];

/// Builds the plugins; answers the folder that holds them.
pub(crate) fn build() -> Result<PathBuf> {
    // First, for cargo gives both builds of a plugin the same name, and the last stays.
    for (package, feature, name) in VARIANTS {
        let built = executable::build_binaries(&["-p", package, "--features", feature])?;
        let variant = &built.first().with_context(|| format!("cargo built no {name}"))?.file;
        // By rename: one that runs cannot be written to.
        let copy = variant.with_file_name(format!("{name}.{}", std::process::id()));
        fs::copy(variant, &copy)?;
        fs::rename(&copy, variant.with_file_name(name))?;
    }
    let selection: Vec<&str> = PLUGINS.iter().flat_map(|package| ["-p", package]).collect();
    let built = executable::build_binaries(&selection)?;
    let folder = built.first().and_then(|plugin| plugin.file.parent());
    folder.map(Path::to_owned).context("cargo built no plugin")
}
