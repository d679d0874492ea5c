//! What must be there besides cargo itself, and how to get it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Checks that rustfmt, clippy and a C linker can be started; answers their versions.
///
/// # Errors
/// If any is missing: names each with the command that installs it.
pub(crate) fn check() -> Result<String> {
    let cargo = |subcommand: &str| {
        let mut cargo = workspace::cargo();
        cargo.args([subcommand, "--version"]);
        cargo
    };
    let mut cc = Command::new("cc");
    cc.arg("--version");
    all(&mut [
        (cargo("fmt"), "rustup component add rustfmt"),
        (cargo("clippy"), "rustup component add clippy"),
        // rustc calls it to link; without it nothing can be built anew.
        (cc, "apt-get install gcc libc6-dev"),
    ])
}

/// The first lines that the commands print; an error names every one that fails, with its remedy.
fn all(tools: &mut [(Command, &str)]) -> Result<String> {
    let (mut versions, mut missing) = (Vec::new(), Vec::new());
    for (command, remedy) in tools {
        match version(command) {
            Ok(version) => versions.push(version),
            Err(problem) => missing.push(format!("{problem:#}; remedy: {remedy}")),
        }
    }
    if !missing.is_empty() {
        bail!(missing.join("\n"));
    }
    Ok(versions.join(", "))
}

/// Whether the standard library, or what a target has of it, is installed.
///
/// # Errors
/// If rustc cannot be asked.
pub(crate) fn has_target(target: &str) -> Result<bool> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .context("cannot start rustc")?;
    if !output.status.success() {
        bail!("rustc: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).exists())
}

fn version(command: &mut Command) -> Result<String> {
    let line = workspace::command_line(command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}`: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn every_missing_tool_is_named_with_its_remedy() {
        let problem = all(&mut [
            (Command::new("/nowhere/rustfmt"), "install a"),
            (shell("echo 1.0"), "install b"),
            (shell("echo not for this toolchain >&2; exit 1"), "install c"),
        ]);
        let problem = problem.unwrap_err().to_string();
        for part in ["cannot start `rustfmt`", "remedy: install a", "not for this", "install c"] {
            assert!(problem.contains(part), "{problem}");
        }
        assert!(!problem.contains("install b"), "{problem}");
    }

    #[test]
    fn versions_are_the_first_lines() {
        let text = all(&mut [(shell("echo one; echo two"), ""), (shell("echo three"), "")]);
        assert_eq!(text.unwrap(), "one, three");
    }
}
