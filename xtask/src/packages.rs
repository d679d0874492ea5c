//! The Debian packages that each command needs, and their installation.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Packages that one purpose needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    /// What cannot be done without them; shown when they are installed.
    purpose: &'static str,
    /// Each package and the reason it is needed.
    packages: &'static [(&'static str, &'static str)],
}

/// What a virtual machine is started with.
pub(crate) const MACHINE: Group = Group {
    purpose: "the virtual machine",
    packages: &[
        ("qemu-system-x86", "runs the guest"),
        ("busybox-static", "the programs of the initramfs, which holds no libraries"),
        ("kmod", "depmod and modprobe: which module needs which, on the host and in the guest"),
        ("util-linux", "setpriv: the guest ends with the process that started it"),
    ],
};

/// What the namespace tests and the demo call, on the host and in the guest alike.
pub(crate) const NETWORK: Group = Group {
    purpose: "networks in namespaces",
    packages: &[
        ("e2fsprogs", "file systems that the tests fill"),
        ("iperf3", "how much a link carries"),
        ("iproute2", "ip: namespaces, links, addresses, routes; tc: links that take their time"),
        ("nftables", "nft: the cloud's source check and the NAT gateway"),
        ("iputils-ping", "ping: one address reaches another"),
        ("iputils-arping", "arping: who answers for an address, and how soon"),
        ("mount", "mount and umount: a namespace's file with a name of its own"),
        ("strace", "how many system calls a plugin makes"),
        ("tcpdump", "the frames on a link when a test needs to see them"),
        ("util-linux", "unshare and nsenter; setpriv: a plugin that may do less"),
    ],
};

/// Other programs that the tests compare ours with.
pub(crate) const PEERS: Group = Group {
    purpose: "comparisons with other programs",
    packages: &[
        (
            "containernetworking-plugins",
            "host-local: its answers, and it and ipamctl read each other; main plugins over our \
             IPAM, chained plugins behind ours; the rules of CNI",
        ),
        ("iptables", "portmap and firewall start it"),
    ],
};

/// What measures whole processes.
pub(crate) const BENCH: Group = Group {
    purpose: "measurements",
    packages: &[
        ("strace", "how often a program asks the disk to write, and a disk that is slower"),
        ("time", "how much memory a program had resident"),
    ],
};

/// Container runtimes that start pods with the plugins.
pub(crate) const RUNTIMES: Group = Group {
    purpose: "container runtimes",
    packages: &[
        ("busybox-static", "what is in the containers' image"),
        ("conmon", "podman's monitor of a container"),
        ("containerd", "a runtime of Kubernetes, with its CRI plugin and ctr"),
        ("crun", "starts podman's containers"),
        ("iptables", "what upstream's portmap calls"),
        ("podman", "a runtime without a daemon"),
        ("runc", "starts containerd's containers"),
    ],
};

/// What the fuzz targets are compiled with.
pub(crate) const FUZZ: Group = Group {
    purpose: "the fuzz targets",
    packages: &[("g++", "libFuzzer is C++ and compiled by libfuzzer-sys")],
};

/// Installs the packages of `groups` that are missing, and says so on stderr.
///
/// # Errors
/// Without root, names the packages to install by hand. Otherwise what apt-get answered.
pub(crate) fn ensure(groups: &[Group]) -> Result<()> {
    let wanted: BTreeSet<&str> =
        groups.iter().flat_map(|group| group.packages).map(|(name, _)| *name).collect();
    let missing = missing_of(&wanted, &installed(&wanted)?);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !rustix::process::geteuid().is_root() {
        bail!("missing Debian packages; run as root, or install them: apt-get install {names}");
    }
    for group in groups {
        for (name, reason) in group.packages {
            if missing.contains(name) {
                eprintln!("xtask: installing {name} for {}: {reason}", group.purpose);
            }
        }
    }
    if !all_known_to_apt(&missing)? {
        update()?;
    }
    if install(&missing).is_err() {
        // The lists may name versions that the archive has replaced since.
        update()?;
        install(&missing)?;
    }
    let still_missing = missing_of(&wanted, &installed(&wanted)?);
    if !still_missing.is_empty() {
        bail!("apt-get succeeded, yet dpkg does not list: {}", still_missing.join(" "));
    }
    Ok(())
}

/// Fetches apt's package lists.
pub(crate) fn update() -> Result<()> {
    eprintln!("xtask: apt-get update");
    workspace::run(apt_get().args(["-qq", "update"]))
}

/// apt-get that asks nothing and prints to stderr only.
pub(crate) fn apt_get() -> Command {
    let mut apt_get = Command::new("apt-get");
    // Without a terminal of its own dpkg shows no progress bars, which would fill a log.
    apt_get.args(["-o", "Dpkg::Use-Pty=0"]);
    apt_get.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    // stdout belongs to the command that xtask runs in the end.
    apt_get.stdout(std::io::stderr());
    apt_get
}

fn install(packages: &[&str]) -> Result<()> {
    workspace::run(
        apt_get().args(["-qq", "-y", "--no-install-recommends", "install"]).args(packages),
    )
}

