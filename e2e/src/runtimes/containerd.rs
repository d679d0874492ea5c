//! containerd, with its CRI plugin.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::runtimes::boot::{Boot, child_of, kill, wait_for};
use crate::runtimes::cri::Cri;
use crate::runtimes::image::{IMAGE, Image};

/// How long its start may take on a machine that is emulated and busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// The documented part of its configuration.
const EXAMPLE: &str = include_str!("../../../examples/containerd.toml");

const CONF: &str = "/run/containerd.toml";
const SOCKET: &str = "/run/containerd/containerd.sock";

/// A running containerd on a node. Dropping it kills it; its shims and their containers live on.
#[derive(Debug)]
pub struct Containerd<'boot> {
    boot: &'boot Boot<'boot>,
    /// `nsenter`, whose only child it is.
    process: Child,
}

impl<'boot> Containerd<'boot> {
    /// Starts it, with as many networks to a pod, and waits until its CRI answers.
    ///
    /// # Errors
    ///
    /// It does not start; the error has the end of its log.
    pub fn start(boot: &'boot Boot<'_>, networks: u8) -> Result<Self> {
        let networks = format!("max_conf_num = {networks}");
        Self::start_configured(boot, &EXAMPLE.replace("max_conf_num = 1", &networks))
    }

    /// The same with this configuration, to which is added what only a test machine needs.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn start_configured(boot: &'boot Boot<'_>, conf: &str) -> Result<Self> {
        // Overlay mounts do not work over the test machine's own, the other snapshotters not at
        // all; and there is no registry.
        let conf = format!(
            "disabled_plugins = [\"io.containerd.snapshotter.v1.aufs\", \
             \"io.containerd.snapshotter.v1.btrfs\", \
             \"io.containerd.snapshotter.v1.devmapper\", \
             \"io.containerd.snapshotter.v1.zfs\"]\n\
             {conf}\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n\
             sandbox_image = \"{IMAGE}\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n\
             snapshotter = \"native\"\n"
        );
        fs::write(boot.path(CONF), conf)?;
        let log = File::options().create(true).append(true).open(boot.disk().path().join("log"))?;
        let mut command = boot.command(["containerd", "-c", CONF]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut containerd = Self { boot, process: command.spawn().context("containerd")? };
        wait_for("containerd's start", PATIENCE, || {
            if let Some(status) = containerd.process.try_wait()? {
                anyhow::bail!("containerd ended with {status}");
            }
            Ok(containerd.cri().version().ok())
        })
        .with_context(|| containerd.log())?;
        Ok(containerd)
    }

    /// Its CRI.
    pub fn cri(&self) -> Cri {
        Cri::new(self.boot.path(SOCKET))
    }

    /// Imports the image, and waits until the CRI has it.
    ///
    /// # Errors
    ///
    /// `ctr` says why not.
    pub fn import(&self, image: &Image) -> Result<()> {
        let archive = image.archive();
        let archive = archive.to_string_lossy();
        let import =
            ["ctr", "-n", "k8s.io", "images", "import", "--snapshotter", "native", &archive];
        self.boot.run(import)?.success()?;
        wait_for("the image", PATIENCE, || Ok(self.cri().has_image()?.then_some(())))
    }

    /// Whether it has ended, of itself or killed.
    ///
    /// # Errors
    ///
    /// The kernel does not say.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_some())
    }

    /// SIGKILL, and its end.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(process) = child_of(self.process.id())? {
            kill(process);
        }
        self.process.wait()?;
        Ok(())
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.boot.disk().path().join("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
