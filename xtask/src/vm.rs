//! A command in the virtual machine, from the packages it takes to its exit status.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::initramfs::{self, Handover};
use crate::kernel::{self, Kernel};
use crate::machine::{self, Machine, Outcome, Sinks};
use crate::packages;
use crate::request::Request;

/// The exit status when the guest, not the command, failed.
pub(crate) const GUEST_FAILED: u8 = 125;

/// A command and its limits.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) request: Request,
    /// A folder that the guest may write to; made when it is missing.
    pub(crate) out: Option<PathBuf>,
    pub(crate) timeout: Duration,
}

/// Runs the command in a new machine; answers its exit status, or [`GUEST_FAILED`] after having
/// shown the guest's log on stderr. `stdout` gets the command's standard output as it comes.
///
/// # Errors
/// If the machine cannot be started at all.
pub(crate) fn run(run: &Run, stdout: impl Write + Send + 'static) -> Result<u8> {
    packages::ensure(&[packages::MACHINE, packages::NETWORK])?;
    let kernel = kernel::ensure()?;
    let out = run.out.as_deref().map(std::path::absolute).transpose()?;
    if let Some(out) = &out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    }
    let folder = tempfile::Builder::new().prefix("node-ipam-vm-").tempdir()?;
    let initramfs = folder.path().join("initramfs");
    let supervisor = std::env::current_exe().context("xtask cannot find itself")?;
    let handover = Handover { supervisor: &supervisor, request: &run.request, out: out.as_deref() };
    initramfs::write(&initramfs, &kernel, handover)?;
    let machine = Machine {
        kernel_image: &kernel.image,
        initramfs: &initramfs,
        out: out.as_deref(),
        run_folder: folder.path(),
        timeout: run.timeout,
    };
    start(&machine, &kernel, stdout)
}

fn start(
    machine: &Machine<'_>,
    kernel: &Kernel,
    stdout: impl Write + Send + 'static,
) -> Result<u8> {
    eprintln!("xtask: starting Linux {} in QEMU", kernel.version);
    let began = Instant::now();
    let sinks = Sinks { stdout, stderr: io::stderr() };
    let outcome = machine.run(sinks, || {
        eprintln!("xtask: the guest is up after {:.1} s", began.elapsed().as_secs_f64());
    })?;
    let console = machine::console_text(&machine.console());
    let seconds = began.elapsed().as_secs_f64();
    let failure = match outcome {
        Outcome::Exited(status) => {
            eprintln!("xtask: the command ended with status {status}; {seconds:.1} s in all");
            return Ok(status);
        }
        Outcome::OutputClosed(reason) => {
            eprintln!("xtask: the command's output has no reader any more ({reason})");
            return Ok(GUEST_FAILED);
        }
        Outcome::NotBooted => "the guest stopped before it was up",
        Outcome::Died => "the guest stopped while the command ran",
        Outcome::TimedOut { booted: false } => "the guest was not up in time",
        Outcome::TimedOut { booted: true } => "the command did not end in time",
    };
    eprintln!("xtask: the guest's console:");
    for line in console.lines() {
        eprintln!("guest| {line}");
    }
    eprintln!("xtask: {failure} ({seconds:.1} s, limit {} s)", machine.timeout.as_secs());
    if let Some(panic) = machine::panic_in(&console) {
        eprintln!("xtask: {panic}");
    }
    Ok(GUEST_FAILED)
}
