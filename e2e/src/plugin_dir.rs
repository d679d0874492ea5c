//! The folder with the plugins of this build.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Names the folder with the plugins; without it they are looked for beside the running test.
pub const PLUGIN_DIR: &str = "NODE_IPAM_BIN";

/// The folder of the built binaries: what [`PLUGIN_DIR`] names, else that of the running
/// executable, which is one up for tests and examples.
///
/// # Errors
///
/// The running executable has no path.
pub fn plugin_dir() -> Result<PathBuf> {
    if let Some(folder) = env::var_os(PLUGIN_DIR) {
        let folder = PathBuf::from(folder);
        // CNI_PATH is read in another directory than this one.
        return folder.canonicalize().with_context(|| format!("{PLUGIN_DIR}={}", folder.display()));
    }
    let executable = env::current_exe()?;
    let folder = executable.parent().context("the running executable is in no folder")?;
    let beside = folder.ends_with("deps") || folder.ends_with("examples");
    let folder = if beside { folder.parent().unwrap_or(folder) } else { folder };
    Ok(Path::to_path_buf(folder))
}
