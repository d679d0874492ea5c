//! The virtual machine: QEMU's command line, one run of it, and how that ended.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::channel::{Channel, Report};

/// Guest memory; what the guest writes anywhere is kept in it.
const MEMORY_MIB: u32 = 3072;
const PROCESSORS: u32 = 2;

/// How long the guest may take to power off after its last report.
const POWER_OFF: Duration = Duration::from_secs(20);

/// How often it is looked whether QEMU still runs.
const POLL: Duration = Duration::from_millis(50);

/// Kernel parameters: any kernel bug ends the machine at once (with QEMU's `-no-reboot`), and what
/// only costs time in an emulated machine is off.
const PARAMETERS: &str = "console=ttyS0 panic=-1 oops=panic rdinit=/init loglevel=5 \
     mitigations=off apparmor=0 audit=0 no5lvl init_on_alloc=0 random.trust_cpu=on tsc=reliable \
     no_timer_check rcupdate.rcu_expedited=1";

/// A machine that can be started once.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) kernel_image: &'a Path,
    pub(crate) initramfs: &'a Path,
    /// A folder of the host that the guest may write to.
    pub(crate) out: Option<&'a Path>,
    /// For the sockets and the console log; short, since a socket's path has 107 bytes at most.
    pub(crate) run_folder: &'a Path,
    /// From QEMU's start to the command's end.
    pub(crate) timeout: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command ended with this status.
    Exited(u8),
    /// The guest stopped before the command was started.
    NotBooted,
    /// The guest stopped while the command ran.
    Died,
    /// The time was up; whether the guest had started the command.
    TimedOut { booted: bool },
    /// The reader of the command's output is gone.
    OutputClosed(String),
}

/// The command's output on its way to the caller.
#[derive(Debug)]
pub(crate) struct Sinks<O, E> {
    pub(crate) stdout: O,
    pub(crate) stderr: E,
}

enum Event {
    Report(Report),
    OutputClosed(io::Error),
}

impl Machine<'_> {
    /// Where the guest's console is recorded.
    pub(crate) fn console(&self) -> PathBuf {
        self.run_folder.join("console.log")
    }

    /// Runs the machine to its end; `on_up` is called when the guest is about to start the command.
    ///
    /// # Errors
    /// If QEMU cannot be started. What goes wrong in the guest is an [`Outcome`].
    pub(crate) fn run(
        &self,
        sinks: Sinks<impl Write + Send + 'static, impl Write + Send + 'static>,
        on_up: impl FnOnce(),
    ) -> Result<Outcome> {
        let (sender, events) = mpsc::channel();
        let forwarders = [
            forward(self.listen(Channel::Stdout)?, sinks.stdout, sender.clone()),
            forward(self.listen(Channel::Stderr)?, sinks.stderr, sender.clone()),
            read_reports(self.listen(Channel::Status)?, sender),
        ];
        let deadline = Instant::now() + self.timeout;
        // QEMU must not outlive xtask, however that ends.
        let mut qemu = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"])
            .args(self.arguments())
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .spawn()
            .context("cannot start setpriv and qemu-system-x86_64")?;
        let outcome = watch(&mut qemu, &events, deadline, on_up);
        let power_off = Instant::now() + POWER_OFF;
        while matches!(outcome, Ok(Outcome::Exited(_)))
            && qemu.try_wait()?.is_none()
            && Instant::now() < power_off
        {
            thread::sleep(POLL);
        }
        // Both fail only if QEMU is gone already.
        let _ = qemu.kill();
        let _ = qemu.wait();
        for (channel, forwarder) in Channel::ALL.into_iter().zip(forwarders) {
            // A QEMU that ended early never connected: this lets the thread go on to its end.
            drop(UnixStream::connect(self.socket(channel)));
            let _ = forwarder.join();
        }
        outcome
    }

    fn socket(&self, channel: Channel) -> PathBuf {
        self.run_folder.join(channel.name())
    }

    fn listen(&self, channel: Channel) -> Result<UnixListener> {
        let path = self.socket(channel);
        UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |option: &str, value: String| {
            arguments.push(option.into());
            arguments.push(value.into());
        };
        // Never KVM: where this project is developed a guest hangs with it at once.
        add("-accel", "tcg,thread=multi".into());
        add("-cpu", "max".into());
        add("-smp", PROCESSORS.to_string());
        add("-m", MEMORY_MIB.to_string());
        add("-display", "none".into());
        add("-kernel", self.kernel_image.display().to_string());
        add("-initrd", self.initramfs.display().to_string());
        add("-append", PARAMETERS.into());
        add("-serial", format!("file:{}", self.console().display()));
        add("-fsdev", shared("host", Path::new("/"), true));
        add("-device", "virtio-9p-pci,fsdev=host,mount_tag=host".into());
        if let Some(out) = self.out {
            add("-fsdev", shared("out", out, false));
            add("-device", "virtio-9p-pci,fsdev=out,mount_tag=out".into());
        }
        add("-device", "virtio-serial-pci".into());
        for channel in Channel::ALL {
            let name = channel.name();
            let socket = quoted(&self.socket(channel));
            add("-chardev", format!("socket,id={name},path={socket}"));
            add("-device", format!("virtserialport,chardev={name},name={name}"));
        }
        for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
            arguments.push(flag.into());
        }
        arguments
    }
}

