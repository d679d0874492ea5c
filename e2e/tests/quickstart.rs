//! The commands of docs/quickstart.md, as they stand there, on a node of the lab's cloud with real
//! ipvlan. As root.
//!
//! What a machine of the lab has in the place of others': an image of its own, for there is no
//! registry; `systemctl`, for there is no systemd; and an `ipamctl` that is told that the node is a
//! container.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::ecs::Ecs;
use e2e::metadata::Dialect;
use e2e::runtimes::lease::leases;
use e2e::runtimes::setting::{NODE, OTHER_NODE};
use e2e::runtimes::{Boot, Containerd, Disk, IMAGE, Image, PodSandboxConfig};
use e2e::{Lab, Node, plugin_dir, seed};

const DOCUMENT: &str = include_str!("../../docs/quickstart.md");

/// The image that the document names.
const THEIRS: &str = "docker.io/library/busybox";

/// What a test machine needs of podman: there is no systemd, and overlay mounts do not work over
/// the machine's own.
const CONTAINERS_CONF: &str = "[engine]\ncgroup_manager = \"cgroupfs\"\n\
    events_logger = \"file\"\nruntime = \"crun\"\n";
const STORAGE_CONF: &str = "[storage]\ndriver = \"vfs\"\n\
    runroot = \"/run/containers/storage\"\ngraphroot = \"/var/lib/containers/storage\"\n";

/// The blocks of commands below a heading, up to the next one.
fn blocks(heading: &str) -> Result<Vec<String>> {
    let mut lines = DOCUMENT.lines().skip_while(|line| *line != heading);
    lines.next().with_context(|| format!("docs/quickstart.md has no {heading:?}"))?;
    let (mut blocks, mut block) = (Vec::new(), None::<String>);
    for line in lines {
        match &mut block {
            Some(text) if line == "```" => {
                blocks.push(std::mem::take(text));
                block = None;
            }
            Some(text) => {
                text.push_str(line);
                text.push('\n');
            }
            None if line == "```sh" => block = Some(String::new()),
            None if line.starts_with('#') => break,
            None => {}
        }
    }
    ensure!(!blocks.is_empty(), "no commands below {heading:?}");
    Ok(blocks)
}

/// A new user's machine: a node with the programs in place.
struct Machine<'lab> {
    boot: Boot<'lab>,
}

impl<'lab> Machine<'lab> {
    fn start(node: &'lab Node, cloud: &Ecs<'_>) -> Result<Self> {
        let machine = Self { boot: Boot::start(node, &Disk::of(node)?)? };
        machine.shell(&format!(
            "{}\n\
             mkdir -p /run/containers-etc /run/bin /etc/containerd\n\
             cp -a /etc/containers/. /run/containers-etc\n\
             mount --bind /run/containers-etc /etc/containers\n\
             mount -t tmpfs tmpfs /etc/containerd\n",
            cloud.firmware()?
        ))?;
        machine.write("/etc/containers/containers.conf", CONTAINERS_CONF)?;
        machine.write("/etc/containers/storage.conf", STORAGE_CONF)?;
        // What `cargo xtask install` puts there, but for what a boot has already.
        let example = include_str!("../../examples/10-node-ipam.conflist");
        machine.write("/opt/cni/bin/10-node-ipam.conflist", example)?;
        let ipamctl = plugin_dir()?.join("ipamctl");
        let script = format!(
            "#!/bin/bash\ncase $1 in sync | apply) set -- \"$@\" --node-in-container ;; esac\n\
             exec '{}' \"$@\"\n",
            ipamctl.display()
        );
        machine.program("/opt/cni/bin/ipamctl", &script)?;
        machine.program("/run/bin/systemctl", "#!/bin/bash\necho \"$@\" >>/run/systemctl\n")?;
        Ok(machine)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        fs::write(self.boot.path(path), text).with_context(|| path.to_owned())
    }

    fn program(&self, path: &str, text: &str) -> Result<()> {
        self.write(path, text)?;
        Ok(fs::set_permissions(self.boot.path(path), fs::Permissions::from_mode(0o755))?)
    }

    /// Commands as a person types them; what they print.
    fn shell(&self, commands: &str) -> Result<String> {
        let path = "PATH=/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let snapshotter = "CONTAINERD_SNAPSHOTTER=native";
        let outcome = self.boot.run(["env", path, snapshotter, "bash", "-euc", commands])?;
        outcome.success().with_context(|| commands.to_owned())
    }

