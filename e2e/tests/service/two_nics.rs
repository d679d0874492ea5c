//! Pods with two NICs, whichever has the default route.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use e2e::kube_proxy::{KubeProxy, Masquerade, TrafficPolicy};
use e2e::peer::{PeerServer, Protocol};
use e2e::wiring::{Coordination, Ingredient};

use crate::flow::Flow;
use crate::scene::{ETH0, ETH1, FAMILIES, Family, INTERFACES, Scene, Wired, coordination, service};

const PROTOCOL: Protocol = Protocol::Tcp;

fn pod(scene: &Scene, default: Option<&str>, without: Option<Ingredient>) -> Result<Wired> {
    let default_route_nic = default.map(str::to_owned);
    let coordination = Coordination { default_route_nic, without, ..coordination() };
    scene.wired("master", &[ETH0, ETH1], &coordination)
}

/// From the client to a node port of policy Local in front of one of the pod's addresses.
fn by_node_port(
    scene: &Scene,
    pod: &Wired,
    interface: &str,
    family: Family,
    act: impl FnOnce(Flow<'_>) -> Result<()>,
) -> Result<()> {
    let server = PeerServer::start(&pod.pod)?;
    let endpoint = pod.endpoint(interface, family, server.port())?;
    let service = service(PROTOCOL, TrafficPolicy::Local, vec![endpoint]);
    let port = service.node_port.unwrap_or_default();
    let node = scene.node("master")?;
    let _proxy = KubeProxy::start(node, &Masquerade::All, &[service])?;
    let server = SocketAddr::new(scene.address("master", family)?, port);
    let peer = scene.address("client", family)?;
    act(Flow { protocol: PROTOCOL, client: scene.node("client")?, server, peer })
}

/// From the client to one of the pod's addresses.
fn direct(
    scene: &Scene,
    pod: &Wired,
    interface: &str,
    family: Family,
    act: impl FnOnce(Flow<'_>) -> Result<()>,
) -> Result<()> {
    let at_pod = PeerServer::start(&pod.pod)?;
    let server = SocketAddr::new(pod.address_on(interface, family)?, at_pod.port());
    let peer = scene.address("client", family)?;
    act(Flow { protocol: PROTOCOL, client: scene.node("client")?, server, peer })
}

#[test]
fn e13_two_nics_with_the_default_route_on_either() -> Result<()> {
    let scene = Scene::shared()?;
    let node = scene.node("master")?;
    let behind = scene.pod("worker")?;
    let at_behind = PeerServer::start(&behind.pod)?;
    for default in [None, Some("eth0"), Some("net1")] {
        let pod = pod(&scene, default, None)?;
        let server = PeerServer::start(&pod.pod)?;
        for (family, interface) in FAMILIES.into_iter().flat_map(|it| INTERFACES.map(|to| (it, to)))
        {
            let said = || format!("default route {default:?}, to {interface}, {family:?}");
            let works = |flow: Flow<'_>| flow.works();
            direct(&scene, &pod, interface, family, works).with_context(said)?;
            by_node_port(&scene, &pod, interface, family, works).with_context(said)?;
            let address = SocketAddr::new(pod.address_on(interface, family)?, server.port());
            let heard = e2e::peer::ask(node, PROTOCOL, address, crate::flow::PATIENCE);
            heard.with_context(said).context("from the node")?;
        }
        for family in FAMILIES {
            let endpoint = behind.endpoint("eth0", family, at_behind.port())?;
            let service = service(PROTOCOL, TrafficPolicy::Cluster, vec![endpoint]);
            let server = service.cluster;
            let _proxy = KubeProxy::start(node, &Masquerade::All, &[service])?;
            let peer = scene.address("master", family)?;
            let flow = Flow { protocol: PROTOCOL, client: &pod.pod, server, peer };
            flow.works().with_context(|| format!("default route {default:?}, to a cluster IP"))?;
        }
    }
    Ok(())
}

/// Behind the rules for sources, the mark's is never asked for the address that such a rule names.
#[test]
fn e13_the_marks_rule_is_the_first() -> Result<()> {
    let scene = Scene::shared()?;
    for (default, interface) in [("eth0", "net1"), ("net1", "eth0")] {
        let pod = pod(&scene, Some(default), Some(Ingredient::MarkRuleFirst))?;
        for family in FAMILIES {
            by_node_port(&scene, &pod, interface, family, |flow| {
                flow.breaks(&format!("MarkRuleFirst, default {default}, {family:?}"))
            })?;
        }
    }
    Ok(())
}

#[test]
fn e13_each_address_leaves_by_its_nic() -> Result<()> {
    let scene = Scene::shared()?;
    let pod = pod(&scene, None, Some(Ingredient::SourceRules))?;
    for family in FAMILIES {
        direct(&scene, &pod, "net1", family, |flow| {
            flow.breaks(&format!("SourceRules {family:?}"))
        })?;
    }
    Ok(())
}