fn all_known_to_apt(packages: &[&str]) -> Result<bool> {
    let output = output_of(Command::new("apt-cache").arg("policy").args(packages))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(candidates(&text) == packages.len())
}

/// How many packages in the text of `apt-cache policy` have a version that can be installed.
fn candidates(policy: &str) -> usize {
    policy
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Candidate: "))
        .filter(|version| *version != "(none)")
        .count()
}

/// Which of `wanted` dpkg has installed.
fn installed(wanted: &BTreeSet<&str>) -> Result<BTreeSet<String>> {
    // Status 1 only says that some package is unknown; the others are listed all the same.
    let output = output_of(
        Command::new("dpkg-query")
            .args(["--show", "--showformat", "${db:Status-Status} ${Package}\n"])
            .args(wanted),
    )?;
    Ok(installed_in(&String::from_utf8_lossy(&output.stdout)))
}

/// The packages with status `installed` in lines of `STATUS PACKAGE`.
fn installed_in(listing: &str) -> BTreeSet<String> {
    listing
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(status, _)| *status == "installed")
        .map(|(_, package)| package.to_owned())
        .collect()
}

fn missing_of<'a>(wanted: &BTreeSet<&'a str>, installed: &BTreeSet<String>) -> Vec<&'a str> {
    wanted.iter().copied().filter(|name| !installed.contains(*name)).collect()
}

fn output_of(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| {
        format!(
            "cannot start `{}`: xtask installs what it needs on Debian and its derivatives only",
            command.get_program().display()
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    #[test]
    fn removed_but_configured_packages_count_as_missing() {
        let wanted = BTreeSet::from(["kmod", "nftables", "tcpdump"]);
        let listing = "installed kmod\nconfig-files nftables\nnot-installed tcpdump\n";
        assert_eq!(missing_of(&wanted, &installed_in(listing)), ["nftables", "tcpdump"]);
    }

    #[test]
    fn nothing_is_missing_when_all_is_installed() {
        let wanted = BTreeSet::from(["kmod"]);
        assert!(missing_of(&wanted, &installed_in("installed kmod\n")).is_empty());
    }

    #[test]
    fn a_package_without_candidate_asks_for_an_update() {
        let policy = "kmod:\n  Installed: (none)\n  Candidate: 30\nodd:\n  Candidate: (none)\n";
        assert_eq!(candidates(policy), 1);
        assert_eq!(candidates(""), 0);
    }

    #[test]
    fn every_program_that_the_tests_start_is_in_a_package() {
        // Debian's essential packages are never missing.
        let essential = [
            "bash",
            "chmod",
            "env",
            "gzip",
            "mkfifo",
            "sha256sum",
            "sleep",
            "tar",
            "timeout",
            "unshare",
        ];
        let packages = [
            ("/usr/lib/cni/host-local", "containernetworking-plugins"),
            ("arping", "iputils-arping"),
            ("bridge", "iproute2"),
            ("ip", "iproute2"),
            ("iperf3", "iperf3"),
            ("mkfs.ext4", "e2fsprogs"),
            ("mount", "mount"),
            ("nft", "nftables"),
            ("nsenter", "util-linux"),
            ("ping", "iputils-ping"),
            ("tc", "iproute2"),
            ("tcpdump", "tcpdump"),
            ("umount", "mount"),
        ];
        let mut files = Vec::new();
        for folder in ["e2e/src", "e2e/tests", "cni-net/tests", "ipamctl/src"] {
            rust_files(&workspace::root().join(folder), &mut files);
        }
        let programs: BTreeSet<String> = files
            .iter()
            .flat_map(|file| programs_in(&std::fs::read_to_string(file).unwrap()))
            .filter(|program| !essential.contains(&program.as_str()))
            .collect();
        for known in ["arping", "ip", "/usr/lib/cni/host-local"] {
            assert!(programs.contains(known), "{programs:?}");
        }
        let groups = [NETWORK, PEERS, RUNTIMES];
        let groups = groups.iter().flat_map(|group| group.packages);
        let installed: BTreeSet<&str> = groups.map(|(name, _)| *name).collect();
        for program in &programs {
            let package = packages.iter().find(|(name, _)| name == program);
            let (_, package) = package.unwrap_or_else(|| panic!("{program} is of no package"));
            let listed = installed.contains(package);
            assert!(listed, "{program}: {package} is not installed");
        }
    }

    fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rust_files(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }

    /// The literal program names in a source text: where a command begins as the tests write it.
    fn programs_in(source: &str) -> Vec<String> {
        let starts =
            ["Command::new(\"", "run([\"", "batch(\"", "let list = [\"", "let mut argv = vec![\""];
        let after = |start: &'static str| source.split(start).skip(1);
        let names = starts.iter().flat_map(|start| after(start));
        names.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
    }

    #[test]
    fn every_package_has_a_reason() {
        for group in [MACHINE, NETWORK, PEERS, RUNTIMES, BENCH, FUZZ] {
            assert!(!group.packages.is_empty());
            assert!(group.packages.iter().all(|(_, reason)| !reason.is_empty()));
        }
    }
}
