//! A network namespace: made, entered, left behind by nobody.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::{fmt, fs, io, panic, thread};

use anyhow::{Context, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::outcome::{Outcome, feed};
use crate::ping::Ping;
use crate::snapshot::Snapshot;

/// Where iproute2 and the runtimes keep named namespaces (ip-netns(8)).
pub(crate) const DIRECTORY: &str = "/run/netns";

/// A network namespace with a name below `/run/netns`. It is removed when this is dropped; the
/// kernel keeps what is inside for as long as a process is.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    file: File,
}

impl Namespace {
    /// Makes namespaces with these names, in one process.
    ///
    /// # Errors
    ///
    /// One is there already, `ip` is missing, or this is not root. None of them is left behind,
    /// but for the one that was there.
    pub fn create(names: &[String]) -> Result<Vec<Self>> {
        if let Some(name) = names.iter().find(|name| path(name).exists()) {
            bail!("namespace {name} is there already");
        }
        let lines: Vec<_> = names.iter().map(|name| format!("netns add {name}")).collect();
        let added = feed(Command::new("ip").args(["-batch", "-"]), &lines.join("\n"))
            .and_then(Outcome::success)
            .context("ip netns add (this needs root)");
        let opened = added.and_then(|_| {
            let opened = |name: &String| Ok(Self { name: name.clone(), file: open(name)? });
            names.iter().map(opened).collect()
        });
        if opened.is_err() {
            for name in names {
                let _ = delete(name);
            }
        }
        opened
    }

    /// Its name for `ip -n`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path, as a runtime writes it into `CNI_NETNS`.
    pub fn path(&self) -> PathBuf {
        path(&self.name)
    }

    /// Runs a function on a thread that is inside. Sockets that it opens and processes that it
    /// starts stay inside. `/proc/sys/net` is this namespace's; `/sys` is still the host's.
    ///
    /// # Errors
    ///
    /// The namespace could not be entered (this needs root), or the function's own.
    ///
    /// # Panics
    ///
    /// As the function does.
    pub fn enter<T: Send>(&self, function: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("enter namespace {}", self.name))?;
                function()
            });
            inside.join().unwrap_or_else(|panic| panic::resume_unwind(panic))
        })
    }

    /// Starts a command inside, as configured by the caller, and returns at once.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        self.enter(|| command.spawn().with_context(|| described(self, command)))
    }

    /// Runs a command inside to its end, with nothing on its standard input. A command that
    /// fails is an [`Outcome`], not an error.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Outcome> {
        let mut argv = argv.into_iter();
        let mut command = Command::new(argv.next().context("no command to run")?);
        self.feed(command.args(argv), "")
    }

    /// Runs lines of the `ip -batch` language inside, in one process, all or up to the first
    /// that fails.
    ///
    /// # Errors
    ///
    /// A line was refused: the error has `ip`'s reason and the lines with their numbers.
    pub fn ip(&self, lines: &str) -> Result<()> {
        self.batch("ip", &[], lines)
    }

    /// As [`ip`](Self::ip), for `bridge -batch`.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn bridge(&self, lines: &str) -> Result<()> {
        self.batch("bridge", &[], lines)
    }

    /// As [`ip`](Self::ip), for lines about IPv6 that name no address.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn ip6(&self, lines: &str) -> Result<()> {
        self.batch("ip", &["-6"], lines)
    }

    /// Writes a value into a file below `/proc/sys/net`.
    ///
    /// # Errors
    ///
    /// There is no such file, or the kernel refuses the value.
    pub fn sysctl(&self, path: &str, value: &str) -> Result<()> {
        self.enter(|| {
            let path = Path::new("/proc/sys/net").join(path);
            fs::write(&path, value)
                .with_context(|| format!("write {value:?} to {}", path.display()))
        })
    }

    /// Loads an nftables ruleset.
    ///
    /// # Errors
    ///
    /// It was refused, as a whole: the error has `nft`'s reason.
    pub fn nft(&self, ruleset: &str) -> Result<()> {
        self.feed(Command::new("nft").args(["-f", "-"]), ruleset)?.success().map(drop)
    }

    /// Sends `count` echo requests and waits for the answers, one second for the last one.
    /// That nothing came back is an answer too.
    ///
    /// # Errors
    ///
    /// `ping` could not be run.
    pub fn ping(&self, target: impl fmt::Display, count: u32) -> Result<Ping> {
        Ping::run(self, None, &target.to_string(), count)
    }

    /// As [`ping`](Self::ping), from one of the namespace's addresses.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn ping_from(
        &self,
        source: impl fmt::Display,
        target: impl fmt::Display,
        count: u32,
    ) -> Result<Ping> {
        Ping::run(self, Some(&source.to_string()), &target.to_string(), count)
    }

    /// What is configured inside, for comparison before and after.
    ///
    /// # Errors
    ///
    /// `ip` failed.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::of(self)
    }

    /// Runs a command inside with this text on its standard input.
    pub(crate) fn feed(&self, command: &mut Command, stdin: &str) -> Result<Outcome> {
        self.enter(|| feed(command, stdin).with_context(|| described(self, command)))
    }

    fn batch(&self, program: &str, options: &[&str], lines: &str) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut command = Command::new(program);
        let outcome = self.feed(command.args(options).args(["-batch", "-"]), lines)?;
        outcome.success().map(drop).with_context(|| {
            let numbered: Vec<_> =
                lines.lines().zip(1..).map(|(line, n)| format!("{n:4}  {line}")).collect();
            format!("{program} -batch in namespace {}:\n{}", self.name, numbered.join("\n"))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = delete(&self.name) {
            eprintln!("lab: namespace {} stays: {error}", self.name);
        }
    }
}

/// Removes the name, as `ip netns del` does; one that is not there is removed already.
pub(crate) fn delete(name: &str) -> io::Result<()> {
    let path = path(name);
    match unmount(&path, UnmountFlags::DETACH) {
        // EINVAL: a file on which nothing is mounted, left by a process that died while adding.
        Ok(()) | Err(rustix::io::Errno::INVAL) => match fs::remove_file(path) {
            // Another process removes the same orphan.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
        Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn open(name: &str) -> Result<File> {
    let path = path(name);
    File::open(&path).with_context(|| path.display().to_string())
}

fn described(namespace: &Namespace, command: &Command) -> String {
    format!("{command:?} in namespace {}", namespace.name)
}
