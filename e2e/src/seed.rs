//! The cluster of the user's document (Alibaba Cloud, two nodes, two NICs each), as data.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::description::{Cloud, Cluster, Nat, NicSpec, NodeSpec, OutsideSpec, PodSpec, VSwitch};
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
