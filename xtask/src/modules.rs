//! The kernel modules of the guest, in an order in which each finds what it needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Loaded before the guest has any file system but the initramfs, each with its reason.
///
/// The rest is loaded by the kernel on demand: the guest has the whole module tree and modprobe.
/// The networking ones are here all the same because modprobe over 9p takes far longer.
pub(crate) const WANTED: &[(&str, &str)] = &[
    ("virtio_pci", "every device of the machine"),
    ("virtio_console", "the channels for output and exit status"),
    ("9pnet_virtio", "the host's file system"),
    ("9p", "the host's file system"),
    ("overlay", "lets the guest write where the host is read-only"),
    ("af_packet", "packet sockets: ARP of the lab's cloud, tcpdump"),
    ("ipvlan", "what the host kernel lacks"),
    ("macvlan", "what ipvlan is compared with"),
    ("veth", "NICs of the lab's nodes"),
    ("bridge", "the lab's switch"),
    ("8021q", "VLAN NICs"),
    ("nf_tables", "the cloud's source check and NAT"),
    ("nf_conntrack", "NAT and stateful rules"),
    ("nf_conntrack_bridge", "stateful rules on the switch"),
    ("nft_ct", "rules by connection state"),
    ("nft_nat", "address translation"),
    ("nft_masq", "translation to the gateway's own address"),
    ("nft_chain_nat", "chains of type nat"),
    ("nft_fib_inet", "the lab's kube-proxy hears the node's own addresses"),
    ("nft_numgen", "the lab's kube-proxy chooses an endpoint"),
    ("nft_meta_bridge", "rules by bridge port"),
    ("nft_reject_bridge", "rules that answer on the switch"),
    ("nft_compat", "rules of iptables: portmap, firewall"),
    ("xt_comment", "what portmap and firewall write on their rules"),
    ("xt_conntrack", "firewall lets answers in"),
    ("xt_MASQUERADE", "portmap for a pod that asks its own port"),
    ("xt_mark", "portmap marks what is to be masqueraded"),
    ("xt_multiport", "portmap's ports"),
    ("xt_nat", "portmap's way to the pod"),
    ("xt_addrtype", "portmap hears the node's own addresses"),
    ("sch_netem", "a neighbour that answers late"),
    ("sch_tbf", "the bandwidth plugin's limit"),
    ("sch_ingress", "bandwidth out of a pod: where it is caught"),
    ("cls_u32", "bandwidth out of a pod: all of it"),
    ("act_mirred", "bandwidth out of a pod: where it is led"),
    ("ifb", "bandwidth out of a pod: where it is held"),
];

/// The module files to load, dependencies first, each once.
///
/// `root` is the folder that holds `lib/modules/VERSION`.
///
/// # Errors
/// If a module is not in the tree: then the tree is broken, or the kernel has dropped it.
pub(crate) fn load_order(root: &Path, version: &str) -> Result<Vec<PathBuf>> {
    let output = Command::new("modprobe")
        .arg("-d")
        .arg(root)
        .args(["-S", version, "--all", "--show-depends"])
        .args(WANTED.iter().map(|(name, _)| name))
        .stdin(Stdio::null())
        .output()
        .context("cannot start modprobe")?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!("a wanted module is missing below {}: {}", root.display(), reason.trim());
    }
    files_in(&String::from_utf8_lossy(&output.stdout))
}

/// The module files named by `modprobe --show-depends`, first mention only.
fn files_in(show_depends: &str) -> Result<Vec<PathBuf>> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for line in show_depends.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(' ') {
            Some(("builtin", _)) => {}
            Some(("insmod", file)) => {
                // Options after the file come from the host's modprobe.d, which is not ours.
                let file =
                    file.split_once(".ko ").map_or(file, |(stem, _)| &file[..stem.len() + 3]);
                if seen.insert(file.to_owned()) {
                    files.push(PathBuf::from(file));
                }
            }
            _ => bail!("modprobe --show-depends printed an unknown line: {line:?}"),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_comes_once_and_at_its_first_place() {
        let text = "insmod /m/ring.ko \ninsmod /m/virtio.ko \nbuiltin af_packet\n\
                    insmod /m/ring.ko \ninsmod /m/9p.ko \n";
        let files = files_in(text).unwrap();
        assert_eq!(files, ["/m/ring.ko", "/m/virtio.ko", "/m/9p.ko"].map(PathBuf::from));
    }

    #[test]
    fn module_options_are_not_part_of_the_file() {
        assert_eq!(
            files_in("insmod /m/dummy.ko numdummies=0\n").unwrap(),
            [Path::new("/m/dummy.ko")]
        );
    }

    #[test]
    fn an_unknown_line_is_an_error() {
        assert!(files_in("install /bin/true\n").unwrap_err().to_string().contains("/bin/true"));
    }
}
