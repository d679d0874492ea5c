//! Test executables: which there are, and one run of one of them.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::libtest::Tally;
use crate::lines::Lines;
use crate::verdict::Verdict;
use crate::{plugins, workspace};

/// How long one executable may run; the guest needs about ten times as long as the host.
const LIMIT_SECONDS: &str = "900";

/// The status of coreutils' `timeout` when the time was up.
const TIMED_OUT: i32 = 124;

/// Something that cargo has built and that can be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Executable {
    pub(crate) package: String,
    /// The target's name: the file's in `tests/`, or the crate's.
    pub(crate) target: String,
    /// As in cargo's messages: `lib`, `bin`, `test`, ...
    pub(crate) kind: String,
    pub(crate) file: PathBuf,
    /// The package's folder, in which cargo runs its tests.
    pub(crate) folder: PathBuf,
}

impl Executable {
    /// The name in reports.
    pub(crate) fn name(&self) -> String {
        match self.kind.as_str() {
            "test" => format!("{}/{}", self.package, self.target),
            kind => format!("{} ({kind})", self.package),
        }
    }

    /// Runs all of its tests as cargo would, its output written to `out` as it comes. The tests are
    /// told the folder of the plugins.
    pub(crate) fn run(&self, plugins: &Path, out: impl Write) -> Verdict {
        let began = Instant::now();
        let mut tally = Tally::default();
        let problem = match self.run_counting(plugins, out, &mut tally) {
            Ok(problem) => problem,
            Err(problem) => Some(format!("{problem:#}")),
        };
        Verdict {
            name: self.name(),
            passed: tally.passed,
            seconds: began.elapsed().as_secs_f64(),
            problem,
        }
    }

    fn run_counting(
        &self,
        plugins: &Path,
        out: impl Write,
        tally: &mut Tally,
    ) -> Result<Option<String>> {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=10", LIMIT_SECONDS])
            .arg(&self.file)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .env("CARGO_PKG_NAME", &self.package)
            .env(plugins::FOLDER_VARIABLE, plugins);
        let code = run_tallied(&mut command, out, tally)?;
        Ok(match code {
            Some(TIMED_OUT) => Some(format!("did not end within {LIMIT_SECONDS} s")),
            _ => tally.problem().or_else(|| ended_badly(code)),
        })
    }
}

