//! Flows to a node's port: from a client of the VPC, another node, a pod, and a load balancer.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use anyhow::{Context, Result, ensure};
use e2e::kube_proxy::{KubeProxy, Masquerade, TrafficPolicy};
use e2e::load_balancer::{self, ClientAddress, LoadBalancer};
use e2e::peer::{PeerServer, Protocol};
use e2e::wiring::{Coordination, Ingredient};
use e2e::{Capture, seed};

use crate::flow::{Flow, PATIENCE, Way, all_break};
use crate::scene::{ETH0, FAMILIES, Family, Scene, Wired, coordination, service};

/// What the answer to a node port with policy Local needs.
const NEEDED: [Ingredient; 3] = [Ingredient::Marks, Ingredient::RouteChain, Ingredient::MarkRule];

/// A pod behind a node port of policy Local, in each family.
struct Behind<'a> {
    scene: &'a Scene,
    protocol: Protocol,
    pod: &'a Wired,
    server: PeerServer<'a>,
    ports: [u16; 2],
    _proxy: KubeProxy<'a>,
}

impl<'a> Behind<'a> {
    fn start(scene: &'a Scene, pod: &'a Wired, protocol: Protocol) -> Result<Self> {
        let server = PeerServer::start(&pod.pod)?;
        let services = FAMILIES.map(|family| -> Result<_> {
            let endpoint = pod.endpoint("eth0", family, server.port())?;
            Ok(service(protocol, TrafficPolicy::Local, vec![endpoint]))
        });
        let services = services.into_iter().collect::<Result<Vec<_>>>()?;
        let ports = [0, 1].map(|it| services[it].node_port.unwrap_or_default());
        let proxy = KubeProxy::start(scene.node("master")?, &Masquerade::All, &services)?;
        Ok(Self { scene, protocol, pod, server, ports, _proxy: proxy })
    }

    /// From this client, whose address the pod must see.
    fn flow<'b>(&self, client: &'b e2e::Namespace, peer: IpAddr) -> Result<Flow<'b>> {
        let family = if peer.is_ipv4() { Family::V4 } else { Family::V6 };
        let port = self.ports[usize::from(peer.is_ipv6())];
        let server = SocketAddr::new(self.scene.address("master", family)?, port);
        Ok(Flow { protocol: self.protocol, client, server, peer })
    }

    fn answers(&self) -> Result<Way<'a>> {
        Way::of_answers(self.pod, self.protocol, self.server.port())
    }
}

/// A client of the VPC asks, is seen by the pod, hears from the node, and by the veth.
fn keeps_the_clients_address(protocol: Protocol) -> Result<()> {
    let scene = Scene::shared()?;
    let client = scene.node("client")?;
    let pod = scene.pod("master")?;
    let behind = Behind::start(&scene, &pod, protocol)?;
    for family in FAMILIES {
        let answers = behind.answers()?;
        behind.flow(client, scene.address("client", family)?)?.works()?;
        answers.only_by_the_veth()?;
    }
    for ingredient in NEEDED {
        let pod = scene.pod_without("master", ingredient)?;
        let behind = Behind::start(&scene, &pod, protocol)?;
        let flow = |family| behind.flow(client, scene.address("client", family)?);
        let flows: Result<Vec<_>> = FAMILIES.into_iter().map(flow).collect();
        all_break(&flows?, &format!("{ingredient:?}"))?;
    }
    Ok(())
}

#[test]
fn e7_a_node_port_of_policy_local_keeps_the_clients_address_over_tcp() -> Result<()> {
    keeps_the_clients_address(Protocol::Tcp)
}

#[test]
fn e8_a_node_port_of_policy_local_keeps_the_clients_address_over_udp() -> Result<()> {
    keeps_the_clients_address(Protocol::Udp)
}

/// The same by another look: the frames on the veth.
#[test]
fn e7_the_answers_are_seen_on_the_veth() -> Result<()> {
    let scene = Scene::shared()?;
    let (client, pod) = (scene.node("client")?, scene.pod("master")?);
    let behind = Behind::start(&scene, &pod, Protocol::Tcp)?;
    let port = behind.server.port();
    let mut capture = Capture::start(&pod.pod, "veth0", &format!("tcp port {port}"))?;
    let peer = scene.address("client", Family::V4)?;
    behind.flow(client, peer)?.works()?;
    let own = pod.address(Family::V4)?;
    capture.wait_for(&[&format!("{own}.{port} > {peer}."), "Flags [S.]"], PATIENCE)?;
    Ok(())
}

