//! Flows from a pod to a cluster IP, and what else its node carries for it.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use e2e::Meter;
use e2e::kube_proxy::{KubeProxy, Masquerade, TrafficPolicy};
use e2e::peer::{PeerServer, Protocol};
use e2e::wiring::{Coordination, Ingredient};

use crate::flow::{Flow, all_break};
use crate::scene::{ETH0, FAMILIES, Family, IPV6_ALONE, Scene, Wired, coordination, service};

const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Where nodelocaldns listens (its manifest in Kubernetes' cluster/addons/dns).
const NODE_LOCAL_DNS: &str = "169.254.20.10";

/// What Istio marks its own packets with (`INBOUND_TPROXY_MARK` of istio-iptables).
const ISTIO_MARK: u32 = 1337;

#[test]
fn e5_a_pod_reaches_a_pod_of_another_node_by_its_cluster_ip() -> Result<()> {
    let scene = Scene::shared()?;
    let node = scene.node("master")?;
    let (pod, behind) = (scene.pod("master")?, scene.pod("worker")?);
    let cut = scene.pod_without("master", Ingredient::Hijack)?;
    let server = PeerServer::start(&behind.pod)?;
    let elsewhere =
        Masquerade::OutsideOf(vec!["10.233.64.0/18".parse()?, "fd00:10:234::/56".parse()?]);
    let kinds: Vec<_> =
        FAMILIES.into_iter().flat_map(|family| PROTOCOLS.map(|it| (family, it))).collect();
    let flows = |pod: &'_ Wired, masquerade: &Masquerade, work: bool| -> Result<()> {
        let (mut services, mut flows) = (Vec::new(), Vec::new());
        for (family, protocol) in &kinds {
            let endpoint = behind.endpoint("eth0", *family, server.port())?;
            let service = service(*protocol, TrafficPolicy::Cluster, vec![endpoint]);
            let (server, peer) = (service.cluster, scene.address("master", *family)?);
            flows.push(Flow { protocol: *protocol, client: &pod.pod, server, peer });
            services.push(service);
        }
        let _proxy = KubeProxy::start(node, masquerade, &services)?;
        if work {
            return flows.iter().try_for_each(Flow::works);
        }
        all_break(&flows, &format!("{masquerade:?}, hijack"))
    };
    flows(&pod, &Masquerade::All, true)?;
    flows(&pod, &elsewhere, true)?;
    flows(&pod, &Masquerade::HairpinOnly, false)?;
    flows(&cut, &Masquerade::All, false)
}

#[test]
fn e6_a_pod_reaches_itself_by_its_cluster_ip() -> Result<()> {
    let scene = Scene::shared()?;
    let node = scene.node("master")?;
    let needed = [None, Some(Ingredient::Hijack), Some(Ingredient::NodeRoutes)];
    for without in needed {
        let pod = scene.wired("master", &[ETH0], &Coordination { without, ..coordination() })?;
        let at_pod = PeerServer::start(&pod.pod)?;
        let (mut services, mut flows) = (Vec::new(), Vec::new());
        for family in FAMILIES {
            let endpoint = pod.endpoint("eth0", family, at_pod.port())?;
            let service = service(Protocol::Tcp, TrafficPolicy::Cluster, vec![endpoint]);
            let (server, peer) = (service.cluster, scene.address("master", family)?);
            flows.push(Flow { protocol: Protocol::Tcp, client: &pod.pod, server, peer });
            services.push(service);
        }
        let _proxy = KubeProxy::start(node, &Masquerade::HairpinOnly, &services)?;
        match without {
            None => flows.iter().try_for_each(Flow::works)?,
            Some(ingredient) => all_break(&flows, &format!("{ingredient:?}"))?,
        }
    }
    Ok(())
}

#[test]
fn e15_a_pod_reaches_the_nodes_local_dns() -> Result<()> {
    let scene = Scene::shared()?;
    let node = scene.node("master")?;
    // Of wider scope it would be the source of what the node sends by a link without address.
    node.ip(&format!("address replace {NODE_LOCAL_DNS}/32 dev lo scope host\n"))?;
    let at_node = PeerServer::start(node)?;
    let server = SocketAddr::new(NODE_LOCAL_DNS.parse()?, at_node.port());
    let (pod, cut) = (scene.pod("master")?, scene.pod_without("master", Ingredient::Hijack)?);
    let protocol = Protocol::Tcp;
    let peer = pod.address(Family::V4)?;
    Flow { protocol, client: &pod.pod, server, peer }.works()?;
    let peer = cut.address(Family::V4)?;
    Flow { protocol, client: &cut.pod, server, peer }.breaks("Hijack")
}

#[test]
fn e15_a_mark_of_the_application_stays() -> Result<()> {
    let scene = Scene::shared()?;
    let mark = ISTIO_MARK.to_string();
    let kept = |pod: &Wired| -> Result<bool> {
        let meter = Meter::start(&pod.pod, &["eth0"], &format!("meta mark {mark}"))?;
        let target = scene.address("worker", Family::V4)?.to_string();
        let argv = ["ping", "-n", "-c", "1", "-W", "10", "-m", &mark, &target];
        let said = pod.pod.run(argv)?.success()?;
        ensure!(said.contains("1 received"), "{said}");
        Ok(meter.passed()?["eth0"].sent > 0)
    };
    ensure!(kept(&scene.pod("master")?)?, "the mark is gone");
    let cut = scene.pod_without("master", Ingredient::MarkMask)?;
    ensure!(!kept(&cut)?, "the mark stays without the mask");
    Ok(())
}

#[test]
fn e15_a_pod_with_ipv6_alone_has_every_flow() -> Result<()> {
    let scene = Scene::shared()?;
    let (node, client) = (scene.node("master")?, scene.node("client")?);
    let pod = scene.wired("master", &[IPV6_ALONE], &coordination())?;
    ensure!(pod.address(Family::V4).is_err(), "it has IPv4 as well");
    let (protocol, family) = (Protocol::Tcp, Family::V6);
    let (own, of_node) = (pod.address(family)?, scene.address("master", family)?);
    let (here, at_node) = (PeerServer::start(&pod.pod)?, PeerServer::start(node)?);
    let direct = SocketAddr::new(own, here.port());
    Flow { protocol, client: node, server: direct, peer: of_node }.works()?;
    let server = SocketAddr::new(of_node, at_node.port());
    Flow { protocol, client: &pod.pod, server, peer: own }.works()?;

    let endpoint = pod.endpoint("eth0", family, here.port())?;
    let service = service(protocol, TrafficPolicy::Local, vec![endpoint]);
    let (cluster, port) = (service.cluster, service.node_port.unwrap_or_default());
    let _proxy = KubeProxy::start(node, &Masquerade::All, &[service])?;
    Flow { protocol, client: &pod.pod, server: cluster, peer: of_node }.works()?;
    let (server, peer) = (SocketAddr::new(of_node, port), scene.address("client", family)?);
    Flow { protocol, client, server, peer }.works()?;
    // The other family is there for pods that have it.
    ensure!(scene.wired("master", &[ETH0], &coordination())?.address(Family::V4).is_ok());
    Ok(())
}
