//! A node from its start to its end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, process, thread};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::node::Node;
use crate::outcome::{Outcome, feed};
use crate::plugin_dir::plugin_dir;
use crate::runtimes::disk::Disk;

/// Where the plugins are, as the kubelet's documents have it.
pub(crate) const PLUGINS: &str = "/opt/cni/bin";

/// Debian's folder of the plugins that others wrote.
const UPSTREAM: &str = "/usr/lib/cni";

/// Ours, and those of others that a configuration here chains or that ours is compared with.
const OURS: [&str; 2] = ["cni-ipvlan", "cni-ipam"];
const OTHERS: [&str; 4] = ["host-local", "ipvlan", "loopback", "portmap"];

/// The commands' whole environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes each boot's id another.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A started node: its network namespace is the lab's, its processes, its mounts, its `/run`, its
/// `/dev/shm` (podman keeps its locks there) and its boot id are its own. Dropping it is a power
/// cut: every process ends at once, nothing is told to anybody, and what was not on its [`Disk`] is
/// gone.
///
/// In it is what the test machine has, but for its own folders.
#[derive(Debug)]
pub struct Boot<'lab> {
    node: &'lab Node,
    disk: Disk,
    id: String,
    /// `unshare`, with whose end the first process ends.
    keeper: Child,
    /// The first process, as its parent sees it.
    init: u32,
}

impl<'lab> Boot<'lab> {
    /// Starts the node.
    ///
    /// # Errors
    ///
    /// This is not root, a program is missing, or something cannot be mounted.
    pub fn start(node: &'lab Node, disk: &Disk) -> Result<Self> {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let id = format!("00000000-0000-4000-8000-{:08x}{number:04x}", process::id());
        let id_file = disk.path().join(format!("boot-{number}"));
        fs::write(&id_file, format!("{id}\n"))?;
        // As a slave: what others unmount, such as a named network namespace, is not kept here.
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "slave", "--uts", "--pid", "--fork", "--kill-child"])
            .args(["--mount-proc", "bash", "-c", &script(node, disk, &id_file)?])
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let keeper = node.spawn(&mut command)?;
        let mut boot = Self { node, disk: disk.clone(), id, keeper, init: 0 };
        let mut said = [0];
        let stdout = boot.keeper.stdout.as_mut().context("a pipe")?;
        stdout.read_exact(&mut said).context("the node did not start (this needs root)")?;
        boot.init = child_of(boot.keeper.id())?.context("unshare has a child")?;
        Ok(boot)
    }

    /// The node.
    pub fn node(&self) -> &'lab Node {
        self.node
    }

    /// What is on its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What `/proc/sys/kernel/random/boot_id` says.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A path of the node as this process reaches it.
    pub fn path(&self, inside: &str) -> PathBuf {
        let root = Path::new("/proc").join(self.init.to_string()).join("root");
        root.join(inside.trim_start_matches('/'))
    }

    /// A command on the node, not yet started.
    pub fn command<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init.to_string(), "--mount", "--uts", "--pid", "--net", "--"])
            .args(argv)
            .current_dir("/")
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/root");
        command
    }

    /// Runs a command on the node to its end. That it failed is an [`Outcome`].
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn run<S: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = S>) -> Result<Outcome> {
        let mut command = self.command(argv);
        feed(&mut command, "").with_context(|| format!("{command:?}"))
    }

    /// Runs `ipamctl` on the node, over the database in its usual place.
    ///
    /// # Errors
    ///
    /// It cannot be started. That it failed is an [`Outcome`].
    pub fn ipamctl(&self, arguments: &[&str]) -> Result<Outcome> {
        let program = plugin_dir()?.join("ipamctl");
        self.run([program.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new)))
    }

    /// The node's processes, in its containers too, each with its name (`comm`), the first one
    /// left out.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn processes(&self) -> Result<BTreeMap<u32, String>> {
        let own = fs::read_link(format!("/proc/{}/ns/pid", self.init))?;
        let (mut here, mut elsewhere) = (BTreeMap::new(), Vec::new());
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let path = entry.path();
            // One that has ended meanwhile has neither.
            let namespace = fs::read_link(path.join("ns/pid"));
            let status = fs::read_to_string(path.join("status"));
            if let (Ok(namespace), Ok(status)) = (namespace, status) {
                let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
                let name = field("Name:").unwrap_or_default().trim().to_owned();
                if namespace == own {
                    here.insert(id, name);
                } else {
                    let parent: u32 = field("PPid:").unwrap_or_default().trim().parse()?;
                    elsewhere.push((id, parent, name));
                }
            }
        }
        // A container has process numbers of its own; who started it is here.
        loop {
            let inside = |(_, parent, _): &(u32, u32, String)| here.contains_key(parent);
            let (found, rest): (Vec<_>, Vec<_>) = elsewhere.into_iter().partition(inside);
            if found.is_empty() {
                break;
            }
            here.extend(found.into_iter().map(|(id, _, name)| (id, name)));
            elsewhere = rest;
        }
        here.remove(&self.init);
        Ok(here)
    }

    /// SIGKILL to the processes with a name of these. Answers whom it hit.
    ///
    /// # Errors
    ///
    /// As [`Self::processes`].
    pub fn kill(&self, names: &[&str]) -> Result<Vec<(u32, String)>> {
        let mut victims: Vec<_> = self.processes()?.into_iter().collect();
        victims.retain(|(_, name)| names.contains(&name.as_str()));
        victims.retain(|(id, _)| kill(*id));
        Ok(victims)
    }

    /// Puts a script in the place of a plugin.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn replace_plugin(&self, name: &str, script: &str) -> Result<()> {
        let place = self.path(PLUGINS).join(name);
        fs::remove_file(&place)?;
        fs::write(&place, script)?;
        Ok(fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?)
    }

    /// The named network namespaces.
    ///
    /// # Errors
    ///
    /// Their folder cannot be read.
    pub fn namespaces(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path("/run/netns"))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

