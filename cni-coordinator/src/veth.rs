//! The pair that joins a container with its node: its names and its MACs, the same for every ADD.

use cni_net::MacAddr;
use ipam_core::Attachment;

/// The end in the pod, the peer's name for it: users and the rules of network managers know it.
pub const POD_END: &str = "veth0";

/// The kind of link that both ends are, as the kernel names it.
pub(crate) const VETH: &str = "veth";

/// The first part of every alias of ours.
pub const ALIAS_PREFIX: &str = "cni-coordinator/";

/// `IFALIASZ` of `linux/if.h`: the size of an alias with its NUL.
const IFALIASZ: usize = 256;

/// How much of a container's id is in the name of a link: with `veth` it fills `IFNAMSIZ`.
const ID_LENGTH: usize = 11;

/// The pair of one container.
///
/// All of it follows from the container's id, so that a second ADD asks for the same pair, and a
/// DEL knows it without a record. A name alone never identifies a link: the alias does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethPair {
    /// The end on the node: `veth` and the first 11 characters of the container's id if these are
    /// hexadecimal digits, as Kubernetes' runtimes choose them, and else of its hash: ids that
    /// people choose begin alike (`web-server-1`, `web-server-2`).
    pub host: String,
    /// The MAC in the pod.
    pub pod_mac: MacAddr,
    /// The MAC on the node.
    pub host_mac: MacAddr,
    /// The alias of the end on the node: `cni-coordinator/CONTAINER/IFNAME`.
    pub alias: String,
}

impl VethPair {
    /// The pair of the container of `attachment`, made for its interface.
    pub fn of(attachment: &Attachment) -> Self {
        let id = attachment.container.as_str();
        let digits = id.get(..ID_LENGTH).filter(|text| {
            text.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
        });
        let host = match digits {
            Some(digits) => format!("veth{digits}"),
            None => format!("veth{:011x}", hash(id, "name") & 0xfff_ffff_ffff),
        };
        Self {
            host,
            pod_mac: mac(id, "pod"),
            host_mac: mac(id, "node"),
            alias: alias(id, attachment.ifname.as_str()),
        }
    }

    /// Whether an alias says that this container has the link, whichever of its interfaces it was
    /// made for.
    pub fn owns(&self, alias: &str) -> bool {
        is_same_container(alias, &self.alias)
    }
}

/// Whether two aliases of links are of one container, for whichever of its interfaces.
pub(crate) fn is_same_container(one: &str, other: &str) -> bool {
    let container = |alias: &str| alias.rsplit_once('/').map(|(left, _)| left.to_owned());
    container(one) == container(other)
}

/// Set explicitly, since the MAC of a link that was given none is changed by systemd-udevd
/// (`MACAddressPolicy` of systemd.link(5)) after the neighbours were told of it.
fn mac(id: &str, end: &str) -> MacAddr {
    let [_, _, mut mac @ ..] = hash(id, end).to_be_bytes();
    // Locally administered, of a single station (IEEE 802: the two low bits of the first byte).
    mac[0] = mac[0] & 0xfc | 0x02;
    MacAddr(mac)
}

fn alias(id: &str, ifname: &str) -> String {
    let alias = format!("{ALIAS_PREFIX}{id}/{ifname}");
    if alias.len() < IFALIASZ {
        return alias;
    }
    format!("{ALIAS_PREFIX}#{:016x}/{ifname}", hash(id, "alias"))
}

/// FNV-1a, 64 bits: these values stay the same in every build to come, for DELs of later versions.
fn hash(id: &str, of: &str) -> u64 {
    let bytes = of.bytes().chain([0]).chain(id.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The last bytes of an id hardly reach the upper bits otherwise (the finaliser of MurmurHash3).
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 33
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pair(container: &str) -> VethPair {
        VethPair::of(&Attachment {
            network: "ipvlan-eth0".parse().unwrap(),
            container: container.parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        })
    }

    #[test]
    fn the_name_is_the_peers_for_a_kubernetes_id() {
        let pair = pair("0123456789abcdef0123");
        assert_eq!(pair.host, "veth0123456789a");
        assert_eq!(pair.alias, "cni-coordinator/0123456789abcdef0123/eth0");
    }

    #[test]
    fn names_that_people_choose_do_not_meet() {
        let names = ["web-server-1", "web-server-2", "short", "WEB", "0123456789A"];
        let hosts: BTreeSet<String> = names.iter().map(|name| pair(name).host).collect();
        assert_eq!(hosts.len(), names.len());
        assert!(hosts.iter().all(|host| host.len() == 15), "{hosts:?}");
    }

    #[test]
    fn macs_are_local_differ_and_stay() {
        let mut seen = BTreeSet::new();
        for n in 0..1000 {
            let pair = pair(&format!("{n:064x}"));
            for mac in [pair.pod_mac, pair.host_mac] {
                assert_eq!(mac.0[0] & 3, 2, "{mac}");
                assert!(seen.insert(mac), "{mac}");
            }
        }
        // A DEL of a later build has to find what this one made.
        let pair = pair("web-server-1");
        assert_eq!(pair.host, "veth58751b3e174");
        assert_eq!(pair.pod_mac.to_string(), "5a:5f:47:8e:a7:9f");
    }

    #[test]
    fn an_alias_tells_containers_apart_by_their_whole_id() {
        let of = pair("0123456789abc");
        assert!(of.owns("cni-coordinator/0123456789abc/net1"));
        for other in
            ["cni-coordinator/0123456789abd/eth0", "cni-coordinator/0123456789abc", "", "x"]
        {
            assert!(!of.owns(other), "{other}");
        }
        let long = pair(&"a".repeat(253));
        assert!(long.alias.len() < IFALIASZ && long.owns(&long.alias));
    }
}
