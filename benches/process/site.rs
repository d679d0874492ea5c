//! A directory on one file system with configurations and databases, and calls that work there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Bench, fill};

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    /// Nothing but a start and an end.
    Empty,
    /// One page written and synced.
    Floor,
    /// cni-ipam.
    Ours,
    /// Debian's host-local.
    HostLocal,
}

impl Program {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty process",
            Self::Floor => "floor",
            Self::Ours => "cni-ipam",
            Self::HostLocal => "host-local",
        }
    }
}

/// A place with so many leases, in ours and in the peer's directory.
#[derive(Debug)]
pub(crate) struct Site<'bench> {
    bench: &'bench Bench,
    directory: TempDir,
}

impl<'bench> Site<'bench> {
    /// Below `parent`, which says on which file system.
    pub(crate) fn new(
        bench: &'bench Bench,
        parent: &Path,
        leases: u32,
        with_peer: bool,
    ) -> Result<Self> {
        let site = Self::bare(bench, parent)?;
        fill::ours(&site.path("ours"), leases)?;
        if with_peer {
            fill::host_local(&site.path("peers"), leases)?;
        }
        Ok(site)
    }

    /// Without databases.
    pub(crate) fn bare(bench: &'bench Bench, parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent)?;
        let directory = tempfile::Builder::new().prefix("node-ipam-bench-").tempdir_in(parent)?;
        let site = Self { bench, directory };
        let conf = |ipam: Value| json!({"cniVersion": "1.0.0", "name": fill::NETWORK, "type": "bridge", "ipam": ipam});
        let ours = conf(json!({
            "type": "cni-ipam", "nodeName": "bench", "dataDir": site.path("ours"),
            // The leases that the measurements begin with are of no pod.
            "graceSeconds": u32::MAX,
        }));
        let peers = conf(json!({
            "type": "host-local", "dataDir": site.path("peers"), "subnet": fill::SUBNET,
        }));
        fs::write(site.path("ours.json"), ours.to_string())?;
        fs::write(site.path("newer.json"), ours.to_string().replace("1.0.0", "1.1.0"))?;
        fs::write(site.path("peers.json"), peers.to_string())?;
        fs::write(site.path("page"), [0; 4096])?;
        Ok(site)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// One call, ready to be started, under another program such as strace if there is one.
    pub(crate) fn command(
        &self,
        wrapper: &[&str],
        program: Program,
        verb: &str,
        container: &str,
    ) -> Result<Command> {
        let (file, conf) = match program {
            Program::Empty => (self.bench.program("empty"), "ours.json"),
            Program::Floor => (self.bench.program("floor"), "ours.json"),
            Program::Ours => {
                let is_new = matches!(verb, "STATUS" | "GC");
                (self.bench.program("cni-ipam"), if is_new { "newer.json" } else { "ours.json" })
            }
            Program::HostLocal => (self.bench.peers.join("host-local"), "peers.json"),
        };
        let mut command = match wrapper {
            [] => Command::new(file),
            [name, arguments @ ..] => {
                let mut command = Command::new(name);
                command.args(arguments).arg(file);
                command
            }
        };
        // As a kubelet has them: the id of a sandbox has 64 characters, the pod a uid of 36.
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-7d4b9c6f5-abcde;\
             K8S_POD_INFRA_CONTAINER_ID={container:0>64};K8S_POD_UID={container:0>36}"
        );
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("FLOOR_FILE", self.path("page"))
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", format!("{container:0>64}"))
            .env("CNI_NETNS", format!("/proc/{}/ns/net", std::process::id()))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.bench.peers)
            .env("CNI_ARGS", arguments)
            .stdin(File::open(self.path(conf))?)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(command)
    }

    /// One call from its start to its end.
    pub(crate) fn call(&self, program: Program, verb: &str, container: &str) -> Result<Duration> {
        timed(self.command(&[], program, verb, container)?)
    }
}

/// From the start to the end.
pub(crate) fn timed(mut command: Command) -> Result<Duration> {
    let began = Instant::now();
    let status = command.status();
    let took = began.elapsed();
    let status = status.with_context(|| format!("start {}", command.get_program().display()))?;
    ensure!(status.success(), "{}: {status}", command.get_program().display());
    Ok(took)
}