#[test]
fn e9_other_nodes_and_pods_of_the_node_keep_their_address_too() -> Result<()> {
    let scene = Scene::shared()?;
    let (worker, neighbour) = (scene.node("worker")?, scene.pod("master")?);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for without in [None, Some(Ingredient::Marks)] {
            let pod =
                scene.wired("master", &[ETH0], &Coordination { without, ..coordination() })?;
            let behind = Behind::start(&scene, &pod, protocol)?;
            let mut flows = Vec::new();
            for family in FAMILIES {
                flows.push(behind.flow(worker, scene.address("worker", family)?)?);
                flows.push(behind.flow(&neighbour.pod, neighbour.address(family)?)?);
            }
            match without {
                None => flows.iter().try_for_each(Flow::works)?,
                Some(ingredient) => all_break(&flows, &format!("{ingredient:?}"))?,
            }
        }
    }
    Ok(())
}

#[test]
fn a_node_port_of_policy_cluster_shows_the_node_that_was_asked() -> Result<()> {
    let scene = Scene::shared()?;
    let client = scene.node("client")?;
    // Marks are for policy Local alone.
    let pod = scene.pod_without("master", Ingredient::Marks)?;
    let server = PeerServer::start(&pod.pod)?;
    for family in FAMILIES {
        let protocol = Protocol::Tcp;
        let endpoint = pod.endpoint("eth0", family, server.port())?;
        let service = service(protocol, TrafficPolicy::Cluster, vec![endpoint]);
        let port = service.node_port.unwrap_or_default();
        for name in ["master", "worker"] {
            let services = std::slice::from_ref(&service);
            let _proxy = KubeProxy::start(scene.node(name)?, &Masquerade::HairpinOnly, services)?;
            let peer = scene.address(name, family)?;
            Flow { protocol, client, server: SocketAddr::new(peer, port), peer }.works()?;
        }
    }
    Ok(())
}

#[test]
fn a_node_without_endpoint_answers_nobody_under_policy_local() -> Result<()> {
    let scene = Scene::shared()?;
    let (client, pod) = (scene.node("client")?, scene.pod("master")?);
    let server = PeerServer::start(&pod.pod)?;
    let endpoint = pod.endpoint("eth0", Family::V4, server.port())?;
    let service = service(Protocol::Tcp, TrafficPolicy::Local, vec![endpoint]);
    let address = scene.address("worker", Family::V4)?;
    let asked = SocketAddr::new(address, service.node_port.unwrap_or_default());
    let worker = scene.node("worker")?;
    let _proxy = KubeProxy::start(worker, &Masquerade::All, std::slice::from_ref(&service))?;
    let peer = scene.address("client", Family::V4)?;
    let (protocol, server) = (Protocol::Tcp, asked);
    Flow { protocol, client, server, peer }.breaks("an endpoint on the node")?;
    // But the node itself asks the Service, wherever its endpoints are.
    Flow { protocol, client: worker, server, peer: address }.works()
}

#[test]
fn a_load_balancer_in_front_keeps_the_clients_address_or_not() -> Result<()> {
    let scene = Scene::shared()?;
    let outside = scene.lab.outside("client")?;
    let pod = scene.pod("master")?;
    let cut = scene.pod_without("master", Ingredient::Marks)?;
    let front = |port| SocketAddrV4::new([203, 0, 113, 80].into(), port);
    let kinds = [
        (ClientAddress::Kept, seed::CLIENT, 1000),
        (ClientAddress::Replaced, load_balancer::SOURCE, 2000),
    ];
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for (kind, peer, port) in kinds {
            for (pod, works) in [(&pod, true), (&cut, false)] {
                let behind = Behind::start(&scene, pod, protocol)?;
                let SocketAddr::V4(target) = behind.flow(outside, peer)?.server else {
                    anyhow::bail!("no IPv4")
                };
                let front = front(port + u16::from(works));
                let _balancer = LoadBalancer::start(&scene.lab, protocol, front, &[target], kind)?;
                let answers = behind.answers()?;
                let flow = Flow { protocol, client: outside, server: front.into(), peer };
                if works {
                    flow.works().with_context(|| format!("{kind:?}"))?;
                    answers.only_by_the_veth()?;
                } else {
                    flow.breaks("Marks")?;
                }
            }
        }
    }
    ensure!(scene.lab.vpc().nic_drops("master", "eth0")?.unknown_mac == 0);
    Ok(())
}
