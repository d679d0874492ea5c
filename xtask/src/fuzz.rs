//! The fuzz targets, each run for some time (`cargo fuzz`, on the nightly toolchain).

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

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
            let arguments = run_arguments(target, &corpora, dictionary(&folder, target), seconds);
            run_target(cargo_fuzz.command().args(arguments))
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

/// The words that inputs of a target are made of, where the tree has any.
fn dictionary(fuzz: &Path, target: &str) -> Option<PathBuf> {
    let file = fuzz.join("dictionaries").join(format!("{target}.dict"));
    file.is_file().then_some(file)
}

/// The words after `cargo fuzz` (the libFuzzer documentation, "Options", for those after `--`).
fn run_arguments(
    target: &str,
    corpora: &[PathBuf],
    dictionary: Option<PathBuf>,
    seconds: u32,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["run".into(), target.into()];
    arguments.extend(corpora.iter().map(|corpus| corpus.clone().into_os_string()));
    arguments.push("--".into());
    arguments.push(format!("-max_total_time={seconds}").into());
    arguments.push(format!("-rss_limit_mb={MEMORY_LIMIT_MB}").into());
    arguments.push(format!("-timeout={INPUT_LIMIT_SECONDS}").into());
    arguments.push("-print_final_stats=1".into());
    if let Some(file) = dictionary {
        let mut argument = OsString::from("-dict=");
        argument.push(file);
        arguments.push(argument);
    }
    arguments
}

/// Runs a target, with its words on our standard error as they come. Answers what it did.
fn run_target(command: &mut Command) -> Result<String> {
    let line = workspace::command_line(command);
    eprintln!("xtask: {line}");
    let mut child = command.stderr(Stdio::piped()).spawn().with_context(|| line.clone())?;
    let mut done = Done::default();
    for words in BufReader::new(child.stderr.take().context("it was piped")?).split(b'\n') {
        let words = words?;
        let words = String::from_utf8_lossy(&words);
        eprintln!("{words}");
        done.learn(&words);
    }
    let status = child.wait()?;
    ensure!(status.success(), "{}", done.failed(status));
    Ok(done.passed())
}

/// What a target says of itself at its end (`-print_final_stats`).
#[derive(Debug, Default)]
struct Done {
    executions: Option<u64>,
    per_second: Option<u64>,
    /// The file with the input that it failed at.
    failed_at: Option<String>,
}

impl Done {
    fn learn(&mut self, line: &str) {
        let number = |name: &str| line.strip_prefix(name).and_then(|rest| rest.trim().parse().ok());
        self.executions = number("stat::number_of_executed_units:").or(self.executions);
        self.per_second = number("stat::average_exec_per_sec:").or(self.per_second);
        if let Some((_, file)) = line.split_once("Test unit written to ") {
            self.failed_at = Some(file.trim().to_owned());
        }
    }

    fn passed(&self) -> String {
        let shown = |number: Option<u64>| number.map_or("?".to_owned(), |it| it.to_string());
        let (executions, per_second) = (shown(self.executions), shown(self.per_second));
        format!("found nothing in {executions} executions, {per_second} a second")
    }

    fn failed(&self, status: ExitStatus) -> String {
        match &self.failed_at {
            Some(file) => format!("failed at the input {file}"),
            None => format!("{status} without an input"),
        }
    }
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
        let words = fuzz.path().join("dictionaries/range.dict");
        assert_eq!(dictionary(fuzz.path(), "range"), None);
        fs::create_dir(fuzz.path().join("dictionaries")).unwrap();
        fs::write(&words, "").unwrap();
        let dictionary = dictionary(fuzz.path(), "range");
        let expected: [OsString; 10] = [
            "run".into(),
            "range".into(),
            found.into(),
            seeds.into(),
            "--".into(),
            "-max_total_time=60".into(),
            "-rss_limit_mb=1024".into(),
            "-timeout=10".into(),
            "-print_final_stats=1".into(),
            format!("-dict={}", words.display()).into(),
        ];
        assert_eq!(run_arguments("range", &folders, dictionary, 60), expected);
        assert_eq!(corpora(fuzz.path(), "other").unwrap().len(), 1, "without seeds");
    }

    #[test]
    fn a_target_tells_how_often_it_ran_and_what_it_failed_at() {
        let mut shell = Command::new("sh");
        let script = "echo 'stat::number_of_executed_units: 1200' >&2; \
                      echo 'stat::average_exec_per_sec:     20' >&2; exit $0";
        let passed = run_target(shell.args(["-c", script, "0"])).unwrap();
        assert_eq!(passed, "found nothing in 1200 executions, 20 a second");
        let script = "echo \"artifact_prefix='x/'; Test unit written to x/crash-1\" >&2; exit 77";
        let failed = run_target(Command::new("sh").args(["-c", script])).unwrap_err();
        assert_eq!(failed.to_string(), "failed at the input x/crash-1");
        let silent = run_target(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(silent.to_string(), "exit status: 3 without an input");
    }

    #[test]
    fn the_own_cargo_does_not_reach_the_nightly_one() {
        let command = nightly_cargo();
        let removed = |name: &str| command.get_envs().any(|env| env == (name.as_ref(), None));
        assert!(removed("CARGO"));
        assert_eq!(workspace::command_line(&command), "rustup run nightly cargo");
    }
}
