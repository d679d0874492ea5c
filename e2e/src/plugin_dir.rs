//! The folder with the plugins of this build.

use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Names the folder with the plugins; without it they are looked for beside the running test.
pub const PLUGIN_DIR: &str = "NODE_IPAM_BIN";

/// Upstream's plugins, of Debian's containernetworking-plugins.
pub const UPSTREAM_PLUGIN_DIR: &str = "/usr/lib/cni";

/// Makes a folder with upstream's plugins and this build's side by side, as on a node.
///
/// # Errors
///
/// It is there already, or upstream's are not installed.
pub fn side_by_side(folder: &Path) -> Result<()> {
    std::fs::create_dir(folder).with_context(|| folder.display().to_string())?;
    let upstream = std::fs::read_dir(UPSTREAM_PLUGIN_DIR)
        .with_context(|| format!("{UPSTREAM_PLUGIN_DIR}: install containernetworking-plugins"))?;
    for entry in upstream {
        let entry = entry?;
        symlink(entry.path(), folder.join(entry.file_name()))?;
    }
    for plugin in ["cni-ipam", "cni-ipvlan"] {
        symlink(plugin_dir()?.join(plugin), folder.join(plugin))?;
    }
    Ok(())
}

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
