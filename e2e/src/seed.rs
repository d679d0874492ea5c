//! The cluster of the user's document (Alibaba Cloud, two nodes, two NICs each), as data.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use ipnet::IpNet;

use crate::description::{
    Cloud, Cluster, Ipv6Subnet, Nat, NicSpec, NodeSpec, OutsideSpec, PodSpec, VSwitch,
};
use crate::mac::Mac;

/// The document's four `SpiderIPPool`s, byte for byte.
pub const POOLS: &str = include_str!("../seed/pools.yaml");

/// A pool of each family for any node and network, with 64 addresses of IPv4 and 100 of IPv6: for
/// tests that only need a node. The lab's cloud knows no IPv6; it carries its frames nowhere.
pub const DUAL_STACK_POOLS: &str = include_str!("../seed/dual.yaml");

/// The document's `kubectl get spiderippool`.
pub const POOLS_TABLE: &str = include_str!("../seed/pools.txt");

/// The document's `kubectl get po -owide`.
pub const PODS_TABLE: &str = include_str!("../seed/pods.txt");

/// The network of the document's test-app-1.
pub const IPVLAN_ETH0: &str = "kube-system/ipvlan-eth0";

/// The network of the document's test-app-2.
pub const IPVLAN_ETH1: &str = "kube-system/ipvlan-eth1";

/// The outside server's address.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));

/// Where the outside server sees masqueraded traffic come from.
pub const NAT_AT_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

/// The outside client's address.
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));

/// What an Ethernet frame holds where a cloud has large ones.
const JUMBO_BYTES: u32 = 9000;

const NAT_AT_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// The cluster in the strict cloud: nodes `master` and `worker`, the four pods of the document
/// and, behind the NAT gateway, the hosts `server` and `client` on documentation networks
/// (RFC 5737).
pub fn cluster() -> Cluster {
    Cluster {
        vswitches: vec![
            vswitch("vsw-172", [172, 31, 192, 0], 20, [172, 31, 207, 253]),
            vswitch("vsw-192", [192, 168, 0, 0], 24, [192, 168, 0, 253]),
        ],
        cloud: Cloud::default(),
        nat: Some(Nat {
            inbound: false,
            outside: vec![
                OutsideSpec {
                    name: "server".to_owned(),
                    address: net(SERVER, 24),
                    gateway: NAT_AT_SERVER,
                },
                OutsideSpec {
                    name: "client".to_owned(),
                    address: net(CLIENT, 24),
                    gateway: NAT_AT_CLIENT,
                },
            ],
        }),
        nodes: vec![node("master", 183, 185, 154, 156), node("worker", 184, 190, 155, 161)],
        pods: vec![
            PodSpec::new("default", "test-app-1-ddlx7", "master", IPVLAN_ETH0),
            PodSpec::new("default", "test-app-1-jpfkj", "worker", IPVLAN_ETH0),
            PodSpec::new("default", "test-app-2-qbhwx", "master", IPVLAN_ETH1),
            PodSpec::new("default", "test-app-2-r6gwx", "worker", IPVLAN_ETH1),
        ],
    }
}

/// The document's node `master` and its first pod alone, without a way out: for tests that need no
/// more.
pub fn one_node() -> Cluster {
    let mut cluster = cluster();
    cluster.nat = None;
    cluster.nodes.truncate(1);
    cluster.pods.truncate(1);
    cluster
}

/// The document's cluster as tests of Services need it: IPv6 as well, forty addresses for pods on
/// each NIC, and in a `VSwitch` of its own a `client`, which is routed to and has no pods. A third
/// node `strict` has the first NIC alone. The NICs' MTUs differ. There are no pods.
pub fn services() -> Cluster {
    let mut cluster = cluster();
    cluster.pods.clear();
    for (vswitch, third) in cluster.vswitches.iter_mut().zip([0x172, 0x192]) {
        vswitch.ipv6 = Some(ipv6_subnet(third));
    }
    let mut vswitch = vswitch("vsw-10", [10, 0, 0, 0], 24, [10, 0, 0, 253]);
    vswitch.ipv6 = Some(ipv6_subnet(0x10));
    cluster.vswitches.push(vswitch);

    let nic = |name: &str, vswitch: &str, octets: [u8; 3], host: u8, mtu_bytes: u32| {
        let [a, b, c] = octets;
        let pods = if vswitch == "vsw-10" { 0 } else { 40 };
        // Blocks of 40 behind the primary addresses 11 to 13.
        let first = 40 * (host - 10);
        let third = match vswitch {
            "vsw-172" => 0x172,
            "vsw-192" => 0x192,
            _ => 0x10,
        };
        let ipv6 = |last: u8| IpAddr::from([0xfd00, third, 0, 0, 0, 0, 0, u16::from(last)]);
        NicSpec {
            name: name.to_owned(),
            mac: Mac([0x00, 0x16, 0x3e, a, c, host]),
            vswitch: vswitch.to_owned(),
            primary: IpAddr::from([a, b, c, host]),
            secondary: (first..first + pods).map(|last| IpAddr::from([a, b, c, last])).collect(),
            ipv6: [host].into_iter().chain(first..first + pods).map(ipv6).collect(),
            mtu_bytes,
        }
    };
    let node = |name: &str, nics: Vec<NicSpec>| NodeSpec {
        name: name.to_owned(),
        nics,
        sysctls: Vec::new(),
    };
    let (n172, n192) = ([172, 31, 199], [192, 168, 0]);
    cluster.nodes = vec![
        node(
            "master",
            vec![
                nic("eth0", "vsw-172", n172, 11, JUMBO_BYTES),
                nic("eth1", "vsw-192", n192, 11, 1500),
            ],
        ),
        node(
            "worker",
            vec![
                nic("eth0", "vsw-172", n172, 12, 1500),
                nic("eth1", "vsw-192", n192, 12, JUMBO_BYTES),
            ],
        ),
        node("strict", vec![nic("eth0", "vsw-172", n172, 13, 1500)]),
        node("client", vec![nic("eth0", "vsw-10", [10, 0, 0], 11, JUMBO_BYTES)]),
    ];
    cluster
}

