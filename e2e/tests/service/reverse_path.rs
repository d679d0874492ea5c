//! Reverse path filtering: as the node and a new namespace have it, and as the wiring leaves it.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use e2e::kube_proxy::{KubeProxy, Masquerade, TrafficPolicy};
use e2e::peer::{PeerServer, Protocol};
use e2e::wiring::{Coordination, Ingredient};

use crate::flow::Flow;
use crate::scene::{ETH0, Family, Scene, Wired, coordination, service, without};

/// No filter, strict, loose (Linux `Documentation/networking/ip-sysctl.rst`).
const VALUES: [&str; 3] = ["0", "1", "2"];

/// The node whose filter is turned: no other test has pods there.
const NODE: &str = "strict";

/// A pod whose namespace has this filter when the runtime makes it.
fn pod(scene: &Scene, value: &str, coordination: &Coordination) -> Result<Wired> {
    scene.wired_after(NODE, &[ETH0], coordination, |pod| {
        // As it inherits it: a new namespace copies both from the first one of the machine
        // (`devinet_init_net` in net/ipv4/devinet.c), which is not the lab's to change.
        for name in ["all", "default"] {
            pod.sysctl(&format!("ipv4/conf/{name}/rp_filter"), value)?;
        }
        Ok(())
    })
}

#[test]
fn e12_a_node_port_of_policy_local_works_with_every_filter() -> Result<()> {
    let scene = Scene::shared()?;
    let (node, client) = (scene.node(NODE)?, scene.node("client")?);
    for (of_pod, is_left) in VALUES.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let coordination =
            if is_left { without(Ingredient::ReversePathFilter) } else { coordination() };
        let pod = pod(&scene, of_pod, &coordination)?;
        let at_pod = PeerServer::start(&pod.pod)?;
        let endpoint = pod.endpoint("eth0", Family::V4, at_pod.port())?;
        let protocol = Protocol::Tcp;
        let service = service(protocol, TrafficPolicy::Local, vec![endpoint]);
        let address = scene.address(NODE, Family::V4)?;
        let server = SocketAddr::new(address, service.node_port.unwrap_or_default());
        let _proxy = KubeProxy::start(node, &Masquerade::All, &[service])?;
        let peer = scene.address("client", Family::V4)?;
        let flow = Flow { protocol, client, server, peer };
        for of_node in VALUES {
            for name in ["all", "default", "eth0"] {
                node.sysctl(&format!("ipv4/conf/{name}/rp_filter"), of_node)?;
            }
            // Loose is as bad as strict: the veth has no IPv4 address.
            if is_left && of_pod != "0" {
                flow.breaks(&format!("ReversePathFilter, which was {of_pod}"))?;
                break;
            }
            flow.works().with_context(|| format!("pod {of_pod}, node {of_node}"))?;
        }
    }
    Ok(())
}

/// The premise of the test above: what a new namespace has is what the first one has.
#[test]
fn e12_a_new_namespace_inherits_the_filter() -> Result<()> {
    let scene = Scene::shared()?;
    let read = || -> Result<[String; 2]> {
        let value = |name| fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"));
        Ok([value("all")?, value("default")?])
    };
    let spec = e2e::PodSpec::new("default", "inherits", NODE, ETH0);
    let fresh = scene.lab.run_pods(&[spec])?;
    ensure!(fresh[0].enter(read)? == read()?, "{:?}", fresh[0].enter(read)?);
    Ok(())
}
