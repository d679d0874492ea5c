//! The fuzz targets, each run for some time (`cargo fuzz`, on the nightly toolchain).

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::report::Report;
use crate::{packages, workspace};

/// What a target may use, so that one that does not stop allocating ends before the machine does.
const MEMORY_LIMIT_MB: u32 = 1024;

/// An input that takes longer is a finding.
const INPUT_LIMIT_SECONDS: u32 = 10;

/// Runs every target for this time, also after one has failed; answers 0 only if all passed.
///
/// # Errors
/// If there are no targets, or what runs them is missing and cannot be installed.
pub(crate) fn run(seconds: u32) -> Result<u8> {
    let folder = workspace::root().join("fuzz");
    ensure!(folder.join("Cargo.toml").exists(), "no fuzz targets: {} is missing", folder.display());
    packages::ensure(&[packages::FUZZ])?;
    let cargo_fuzz = CargoFuzz::ensure(&workspace::cache()?.join("cargo-fuzz"))?;
    let targets = cargo_fuzz.targets()?;
    let mut report = Report::default();
    for target in &targets {
        report.part(target, || {
            let corpora = corpora(&folder, target)?;
            workspace::run(cargo_fuzz.command().args(run_arguments(target, &corpora, seconds)))?;
            Ok(format!("found nothing in {seconds} s"))
        });
    }
    let mut out = io::stdout();
    write!(out, "\n{report}")?;
    writeln!(out, "{}", if report.passed() { "all passed" } else { "FAILED" })?;
    Ok(u8::from(!report.passed()))
}

/// cargo-fuzz, in a folder of ours: it is not the project's to change what the user has installed.
#[derive(Debug)]
struct CargoFuzz {
    /// The folder that holds the program.
    programs: PathBuf,
}

impl CargoFuzz {
    /// Installs it below `folder` if it is not there.
    fn ensure(folder: &Path) -> Result<Self> {
        nightly()?;
        let programs = folder.join("bin");
        if !programs.join("cargo-fuzz").is_file() {
            eprintln!("xtask: installing cargo-fuzz into {}", folder.display());
            workspace::run(
                workspace::cargo()
                    .args(["install", "--quiet", "--locked", "cargo-fuzz", "--root"])
                    .arg(folder),
            )?;
        }
        Ok(Self { programs })
    }

    /// `cargo +nightly fuzz`.
    fn command(&self) -> Command {
        let mut command = nightly_cargo();
        command.arg("fuzz").env("PATH", path_with(&self.programs));
        command
    }

    fn targets(&self) -> Result<Vec<String>> {
        let mut list = self.command();
        let output = list.arg("list").stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "`cargo fuzz list`: {}", output.status);
        let text = String::from_utf8(output.stdout).context("names of targets")?;
        let targets: Vec<String> = text.lines().map(str::to_owned).collect();
        ensure!(!targets.is_empty(), "`cargo fuzz list` names no target");
        Ok(targets)
    }
}

/// cargo of the nightly toolchain. The cargo that runs xtask is not rustup's, so `+nightly` means
/// nothing to it, and its name in `CARGO` must not reach the other one.
fn nightly_cargo() -> Command {
    let own = workspace::cargo();
    let mut rustup = Command::new("rustup");
    rustup.args(["run", "nightly", "cargo"]).current_dir(workspace::root()).stdin(Stdio::null());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => rustup.env(name, value),
            None => rustup.env_remove(name),
        };
    }
    rustup.env_remove("CARGO");
    rustup
}

fn nightly() -> Result<()> {
    let output = nightly_cargo().arg("--version").output().context("cannot start rustup")?;
    if !output.status.success() {
        bail!(
            "fuzzing needs a nightly toolchain (rustup toolchain install nightly --profile \
             minimal): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn path_with(folder: &Path) -> OsString {
    let mut path = folder.as_os_str().to_owned();
    if let Some(others) = std::env::var_os("PATH") {
        path.push(":");
        path.push(others);
    }
    path
}

/// The folders that a target starts from: what it has found before, where it also writes, and the
/// seeds that the tree has for it.
fn corpora(fuzz: &Path, target: &str) -> Result<Vec<PathBuf>> {
    let corpus = fuzz.join("corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("create {}", corpus.display()))?;
    let seeds = fuzz.join("seeds").join(target);
    Ok([corpus].into_iter().chain(seeds.is_dir().then_some(seeds)).collect())
}

/// The words after `cargo fuzz` (the libFuzzer documentation, "Options", for those after `--`).
fn run_arguments(target: &str, corpora: &[PathBuf], seconds: u32) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["run".into(), target.into()];
    arguments.extend(corpora.iter().map(|corpus| corpus.clone().into_os_string()));
    arguments.push("--".into());
    arguments.push(format!("-max_total_time={seconds}").into());
    arguments.push(format!("-rss_limit_mb={MEMORY_LIMIT_MB}").into());
    arguments.push(format!("-timeout={INPUT_LIMIT_SECONDS}").into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_runs_for_its_time_within_its_memory_from_its_seeds() {
        let fuzz = tempfile::tempdir().unwrap();
        fs::create_dir_all(fuzz.path().join("seeds/range")).unwrap();
        let folders = corpora(fuzz.path(), "range").unwrap();
        let (found, seeds) = (fuzz.path().join("corpus/range"), fuzz.path().join("seeds/range"));
        assert!(found.is_dir(), "cargo-fuzz makes only the corpus that nobody named");
        let expected: [OsString; 8] = [
            "run".into(),
            "range".into(),
            found.into(),
            seeds.into(),
            "--".into(),
            "-max_total_time=60".into(),
            "-rss_limit_mb=1024".into(),
            "-timeout=10".into(),
        ];
        assert_eq!(run_arguments("range", &folders, 60), expected);
        assert_eq!(corpora(fuzz.path(), "other").unwrap().len(), 1, "without seeds");
    }

    #[test]
    fn the_own_cargo_does_not_reach_the_nightly_one() {
        let command = nightly_cargo();
        let removed = |name: &str| command.get_envs().any(|env| env == (name.as_ref(), None));
        assert!(removed("CARGO"));
        assert_eq!(workspace::command_line(&command), "rustup run nightly cargo");
    }
}
