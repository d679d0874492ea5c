//! podman, with its CNI backend.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::outcome::Outcome;
use crate::runtimes::boot::{Boot, child_of, kill};
use crate::runtimes::image::{IMAGE, Image};

/// How long a command may take on a machine that is emulated and busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// The documented part of its configuration.
const EXAMPLE: &str = include_str!("../../../examples/containers.conf");

const CONF: &str = "/run/containers.conf";
const STORAGE: &str = "/run/storage.conf";

/// podman on a node.
#[derive(Clone, Debug)]
pub struct Podman<'boot> {
    boot: &'boot Boot<'boot>,
    patience: Duration,
}

/// A running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its id, which is CNI's.
    pub id: String,
    /// Its network namespace, as this process reaches it.
    pub netns: PathBuf,
}

impl<'boot> Podman<'boot> {
    /// Sets it up; the node has one folder of plugins and one of configurations.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn set_up(boot: &'boot Boot<'_>) -> Result<Self> {
        // There is no systemd, and so no journal and no slices.
        let conf = format!(
            "{EXAMPLE}\n\
             [engine]\n\
             cgroup_manager = \"cgroupfs\"\n\
             events_logger = \"file\"\n\
             runtime = \"crun\"\n"
        );
        // Overlay mounts do not work over the test machine's own.
        let storage = "[storage]\n\
             driver = \"vfs\"\n\
             runroot = \"/run/containers/storage\"\n\
             graphroot = \"/var/lib/containers/storage\"\n";
        fs::write(boot.path(CONF), conf)?;
        fs::write(boot.path(STORAGE), storage)?;
        Ok(Self { boot, patience: PATIENCE })
    }

    /// The same, whose commands get less time: one whose helpers were killed may never end.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Loads the image.
    ///
    /// # Errors
    ///
    /// podman says why not.
    pub fn load(&self, image: &Image) -> Result<()> {
        let archive = image.archive();
        self.call(&["load", "-q", "-i", &archive.to_string_lossy()])?.success().map(drop)
    }

    /// A command to its end. That it failed is an [`Outcome`].
    ///
    /// # Errors
    ///
    /// It cannot be started, or does not end.
    pub fn call(&self, arguments: &[&str]) -> Result<Outcome> {
        let outcome = outcome_within(self.start(arguments)?, self.patience);
        outcome.with_context(|| format!("podman {arguments:?}"))
    }

    /// A command, started: `nsenter`, whose only child is podman.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(&self, arguments: &[&str]) -> Result<Child> {
        let mut command: Command = self.boot.command(["podman"]);
        command
            .args(arguments)
            .env("CONTAINERS_CONF", CONF)
            .env("CONTAINERS_STORAGE_CONF", STORAGE);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("podman")
    }

    /// `run -d` of a container that sleeps, in these networks, with further options. Its name is
    /// its host name.
    ///
    /// # Errors
    ///
    /// podman says why not.
    pub fn run(&self, name: &str, networks: &[&str], options: &[&str]) -> Result<()> {
        let mut arguments = vec!["run", "-d", "--name", name];
        arguments.extend(networks.iter().flat_map(|network| ["--network", network]));
        arguments.extend(options);
        arguments.push(IMAGE);
        let outcome = self.call(&arguments)?;
        outcome.success().map(drop).with_context(|| format!("podman {arguments:?}"))
    }

    /// A command in a container.
    ///
    /// # Errors
    ///
    /// As [`Self::call`].
    pub fn exec(&self, name: &str, argv: &[&str]) -> Result<Outcome> {
        self.call(&[&["exec", name], argv].concat())
    }

    /// Removes a container, running or not, or one that is not there.
    ///
    /// # Errors
    ///
    /// podman says why not.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.call(&["rm", "-f", "-i", "-t", "0", name])?.success().map(drop)
    }

    /// A running container, as `podman inspect` shows it.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn container(&self, name: &str) -> Result<Container> {
        let text = self.call(&["inspect", name])?.success()?;
        let list: Value = serde_json::from_str(&text)?;
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let id = word(&list[0]["Id"]).context("a container has an id")?;
        let netns = word(&list[0]["NetworkSettings"]["SandboxKey"]);
        let netns = netns.filter(|path| !path.is_empty());
        let netns = netns.with_context(|| format!("{name} runs and has a namespace"))?;
        Ok(Container { id, netns: self.boot.path(&netns) })
    }
}

/// Waits for a child for as long as this; kills it then.
fn outcome_within(child: Child, patience: Duration) -> Result<Outcome> {
    let inner = child_of(child.id())?;
    let (sender, receiver) = mpsc::channel();
    let id = child.id();
    let waiter = thread::spawn(move || sender.send(Outcome::of(child)));
    let Ok(outcome) = receiver.recv_timeout(patience) else {
        for process in inner.into_iter().chain([id]) {
            kill(process);
        }
        bail!("a command did not end in {patience:?}");
    };
    let _ = waiter.join();
    outcome
}