/// Follows the guest until it has reported an end, has stopped, or the time is up.
fn watch(
    qemu: &mut Child,
    events: &Receiver<Event>,
    deadline: Instant,
    on_up: impl FnOnce(),
) -> Result<Outcome> {
    let mut on_up = Some(on_up);
    loop {
        // Looked at before the events, so that a last report is not missed.
        let stopped = qemu.try_wait()?.is_some();
        let wait = if stopped { POLL * 10 } else { POLL };
        match events.recv_timeout(wait) {
            Ok(Event::Report(Report::Up)) => {
                if let Some(on_up) = on_up.take() {
                    on_up();
                }
            }
            Ok(Event::Report(Report::Exited(status))) => return Ok(Outcome::Exited(status)),
            Ok(Event::OutputClosed(problem)) => {
                return Ok(Outcome::OutputClosed(problem.to_string()));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) if stopped => {
                return Ok(if on_up.is_some() { Outcome::NotBooted } else { Outcome::Died });
            }
            Err(RecvTimeoutError::Timeout) => {}
            // All channels closed, and QEMU is about to end.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(POLL),
        }
        if Instant::now() >= deadline {
            return Ok(Outcome::TimedOut { booted: on_up.is_none() });
        }
    }
}

/// Copies what the guest sends as it comes. When the sink fails, goes on reading: a port whose
/// reader is gone would block the guest.
fn forward(
    listener: UnixListener,
    mut sink: impl Write + Send + 'static,
    events: Sender<Event>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        let mut buffer = vec![0; 64 << 10];
        let mut broken = false;
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if broken {
                continue;
            }
            let written = sink.write_all(&buffer[..length]).and_then(|()| sink.flush());
            if let Err(problem) = written {
                broken = true;
                // The receiver is gone only when the run is over.
                let _ = events.send(Event::OutputClosed(problem));
            }
        }
    })
}

fn read_reports(listener: UnixListener, events: Sender<Event>) -> JoinHandle<()> {
    thread::spawn(move || {
        let Ok((stream, _)) = listener.accept() else {
            return;
        };
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            match line.parse() {
                Ok(report) => {
                    let _ = events.send(Event::Report(report));
                }
                Err(problem) => eprintln!("xtask: {problem:#}"),
            }
        }
    })
}

fn shared(id: &str, folder: &Path, read_only: bool) -> String {
    let access = if read_only { ",readonly=on" } else { "" };
    // The root folder may hold several file systems, whose inode numbers overlap.
    format!("local,id={id},path={},security_model=none{access},multidevs=remap", quoted(folder))
}

/// A path as part of a QEMU option, where a comma stands for itself only when doubled.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Why the guest stopped, if its console says so.
pub(crate) fn panic_in(console: &str) -> Option<&str> {
    console.lines().find(|line| line.contains("Kernel panic - not syncing")).map(str::trim)
}

/// The console's text; what cannot be read is said in its place.
pub(crate) fn console_text(path: &Path) -> String {
    match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).replace('\r', ""),
        Err(problem) => format!("(no console log: {problem})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_is_doubled() {
        assert_eq!(
            shared("out", Path::new("/a,b"), false),
            "local,id=out,path=/a,,b,security_model=none,multidevs=remap"
        );
    }

    #[test]
    fn the_hosts_root_is_shared_read_only_and_kvm_is_never_used() {
        let machine = Machine {
            kernel_image: Path::new("/k"),
            initramfs: Path::new("/i"),
            out: None,
            run_folder: Path::new("/r"),
            timeout: Duration::from_secs(1),
        };
        let line = machine.arguments().join(" ".as_ref()).into_string().unwrap();
        assert!(line.contains("path=/,security_model=none,readonly=on"));
        assert!(!line.contains("kvm"));
        assert_eq!(line.matches("-fsdev").count(), 1);
    }

    #[test]
    fn a_panic_is_found_in_the_console() {
        let console = "x\n[ 1.0] Kernel panic - not syncing: sysrq triggered crash\ny";
        assert_eq!(
            panic_in(console),
            Some("[ 1.0] Kernel panic - not syncing: sysrq triggered crash")
        );
        assert_eq!(panic_in("fine"), None);
    }
}
