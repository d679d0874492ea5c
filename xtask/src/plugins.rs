//! The plugin binaries that the end-to-end tests and the demo start.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::executable;
use crate::kernel_tests::PLUGINS;

/// The environment variable that tells them the folder with the plugins.
pub(crate) const FOLDER_VARIABLE: &str = "NODE_IPAM_BIN";

/// The plugin whose requests to the kernel fail where a test wants it, for the tests that sweep over
/// all of them. It has a name of its own: the folder's others are those that are installed.
const FAULTY: &str = "cni-ipvlan-faulty";

/// Builds the plugins; answers the folder that holds them.
pub(crate) fn build() -> Result<PathBuf> {
    // First, for cargo gives both builds of it the same name, and the last stays.
    let faulty =
        executable::build_binaries(&["-p", "cni-ipvlan", "--features", "fault-injection"])?;
    let faulty = &faulty.first().context("cargo built no faulty plugin")?.file;
    // By rename: one that runs cannot be written to.
    let copy = faulty.with_file_name(format!("{FAULTY}.{}", std::process::id()));
    fs::copy(faulty, &copy)?;
    fs::rename(&copy, faulty.with_file_name(FAULTY))?;
    let selection: Vec<&str> = PLUGINS.iter().flat_map(|package| ["-p", package]).collect();
    let built = executable::build_binaries(&selection)?;
    let folder = built.first().and_then(|plugin| plugin.file.parent());
    folder.map(Path::to_owned).context("cargo built no plugin")
}
