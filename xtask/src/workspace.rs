//! Where the workspace is, where its cache is, and how cargo is called in it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The environment variable that moves the cache out of the workspace.
pub(crate) const CACHE_VARIABLE: &str = "NODE_IPAM_CACHE";

/// The folder that holds the workspace's `Cargo.toml`.
///
/// Fixed when xtask is compiled: cargo compiles it anew when the workspace has moved.
pub(crate) fn root() -> &'static Path {
    let own_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    own_folder.parent().unwrap_or(own_folder)
}

/// The folder for what is fetched once and reused (git-ignored), created when it is missing.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = match env::var_os(CACHE_VARIABLE) {
        Some(folder) if !folder.is_empty() => std::path::absolute(folder)?,
        _ => root().join(".cache"),
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create the cache folder {}", folder.display()))?;
    Ok(folder)
}

/// The cargo that runs xtask, at the top of the workspace, without standard input.
///
/// `cargo run` describes xtask's own package in the environment of xtask. None of that may reach
/// another cargo, or a build script that looks at it would be built anew each time.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_own_package) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a command to its end with its output left visible.
///
/// # Errors
/// If it cannot be started, or ends with another status than 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}`: {status}");
    }
    Ok(())
}

/// The command as somebody would type it: program name and arguments.
pub(crate) fn command_line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy();
    let mut line = program.into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

/// Whether cargo set this variable to describe xtask's package to xtask.
fn describes_own_package(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_MANIFEST_")
        || ["LD_LIBRARY_PATH", "CARGO_CRATE_NAME", "CARGO_BIN_NAME"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_description_of_the_own_package_is_kept_from_cargo() {
        for name in ["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "LD_LIBRARY_PATH"] {
            assert!(describes_own_package(name), "{name}");
        }
        for name in ["CARGO_TARGET_DIR", "CARGO_HOME", "RUSTFLAGS", "PATH"] {
            assert!(!describes_own_package(name), "{name}");
        }
    }

    #[test]
    fn command_line_names_the_program_without_its_folder() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["fmt", "--all"]);
        assert_eq!(command_line(&command), "cargo fmt --all");
    }
}