    /// The commands below a heading; what each block printed.
    fn follow(&self, heading: &str) -> Result<Vec<String>> {
        blocks(heading)?.iter().map(|block| self.shell(block)).collect()
    }
}

/// The document's commands with the lab's image: what is pulled there is loaded here.
fn with_image(block: &str, archive: &Path) -> String {
    let latest = format!("{THEIRS}:latest");
    let of_line = |line: &str| {
        if line.starts_with("ctr image pull ") {
            return format!("ctr image import {}\n", archive.display());
        }
        format!("{}\n", line.replace(&latest, IMAGE).replace(THEIRS, IMAGE))
    };
    block.lines().map(of_line).collect()
}

/// The programs are built and put in place by tests of their own.
#[test]
fn no_command_but_those_that_build_is_left_out() -> Result<()> {
    let followed = ["### Alibaba Cloud or AWS", "### Bare metal", "## A network", "## podman"];
    let mut count = blocks("## Programs")?.len() + blocks("## containerd")?.len();
    for heading in followed {
        count += blocks(heading)?.len();
    }
    ensure!(
        DOCUMENT.matches("```sh\n").count() == count
            && DOCUMENT.matches("```").count() == 2 * count
    );
    Ok(())
}

#[test]
fn a_new_user_gets_by_the_document_alone_to_containers_of_podman_and_containerd() -> Result<()> {
    let mut cluster = seed::cluster();
    cluster.pods.clear();
    let lab = Lab::start(&cluster)?;
    let cloud = Ecs::start(&lab, Dialect::Alibaba)?;
    let machine = Machine::start(lab.node(NODE)?, &cloud)?;
    let (image, other) = (Image::make()?, lab.node(OTHER_NODE)?);
    let archive = image.archive();

    let given = cloud.nic(NODE, "eth0")?.secondary;
    let pools = machine.follow("### Alibaba Cloud or AWS")?.concat();
    ensure!(pools.contains(&format!("  + {}-{} added\n", given[0], given[4])), "{pools}");
    machine.follow("## A network")?;

    let podman = blocks("## podman")?;
    let [run, remove] = podman.as_slice() else { anyhow::bail!("two blocks: {podman:?}") };
    machine.shell(&format!("podman load -q -i {}", archive.display()))?;
    let shown = machine.shell(&with_image(run, &archive))?;
    ensure!(shown.contains(&format!("inet {}/20 ", given[0])), "{shown}");
    ensure!(shown.contains("cloud-00163eacc7b7-172.31.192.0-20"), "a pool by sync: {shown}");
    ensure!(other.ping(given[0], 2)?.all_received(), "{shown}");
    machine.shell(remove)?;
    ensure!(leases(&machine.boot)?.is_empty(), "{:?}", leases(&machine.boot)?);

    let containerd = blocks("## containerd")?;
    let [configure, run] = containerd.as_slice() else { anyhow::bail!("two: {containerd:?}") };
    machine.shell(configure)?;
    let asked = fs::read_to_string(machine.boot.path("/run/systemctl"))?;
    ensure!(asked == "restart containerd\n", "{asked}");
    let conf = fs::read_to_string(machine.boot.path("/etc/containerd/config.toml"))?;
    let service = Containerd::start_configured(&machine.boot, &conf)?;
    let shown = machine.shell(&with_image(run, &archive))?;
    // The last address rests.
    ensure!(shown.contains(&format!("inet {}/20 ", given[1])), "{shown}");
    ensure!(leases(&machine.boot)?.is_empty(), "{:?}", leases(&machine.boot)?);

    // What the kubelet does.
    service.import(&image)?;
    let cri = service.cri();
    let sandbox = cri.run_pod_sandbox(&PodSandboxConfig::new("web-0"))?;
    ensure!(cri.addresses(&sandbox)? == [given[2].to_string()], "{:?}", leases(&machine.boot)?);
    ensure!(other.ping(given[2], 2)?.all_received());
    cri.end_pod_sandbox(&sandbox)?;
    ensure!(leases(&machine.boot)?.is_empty(), "{:?}", leases(&machine.boot)?);
    drop(service);

    let rack = Machine::start(other, &cloud)?;
    let pools = rack.follow("### Bare metal")?.concat();
    ensure!(pools.contains("pool/rack-7 created") && pools.contains("192.168.7.0/24"), "{pools}");
    Ok(())
}
