//! The guest's side: what runs inside the virtual machine after the start script.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitOptions, wait};

use crate::channel::{Channel, Report};
use crate::request::Request;

/// Runs the request as the guest's process 1, sends its output and status, and powers off.
///
/// An error ends process 1, upon which the kernel panics: the host sees that on the console.
///
/// # Errors
/// If the machine lacks a channel or the request cannot be read.
pub(crate) fn supervise(request: &Path) -> Result<()> {
    if std::process::id() != 1 {
        bail!("guest-supervise is process 1 of the guest and nothing else");
    }
    let request: Request = serde_json::from_slice(&fs::read(request)?)?;
    let mut status = open(Channel::Status)?;
    let (stdout, mut stderr) = (open(Channel::Stdout)?, open(Channel::Stderr)?);
    writeln!(status, "{}", Report::Up)?;
    let code = match start(&request) {
        Ok(mut child) => {
            let out = pump(child.stdout.take(), stdout);
            let err = pump(child.stderr.take(), stderr);
            let code = reap_until(Pid::from_child(&child))?;
            // Whatever the command left running keeps its output open: it ends with the command.
            fs::write("/proc/sysrq-trigger", "i")?;
            for pump in [out, err] {
                pump.join().ok().context("an output pump panicked")??;
            }
            code
        }
        Err(problem) => {
            let code = if problem.kind() == ErrorKind::NotFound { 127 } else { 126 };
            writeln!(stderr, "cannot start {:?}: {problem}", request.command.first())?;
            code
        }
    };
    writeln!(status, "{}", Report::Exited(code))?;
    fs::write("/proc/sysrq-trigger", "o")?;
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn start(request: &Request) -> io::Result<std::process::Child> {
    let (program, arguments) =
        request.command.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    Command::new(program)
        .args(arguments)
        .current_dir(&request.folder)
        .env_clear()
        .envs(&request.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Waits for any child, orphans too, until the command itself has ended.
fn reap_until(command: Pid) -> Result<u8> {
    loop {
        if let Some((pid, status)) = wait(WaitOptions::empty())?
            && pid == command
        {
            return Ok(code_of(ExitStatus::from_raw(status.as_raw())));
        }
    }
}

/// An exit status as a shell's `$?`: a signal counts 128 and its number.
pub(crate) fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Carries bytes to a port. The command gets a pipe and not the port, which cannot be opened twice.
///
/// Not `io::copy`: it would splice, and a port answers that with 0 bytes, as at an end, while the
/// pipe is empty (Linux `port_fops_splice_write` in `drivers/char/virtio_console.c`).
fn pump(from: Option<impl Read + Send + 'static>, mut to: File) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || {
        let Some(mut from) = from else { return Ok(()) };
        let mut buffer = vec![0; 64 << 10];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => to.write_all(&buffer[..length])?,
                Err(problem) if problem.kind() == ErrorKind::Interrupted => {}
                Err(problem) => return Err(problem),
            }
        }
    })
}

fn open(channel: Channel) -> Result<File> {
    let device = device_of(channel)?;
    OpenOptions::new()
        .write(true)
        .open(&device)
        .with_context(|| format!("cannot open {}", device.display()))
}

/// The port's device, by the name that the machine gave it; udev's links are not there.
fn device_of(channel: Channel) -> Result<PathBuf> {
    for entry in fs::read_dir("/sys/class/virtio-ports")? {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim() == channel.name() {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    bail!("the machine has no port named {}", channel.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_as_in_a_shell() {
        assert_eq!(code_of(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code_of(ExitStatus::from_raw(9)), 137);
    }
}
