//! Large transfers between links of different MTUs.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use e2e::Namespace;
use e2e::kube_proxy::{KubeProxy, Masquerade, TrafficPolicy};
use e2e::peer::{self, PeerServer, Protocol};
use e2e::wiring::{Coordination, Ingredient};

use crate::flow::{Flow, IMPATIENCE, PATIENCE};
use crate::scene::{ETH0, FAMILIES, Scene, coordination, service};

const TRANSFER_BYTES: usize = 300_000;

/// More than one frame of the smaller MTUs.
const DATAGRAM_BYTES: usize = 6000;

fn transfers(client: &Namespace, server: SocketAddr, expected: IpAddr) -> Result<()> {
    let seen = peer::transfer(client, server, TRANSFER_BYTES, PATIENCE)?;
    ensure!(seen == expected, "{server} sees {seen}, not {expected}");
    Ok(())
}

#[test]
fn e14_large_transfers_pass_links_of_every_mtu() -> Result<()> {
    let scene = Scene::shared()?;
    let (node, client) = (scene.node("master")?, scene.node("client")?);
    let behind = scene.pod("worker")?;
    let (at_behind, at_node) = (PeerServer::start(&behind.pod)?, PeerServer::start(node)?);
    for veth_mtu_bytes in [None, Some(1500), Some(1400)] {
        let coordination = Coordination { veth_mtu_bytes, ..coordination() };
        let pod = scene.wired("master", &[ETH0], &coordination)?;
        let server = PeerServer::start(&pod.pod)?;
        for family in FAMILIES {
            let said = |what: &str| format!("{what}, {family:?}, veth {veth_mtu_bytes:?}");
            let (own, of_node) = (pod.address(family)?, scene.address("master", family)?);
            let pods = SocketAddr::new(own, server.port());
            transfers(node, pods, of_node).with_context(|| said("node to pod"))?;
            let datagram = peer::send_datagram(node, pods, DATAGRAM_BYTES, PATIENCE);
            datagram.with_context(|| said("datagram to pod"))?;
            let nodes = SocketAddr::new(of_node, at_node.port());
            transfers(&pod.pod, nodes, own).with_context(|| said("pod to node"))?;

            let local = pod.endpoint("eth0", family, server.port())?;
            let local = service(Protocol::Tcp, TrafficPolicy::Local, vec![local]);
            let remote = behind.endpoint("eth0", family, at_behind.port())?;
            let remote = service(Protocol::Tcp, TrafficPolicy::Cluster, vec![remote]);
            let asked = SocketAddr::new(of_node, local.node_port.unwrap_or_default());
            let cluster = remote.cluster;
            let _proxy = KubeProxy::start(node, &Masquerade::All, &[local, remote])?;
            let of_client = scene.address("client", family)?;
            transfers(client, asked, of_client).with_context(|| said("client to node port"))?;
            transfers(&pod.pod, cluster, of_node).with_context(|| said("pod to cluster IP"))?;
        }
    }
    Ok(())
}

#[test]
fn e14_both_ends_of_the_veth_have_one_mtu() -> Result<()> {
    let scene = Scene::shared()?;
    let without = Some(Ingredient::NodeMtu);
    let coordination = Coordination { veth_mtu_bytes: Some(1500), without, ..coordination() };
    let pod = scene.wired("master", &[ETH0], &coordination)?;
    let server = PeerServer::start(&pod.pod)?;
    let node = scene.node("master")?;
    for family in FAMILIES {
        let address = SocketAddr::new(pod.address(family)?, server.port());
        let peer = scene.address("master", family)?;
        Flow { protocol: Protocol::Udp, client: node, server: address, peer }.works()?;
        let large = peer::send_datagram(node, address, DATAGRAM_BYTES, IMPATIENCE);
        ensure!(large.is_err(), "{family:?}: {large:?}");
    }
    Ok(())
}