impl Drop for Boot<'_> {
    fn drop(&mut self) {
        // The first process takes all others with it (pid_namespaces(7)).
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        let gone = || !Path::new("/proc").join(self.init.to_string()).exists();
        let _ = wait_for("the node's end", Duration::from_secs(60), || Ok(gone().then_some(())));
    }
}

/// Repeats until there is an answer, for as long as this.
///
/// # Errors
///
/// The attempt's own, or there was none in time.
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = attempt()? {
            return Ok(answer);
        }
        if begun.elapsed() > patience {
            bail!("{what}: nothing after {patience:?}");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// SIGKILL; `false` if the process has ended.
pub(crate) fn kill(process: u32) -> bool {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// A process's only child.
pub(crate) fn child_of(process: u32) -> Result<Option<u32>> {
    let file = format!("/proc/{process}/task/{process}/children");
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => Ok(text?.split_whitespace().next().map(str::parse).transpose()?),
    }
}

/// What the first process does: mounts, then collects the dead until its input ends.
fn script(node: &Node, disk: &Disk, id_file: &Path) -> Result<String> {
    let (ours, quoted) = (plugin_dir()?, |path: &Path| format!("'{}'", path.display()));
    let (lib, net_d) = (quoted(&disk.var_lib()), quoted(&disk.net_d()));
    let (id, name) = (quoted(id_file), &node.spec().name);
    // The machine's own /run goes first: a mount that another one hides cannot be looked at, and
    // the plugins free nothing of a node that they cannot see all of.
    let mut script = format!(
        "set -eu\n\
         while umount -R -l /run 2>/dev/null; do :; done\n\
         mkdir -p /etc/cni /dev/shm {PLUGINS}\n\
         for folder in /etc/cni /root /run /dev/shm {PLUGINS}; do mount -t tmpfs tmpfs $folder; done\n\
         mkdir -p /etc/cni/net.d /run/lock /run/netns\n\
         mount --bind {net_d} /etc/cni/net.d\n\
         mount --bind {lib} /var/lib\n\
         echo {name} >/proc/sys/kernel/hostname\n\
         mount --bind {id} /proc/sys/kernel/random/boot_id\n"
    );
    for name in OURS {
        let file = ours.join(name);
        ensure!(file.is_file(), "{} is missing: `cargo build -p {name}`", file.display());
        let _ = writeln!(script, "ln -s {} {PLUGINS}/{name}", quoted(&file));
    }
    for name in OTHERS {
        let _ = writeln!(script, "ln -s {UPSTREAM}/{name} {PLUGINS}/{name}");
    }
    // Not exec: a shell collects orphans that have ended, which a runtime would take for living.
    script.push_str("echo -n .\nwhile read -r line; do :; done\n");
    Ok(script)
}
