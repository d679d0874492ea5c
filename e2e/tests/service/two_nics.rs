//! Pods with two NICs, whichever has the default route.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use e2e::kube_proxy::{KubeProxy, Masquerade, Service, TrafficPolicy};
use e2e::peer::{PeerServer, Protocol};
use e2e::wiring::{Coordination, Ingredient};

use crate::flow::{Flow, all_break};
use crate::scene::{ETH0, ETH1, FAMILIES, Family, INTERFACES, Scene, Wired, coordination, service};

fn pod(scene: &Scene, default: Option<&str>, without: Option<Ingredient>) -> Result<Wired> {
    let default_route_nic = default.map(str::to_owned);
    let coordination = Coordination { default_route_nic, without, ..coordination() };
    scene.wired("master", &[ETH0, ETH1], &coordination)
}

/// A flow, and to which of a pod's addresses it leads.
#[derive(Clone, Copy, Debug)]
struct Case<'a> {
    interface: &'static str,
    by_node_port: bool,
    flow: Flow<'a>,
}

/// The flows to a pod's addresses on both NICs: straight from the client and the node, and from
/// the client by node ports of policy Local. With them the Services of those ports.
fn cases<'a>(scene: &'a Scene, pod: &Wired, at_pod: u16) -> Result<(Vec<Case<'a>>, Vec<Service>)> {
    let (node, client) = (scene.node("master")?, scene.node("client")?);
    let (protocol, mut cases, mut services) = (Protocol::Tcp, Vec::new(), Vec::new());
    for (interface, family) in INTERFACES.into_iter().flat_map(|it| FAMILIES.map(|to| (it, to))) {
        let server = SocketAddr::new(pod.address_on(interface, family)?, at_pod);
        let peer = scene.address("client", family)?;
        let mut case = |by_node_port, flow| cases.push(Case { interface, by_node_port, flow });
        case(false, Flow { protocol, client, server, peer });
        let of_node = scene.address("master", family)?;
        // Of a node's IPv6 addresses the kernel takes the one that is nearest (RFC 6724, rule 8).
        let nic = usize::from(family == Family::V6 && interface == "net1");
        let peer_node = scene.nic_address("master", nic, family)?;
        let from_node = Flow { protocol, client: node, server, peer: peer_node };
        case(false, from_node);

        let endpoint = pod.endpoint(interface, family, at_pod)?;
        let service = service(protocol, TrafficPolicy::Local, vec![endpoint]);
        let server = SocketAddr::new(of_node, service.node_port.unwrap_or_default());
        case(true, Flow { protocol, client, server, peer });
        services.push(service);
    }
    Ok((cases, services))
}

#[test]
fn e13_two_nics_with_the_default_route_on_either() -> Result<()> {
    let scene = Scene::shared()?;
    let behind = scene.pod("worker")?;
    let at_behind = PeerServer::start(&behind.pod)?;
    for default in [None, Some("eth0"), Some("net1")] {
        let pod = pod(&scene, default, None)?;
        let at_pod = PeerServer::start(&pod.pod)?;
        let (mut cases, mut services) = cases(&scene, &pod, at_pod.port())?;
        for family in FAMILIES {
            let endpoint = behind.endpoint("eth0", family, at_behind.port())?;
            let service = service(Protocol::Tcp, TrafficPolicy::Cluster, vec![endpoint]);
            let (server, peer) = (service.cluster, scene.address("master", family)?);
            let flow = Flow { protocol: Protocol::Tcp, client: &pod.pod, server, peer };
            let interface = "to a cluster IP";
            cases.push(Case { interface, by_node_port: false, flow });
            services.push(service);
        }
        let _proxy = KubeProxy::start(scene.node("master")?, &Masquerade::All, &services)?;
        for case in cases {
            case.flow.works().with_context(|| format!("default {default:?}, {case:?}"))?;
        }
    }
    Ok(())
}

/// Behind the rules for sources, the mark's is never asked for the address that such a rule names.
#[test]
fn e13_the_marks_rule_is_the_first() -> Result<()> {
    let scene = Scene::shared()?;
    for (default, other) in [("eth0", "net1"), ("net1", "eth0")] {
        let pod = pod(&scene, Some(default), Some(Ingredient::MarkRuleFirst))?;
        let at_pod = PeerServer::start(&pod.pod)?;
        let (cases, services) = cases(&scene, &pod, at_pod.port())?;
        let _proxy = KubeProxy::start(scene.node("master")?, &Masquerade::All, &services)?;
        let broken = cases.iter().filter(|it| it.interface == other && it.by_node_port);
        let broken: Vec<_> = broken.map(|case| case.flow).collect();
        assert_eq!(broken.len(), FAMILIES.len());
        all_break(&broken, &format!("MarkRuleFirst, default {default}"))?;
    }
    Ok(())
}

#[test]
fn e13_each_address_leaves_by_its_nic() -> Result<()> {
    let scene = Scene::shared()?;
    let pod = pod(&scene, None, Some(Ingredient::SourceRules))?;
    let at_pod = PeerServer::start(&pod.pod)?;
    let (cases, _) = cases(&scene, &pod, at_pod.port())?;
    let client = scene.node("client")?.name();
    let from_client = |case: &&Case<'_>| !case.by_node_port && case.flow.client.name() == client;
    let broken = cases.iter().filter(|it| it.interface == "net1").filter(from_client);
    let broken: Vec<_> = broken.map(|case| case.flow).collect();
    assert_eq!(broken.len(), FAMILIES.len());
    all_break(&broken, "SourceRules")
}
