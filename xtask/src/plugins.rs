//! The plugin binaries that the end-to-end tests and the demo start.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::executable;
use crate::kernel_tests::PLUGINS;

/// The environment variable that tells them the folder with the plugins.
pub(crate) const FOLDER_VARIABLE: &str = "NODE_IPAM_BIN";

/// Builds the plugins; answers the folder that holds them.
pub(crate) fn build() -> Result<PathBuf> {
    let selection: Vec<&str> = PLUGINS.iter().flat_map(|package| ["-p", package]).collect();
    let built = executable::build_binaries(&selection)?;
    let folder = built.first().and_then(|plugin| plugin.file.parent());
    folder.map(Path::to_owned).context("cargo built no plugin")
}