/// The pools of a cluster's NICs: one of each family for the network `kube-system/ipvlan-NIC`, and
/// on the first NIC one for `kube-system/ipv6-NIC`, the network of pods that have IPv6 alone.
///
/// # Errors
///
/// A NIC names no `VSwitch`.
pub fn pools_of(cluster: &Cluster) -> Result<String> {
    let mut documents = Vec::new();
    for (node, nic) in cluster.nics().filter(|(_, nic)| !nic.secondary.is_empty()) {
        let vswitch = cluster.vswitch(&nic.vswitch)?;
        let mut pool =
            |suffix: &str, subnet: IpNet, gateway: IpAddr, ips: &[IpAddr], kind: &str| {
                let ips: Vec<_> = ips.iter().map(|address| format!("\"{address}\"")).collect();
                documents.push(format!(
                    "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderIPPool\n\
                 metadata: {{name: {}-{}-{suffix}}}\nspec:\n  default: true\n  \
                 subnet: \"{subnet}\"\n  gateway: \"{gateway}\"\n  ips: [{}]\n  \
                 nodeName: [{}]\n  multusName: [kube-system/{kind}-{}]\n",
                    node.name,
                    nic.name,
                    ips.join(", "),
                    node.name,
                    nic.name
                ));
            };
        pool("v4", vswitch.subnet, vswitch.gateway, &nic.secondary, "ipvlan");
        if let (Some(ipv6), Some((_, pods))) = (vswitch.ipv6, nic.ipv6.split_first()) {
            let (alone, dual) = pods.split_at(pods.len() / 4);
            pool("v6", ipv6.subnet, ipv6.gateway, dual, "ipvlan");
            pool("v6-alone", ipv6.subnet, ipv6.gateway, alone, "ipv6");
        }
    }
    Ok(documents.join("---\n"))
}

/// A node whose NICs have the given last octets: the primary address and the first of five
/// secondary ones. Its MACs carry the primary's last octet, behind Alibaba's prefix.
fn node(name: &str, primary: u8, pods: u8, primary_1: u8, pods_1: u8) -> NodeSpec {
    let nic = |nic: &str, vswitch: &str, network: [u8; 3], primary: u8, pods: u8| {
        let [a, b, c] = network;
        let address = |last| IpAddr::from([a, b, c, last]);
        NicSpec {
            name: nic.to_owned(),
            mac: Mac([0x00, 0x16, 0x3e, a, c, primary]),
            vswitch: vswitch.to_owned(),
            primary: address(primary),
            secondary: (pods..pods + 5).map(address).collect(),
            ipv6: Vec::new(),
            mtu_bytes: 1500,
        }
    };
    NodeSpec {
        name: name.to_owned(),
        nics: vec![
            nic("eth0", "vsw-172", [172, 31, 199], primary, pods),
            nic("eth1", "vsw-192", [192, 168, 0], primary_1, pods_1),
        ],
        sysctls: Vec::new(),
    }
}

fn vswitch(name: &str, subnet: [u8; 4], prefix_length: u8, gateway: [u8; 4]) -> VSwitch {
    VSwitch {
        name: name.to_owned(),
        subnet: net(IpAddr::from(subnet), prefix_length),
        gateway: IpAddr::from(gateway),
        ipv6: None,
    }
}

/// A /64 with this number as its second group.
fn ipv6_subnet(group: u16) -> Ipv6Subnet {
    let address = |last| IpAddr::from([0xfd00, group, 0, 0, 0, 0, 0, last]);
    Ipv6Subnet {
        subnet: IpNet::new(address(0), 64).expect("at most 128, for IPv6 addresses"),
        gateway: address(0xfd),
    }
}

fn net(address: IpAddr, prefix_length: u8) -> IpNet {
    IpNet::new(address, prefix_length).expect("at most 32, for IPv4 addresses")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_a_cluster_that_can_be_built() {
        let cluster = cluster();
        cluster.check().unwrap();
        for (_, nic) in cluster.nics() {
            let range = format!("  - {}-{}\n", nic.secondary[0], nic.secondary[4]);
            assert!(POOLS.contains(&range), "no pool has {range}");
            assert!(POOLS.contains(&cluster.vswitch(&nic.vswitch).unwrap().gateway.to_string()));
        }
        for pod in &cluster.pods {
            let row = PODS_TABLE.lines().find(|row| row.contains(&pod.name)).unwrap();
            assert!(row.contains(&pod.node), "{row}");
        }
    }
}
