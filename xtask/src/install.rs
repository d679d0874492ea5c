//! The programs as a node gets them: static, small, put in place by rename.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::executable;
use crate::toolchain;
use crate::workspace;

/// What a node needs, each of the package of its name.
pub(crate) const PROGRAMS: [&str; 4] = ["cni-ipam", "cni-ipvlan", "cni-coordinator", "ipamctl"];

/// Network configurations to begin with, of which one is wanted; the tests use these very files.
const EXAMPLES: [&str; 2] =
    ["examples/10-node-ipam.conflist", "examples/10-node-ipam-services.conflist"];

/// A plugin is started for each pod, several times: it must cost no more than this.
const START: Duration = Duration::from_millis(2);

/// Builds the programs and puts them into `destination`, with the examples; says where and how large.
///
/// # Errors
/// If something does not compile or cannot be written. A program that was there is then either the
/// old one or the new one.
pub(crate) fn run(destination: &Path) -> Result<u8> {
    let mut out = io::stdout();
    let target = Target::choose()?;
    let selection: Vec<&str> = PROGRAMS.iter().flat_map(|program| ["-p", program]).collect();
    for program in build(&target, &selection, PROGRAMS.len())? {
        let name = program.file_name().context("a program has a name")?;
        let placed = place(&program, destination, name.as_ref(), 0o755)?;
        let bytes = fs::metadata(&placed)?.len();
        writeln!(out, "{} {bytes} bytes, {}", placed.display(), target.triple)?;
    }
    for example in EXAMPLES {
        let example = workspace::root().join(example);
        let name = example.file_name().context("the example has a name")?.to_owned();
        writeln!(out, "{}", place(&example, destination, name.as_ref(), 0o644)?.display())?;
    }
    Ok(0)
}

/// Proves it: static, quick to start, replaceable while running. Answers the figures.
///
/// # Errors
/// Which of it is not so.
pub(crate) fn prove(destination: &Path) -> Result<String> {
    run(destination)?;
    let mut figures = Vec::new();
    for name in PROGRAMS {
        let program = destination.join(name);
        ensure!(!has_interpreter(&program)?, "{name} is not static");
        let fastest = fastest_start(&program)?;
        ensure!(fastest < START, "{name} needs {fastest:?} to start, at most {START:?} is right");
        let bytes = fs::metadata(&program)?.len();
        figures.push(format!("{name} {bytes} bytes, starts in {} µs", fastest.as_micros()));
    }
    replace_while_running(destination)?;
    Ok(figures.join("; "))
}

/// Where static programs come from.
pub(crate) struct Target {
    triple: String,
    flags: &'static str,
}

impl Target {
    /// musl, whose programs start in less than half the time of static glibc ones, if its standard
    /// library is there or can be fetched; else glibc.
    pub(crate) fn choose() -> Result<Self> {
        let arch = std::env::consts::ARCH;
        let musl = format!("{arch}-unknown-linux-musl");
        if !toolchain::has_target(&musl)? {
            // Without rustup, or without a network, there is still glibc.
            let added = Command::new("rustup").args(["target", "add", &musl]).status();
            if !added.is_ok_and(|status| status.success()) {
                let triple = format!("{arch}-unknown-linux-gnu");
                let flags = "-C target-feature=+crt-static -C relocation-model=static";
                return Ok(Self { triple, flags });
            }
        }
        // A program at a fixed place has nothing to relocate at its start, and one that aborts needs
        // no tables for unwinding.
        Ok(Self { triple: musl, flags: "-C relocation-model=static -C force-unwind-tables=no" })
    }
}

/// Builds so many programs, which `selection` names in cargo's terms, as a node gets them.
pub(crate) fn build(target: &Target, selection: &[&str], count: usize) -> Result<Vec<PathBuf>> {
    let selection = [&["--profile", "node", "--target", &target.triple], selection].concat();
    let variable =
        format!("CARGO_TARGET_{}_RUSTFLAGS", target.triple.to_uppercase().replace(['-', '.'], "_"));
    let built = executable::build_binaries_with(&selection, &[(&variable, target.flags)])?;
    ensure!(built.len() == count, "cargo built {} programs of {selection:?}", built.len());
    Ok(built.into_iter().map(|program| program.file).collect())
}

/// Copies under another name, then renames: a program that runs keeps the file it was started from,
/// and whoever starts it anew finds a whole one.
pub(crate) fn place(from: &Path, folder: &Path, name: &Path, mode: u32) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let to = folder.join(name);
    let draft = folder.join(format!(".{}.new", name.display()));
    let context = || format!("put {} in place", to.display());
    fs::copy(from, &draft).with_context(context)?;
    fs::set_permissions(&draft, fs::Permissions::from_mode(mode)).with_context(context)?;
    File::open(&draft).and_then(|file| file.sync_all()).with_context(context)?;
    fs::rename(&draft, &to).with_context(context)?;
    Ok(to)
}

/// Whether the kernel has to load an interpreter first (ELF program header `PT_INTERP`, elf(5)).
fn has_interpreter(program: &Path) -> Result<bool> {
    const PT_INTERP: u32 = 3;
    let bytes = fs::read(program).with_context(|| format!("read {}", program.display()))?;
    let field = |at: usize, length: usize| -> Result<u64> {
        let field = bytes.get(at..at + length).context("the file is cut")?;
        Ok(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    ensure!(bytes.starts_with(b"\x7fELF\x02\x01"), "{} is no 64-bit ELF", program.display());
    let (table, size, count) = (field(32, 8)?, field(54, 2)?, field(56, 2)?);
    for header in 0..count {
        let at = usize::try_from(table + header * size)?;
        if field(at, 4)? == u64::from(PT_INTERP) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// From the start to the end of a call that does next to nothing; the fastest of many, since the
/// machine may have other work.
fn fastest_start(program: &Path) -> Result<Duration> {
    let mut fastest = Duration::MAX;
    for _ in 0..100 {
        let began = Instant::now();
        let status = Command::new(program)
            .arg("--version")
            .env_clear()
            .env("CNI_COMMAND", "VERSION")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        fastest = fastest.min(began.elapsed());
        ensure!(status.success(), "{}: {status}", program.display());
    }
    Ok(fastest)
}

/// A runtime may be starting pods while an update is installed.
fn replace_while_running(destination: &Path) -> Result<()> {
    let program = destination.join(PROGRAMS[0]);
    let mut running = Command::new(&program)
        .env_clear()
        .env("CNI_COMMAND", "VERSION")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let copied = destination.join("copy");
    fs::copy(&program, &copied)?;
    place(&copied, destination, PROGRAMS[0].as_ref(), 0o755)?;
    drop(running.stdin.take());
    let mut answer = String::new();
    running.stdout.take().context("it has a pipe")?.read_to_string(&mut answer)?;
    if !running.wait()?.success() || !answer.contains("supportedVersions") {
        bail!("the program that ran did not go on: {answer}");
    }
    Ok(())
}