/// Runs a command with its output written to `out` as it comes, and adds up the summaries in it.
/// Answers its exit code; `None` if a signal ended it.
pub(crate) fn run_tallied(
    command: &mut Command,
    mut out: impl Write,
    tally: &mut Tally,
) -> Result<Option<i32>> {
    let line = workspace::command_line(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{line}`"))?;
    let mut from = child.stdout.take().context("the child has no standard output")?;
    let (mut lines, mut buffer) = (Lines::default(), [0; 8 << 10]);
    while let length @ 1.. = from.read(&mut buffer)? {
        out.write_all(&buffer[..length])?;
        out.flush()?;
        for line in lines.push(&buffer[..length]) {
            tally.add_line(&line)?;
        }
    }
    Ok(child.wait()?.code())
}

/// What is wrong with an exit code other than 0.
pub(crate) fn ended_badly(code: Option<i32>) -> Option<String> {
    match code {
        Some(0) => None,
        Some(code) => Some(format!("ended with status {code}")),
        None => Some("ended by a signal".to_owned()),
    }
}

/// Compiles all tests of the workspace, also those that a plain `cargo test` leaves out because
/// their manifest says `test = false`: naming them, even by a pattern, includes them.
///
/// # Errors
/// If something does not compile; the compiler has said what on stderr.
pub(crate) fn build_tests() -> Result<Vec<Executable>> {
    build(&["test", "--workspace", "--no-run", "--lib", "--bins", "--test", "*"], &[], true)
}

/// Compiles all examples of the workspace, with the libraries that [`build_tests`] has compiled.
///
/// # Errors
/// If something does not compile; the compiler has said what on stderr.
pub(crate) fn build_examples() -> Result<Vec<Executable>> {
    build(&["build", "--workspace", "--examples"], &[], false)
}

/// Compiles the binaries that `selection` names in cargo's terms (`-p`, `--bin`).
///
/// # Errors
/// If something does not compile; the compiler has said what on stderr.
pub(crate) fn build_binaries(selection: &[&str]) -> Result<Vec<Executable>> {
    build_binaries_with(selection, &[])
}

/// The same with further variables in cargo's environment.
pub(crate) fn build_binaries_with(
    selection: &[&str],
    environment: &[(&str, &str)],
) -> Result<Vec<Executable>> {
    build(&[&["build"], selection].concat(), environment, false)
}

fn build(arguments: &[&str], environment: &[(&str, &str)], tests: bool) -> Result<Vec<Executable>> {
    let mut cargo = workspace::cargo();
    cargo.envs(environment.iter().copied());
    cargo.args(arguments).arg("--message-format=json-render-diagnostics");
    let output = cargo
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", workspace::command_line(&cargo)))?;
    if !output.status.success() {
        bail!("`cargo {}`: {}", arguments.join(" "), output.status);
    }
    let messages = String::from_utf8(output.stdout).context("cargo's messages are not UTF-8")?;
    built_in(&messages, tests)
}

/// The parts of cargo's messages that matter here
/// (the Cargo Book, "External tools", "JSON messages").
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    package_id: String,
    #[serde(default)]
    manifest_path: PathBuf,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Profile {
    /// Whether it is a test executable; tests of a package have its binaries built as well.
    test: bool,
}

/// The test executables, or the others, in cargo's messages.
fn built_in(messages: &str, tests: bool) -> Result<Vec<Executable>> {
    let mut executables = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message =
            serde_json::from_str(line).with_context(|| format!("a cargo message: {line}"))?;
        let (Some(target), Some(profile), Some(file)) =
            (message.target, message.profile, message.executable)
        else {
            continue;
        };
        if message.reason != "compiler-artifact" || profile.test != tests {
            continue;
        }
        executables.push(Executable {
            package: package_name(&message.package_id).to_owned(),
            target: target.name,
            kind: target.kind.join(","),
            file,
            folder: message.manifest_path.parent().unwrap_or(Path::new("/")).to_owned(),
        });
    }
    Ok(executables)
}

/// The name in `path+file:///folder/name#1.0.0` or `path+file:///folder#name@1.0.0`
/// (the Cargo Book, "Package ID specifications").
fn package_name(id: &str) -> &str {
    let (url, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => url.rsplit('/').next().unwrap_or(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_name_is_found_in_both_forms() {
        assert_eq!(package_name("path+file:///work/main/cni-net#0.1.0"), "cni-net");
        assert_eq!(package_name("path+file:///work/main/net#cni-net@0.1.0"), "cni-net");
    }

    fn artifact(kind: &str, test: bool, executable: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///w/a#0.1.0",
            "manifest_path":"/w/a/Cargo.toml","target":{{"kind":["{kind}"],"name":"t"}},
            "profile":{{"test":{test}}},"executable":{executable}}}"#
        )
        .replace('\n', "")
    }

    #[test]
    fn tests_and_binaries_are_told_apart_and_libraries_are_neither() {
        let messages = [
            artifact("lib", false, "null"),
            artifact("bin", false, "\"/target/t\""),
            artifact("test", true, "\"/target/t-1\""),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ]
        .join("\n");
        let tests = built_in(&messages, true).unwrap();
        assert_eq!(tests.iter().map(Executable::name).collect::<Vec<_>>(), ["a/t"]);
        assert_eq!(tests[0].folder, Path::new("/w/a"));
        let binaries = built_in(&messages, false).unwrap();
        assert_eq!(binaries.iter().map(Executable::name).collect::<Vec<_>>(), ["a (bin)"]);
    }

    fn script(text: &str) -> Verdict {
        let temporary = tempfile::tempdir().unwrap();
        let file = temporary.path().join("tests.sh");
        std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).unwrap();
        let folder = temporary.path().to_owned();
        let (package, target, kind) = ("p".into(), "t".into(), "test".into());
        Executable { package, target, kind, file, folder }.run(Path::new("/"), std::io::sink())
    }

    #[test]
    fn a_green_summary_does_not_excuse_a_bad_status() {
        let summary = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; \
                       0 filtered out; finished in 0.00s'";
        assert_eq!(script(summary).problem, None);
        assert_eq!(script(summary).passed, 2);
        assert_eq!(
            script(&format!("{summary}\nexit 3")).problem.as_deref(),
            Some("ended with status 3")
        );
        assert!(script("exit 0").problem.is_some(), "no summary, no pass");
    }
}
