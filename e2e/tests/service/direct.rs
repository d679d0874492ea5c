//! Flows without a Service: between a pod and its node, other pods and nodes, and the outside.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use e2e::peer::{PeerServer, Protocol};
use e2e::wiring::Ingredient;
use e2e::{Meter, seed};

use crate::flow::{Flow, Way, all_break};
use crate::scene::{ETH1, FAMILIES, Family, Scene, Wired, coordination};

const TCP: Protocol = Protocol::Tcp;

#[test]
fn e1_a_node_reaches_its_pod() -> Result<()> {
    let scene = Scene::shared()?;
    let node = scene.node("master")?;
    let flow = |pod: &Wired, server: &PeerServer<'_>, family| -> Result<Flow<'_>> {
        Ok(Flow {
            protocol: TCP,
            client: node,
            server: SocketAddr::new(pod.address(family)?, server.port()),
            peer: scene.address("master", family)?,
        })
    };
    let pod = scene.pod("master")?;
    let server = PeerServer::start(&pod.pod)?;
    for family in FAMILIES {
        flow(&pod, &server, family)?.works()?;
    }
    // The pod answers ARP for its address on any link, but solicitations only on that link.
    let needed =
        [(Ingredient::NodeRoutes, &FAMILIES[..]), (Ingredient::NodeNeighbours, &[Family::V6])];
    for (ingredient, families) in needed {
        let pod = scene.pod_without("master", ingredient)?;
        let server = PeerServer::start(&pod.pod)?;
        let flows: Result<Vec<_>> = families.iter().map(|it| flow(&pod, &server, *it)).collect();
        all_break(&flows?, &format!("{ingredient:?}"))?;
    }
    Ok(())
}

#[test]
fn e2_a_pod_reaches_its_node_on_every_address() -> Result<()> {
    let scene = Scene::shared()?;
    let server = PeerServer::start(scene.node("master")?)?;
    let flow = |pod: &Wired, nic, family| -> Result<()> {
        let server = SocketAddr::new(scene.nic_address("master", nic, family)?, server.port());
        Flow { protocol: TCP, client: &pod.pod, server, peer: pod.address(family)? }.works()
    };
    let pod = scene.pod("master")?;
    for family in FAMILIES {
        flow(&pod, 0, family)?;
        flow(&pod, 1, family)?;
    }
    let needed =
        [(Ingredient::PodRoutes, &FAMILIES[..]), (Ingredient::PodNeighbours, &[Family::V6])];
    for (ingredient, families) in needed {
        let pod = scene.pod_without("master", ingredient)?;
        let flow = |family: &Family| -> Result<Flow<'_>> {
            let server = SocketAddr::new(scene.address("master", *family)?, server.port());
            let peer = pod.address(*family)?;
            Ok(Flow { protocol: TCP, client: &pod.pod, server, peer })
        };
        let flows: Result<Vec<_>> = families.iter().map(flow).collect();
        all_break(&flows?, &format!("{ingredient:?}"))?;
    }
    Ok(())
}

/// Both ways between a pod and another end, by the NIC alone.
fn both_ways_by_the_nic(
    pod: &Wired,
    other: &e2e::Namespace,
    other_address: impl Fn(Family) -> Result<std::net::IpAddr>,
) -> Result<()> {
    let (here, there) = (PeerServer::start(&pod.pod)?, PeerServer::start(other)?);
    for family in FAMILIES {
        let (own, others) = (pod.address(family)?, other_address(family)?);
        let questions = Way::of_questions(pod, TCP, there.port())?;
        let server = SocketAddr::new(others, there.port());
        Flow { protocol: TCP, client: &pod.pod, server, peer: own }.works()?;
        questions.only_by_the_nic()?;
        let answers = Way::of_answers(pod, TCP, here.port())?;
        let server = SocketAddr::new(own, here.port());
        Flow { protocol: TCP, client: other, server, peer: others }.works()?;
        answers.only_by_the_nic()?;
    }
    Ok(())
}

/// What a pod asks another end goes by its veth if a route says so: the look at the way sees it.
fn a_route_by_the_veth_is_seen(scene: &Scene, other: &Wired) -> Result<()> {
    let pod = scene.pod("master")?;
    let server = PeerServer::start(&other.pod)?;
    let (target, node) = (other.address(Family::V4)?, scene.address("master", Family::V4)?);
    pod.pod.ip(&format!("route add {target} via {node} dev veth0\n"))?;
    let questions = Way::of_questions(&pod, TCP, server.port())?;
    let server = SocketAddr::new(target, server.port());
    let peer = pod.address(Family::V4)?;
    let _ = Flow { protocol: TCP, client: &pod.pod, server, peer }.breaks("by the veth");
    ensure!(questions.taken()?.0, "nothing was seen on the veth");
    Ok(())
}

#[test]
fn e3_pods_and_other_nodes_reach_each_other_without_the_node() -> Result<()> {
    let scene = Scene::shared()?;
    let (worker, pod) = (scene.node("worker")?, scene.pod("master")?);
    both_ways_by_the_nic(&pod, worker, |family| scene.address("worker", family))?;
    let other = scene.pod("worker")?;
    both_ways_by_the_nic(&pod, &other.pod, |family| other.address(family))?;
    let subnet = scene.wired("worker", &[ETH1], &coordination())?;
    both_ways_by_the_nic(&pod, &subnet.pod, |family| subnet.address(family))?;
    a_route_by_the_veth_is_seen(&scene, &other)
}

#[test]
fn e4_pods_of_a_node_reach_each_other_without_it() -> Result<()> {
    let scene = Scene::shared()?;
    let (pod, same_master) = (scene.pod("master")?, scene.pod("master")?);
    both_ways_by_the_nic(&pod, &same_master.pod, |family| same_master.address(family))?;
    let other_master = scene.wired("master", &[ETH1], &coordination())?;
    both_ways_by_the_nic(&pod, &other_master.pod, |family| other_master.address(family))?;
    a_route_by_the_veth_is_seen(&scene, &other_master)
}

#[test]
fn e10_what_comes_by_the_nic_is_answered_by_the_nic() -> Result<()> {
    let scene = Scene::shared()?;
    let client = scene.node("client")?;
    let pod = scene.pod("master")?;
    both_ways_by_the_nic(&pod, client, |family| scene.address("client", family))?;

    let pod = scene.pod_without("master", Ingredient::MarkedInterface)?;
    let server = PeerServer::start(&pod.pod)?;
    for family in FAMILIES {
        let answers = Way::of_answers(&pod, TCP, server.port())?;
        let address = SocketAddr::new(pod.address(family)?, server.port());
        let peer = scene.address("client", family)?;
        let flow = Flow { protocol: TCP, client, server: address, peer };
        // The node forwards it, if it may: only the way is wrong.
        let outcome = flow.works();
        ensure!(answers.taken()? == (true, false), "{family:?}: {outcome:?}");
    }
    Ok(())
}

#[test]
fn e11_a_pod_reaches_the_outside_by_its_nics_gateway() -> Result<()> {
    let scene = Scene::shared()?;
    let pod = scene.pod("master")?;
    let route = |pod: &Wired| pod.pod.run(["ip", "route", "get", "8.8.8.8"])?.success();
    let own = pod.address(Family::V4)?;
    let gateway = scene.lab.cluster().vswitch("vsw-172")?.gateway;
    let expected = format!("8.8.8.8 via {gateway} dev eth0 src {own} ");
    ensure!(route(&pod)?.starts_with(&expected), "{}", route(&pod)?);

    let outside = scene.lab.outside("server")?;
    let server = PeerServer::start(outside)?;
    let expression = format!("ip saddr {own} ip daddr {}", seed::SERVER);
    let wire = Meter::start(scene.lab.vpc().namespace(), &["master-eth0"], &expression)?;
    let address = SocketAddr::new(seed::SERVER, server.port());
    let peer = seed::NAT_AT_SERVER;
    Flow { protocol: TCP, client: &pod.pod, server: address, peer }.works()?;
    ensure!(wire.passed()?["master-eth0"].received > 0, "not with its own address on the wire");

    let node = scene.address("master", Family::V4)?;
    pod.pod.ip(&format!("route replace default via {node} dev veth0\n"))?;
    ensure!(!route(&pod)?.starts_with(&expected), "the route by the veth is not seen");
    Ok(())
}

#[test]
fn e16_a_pod_reaches_another_nodes_nic_in_another_subnet() -> Result<()> {
    let scene = Scene::shared()?;
    let worker = scene.node("worker")?;
    let server = PeerServer::start(worker)?;
    let pod = scene.wired("master", &[ETH1], &coordination())?;
    for family in FAMILIES {
        let address = scene.address("worker", family)?;
        let (own, server) = (pod.address(family)?, SocketAddr::new(address, server.port()));
        let flow = Flow { protocol: TCP, client: &pod.pod, server, peer: own };
        flow.works()?;
        // The node's own tables for its NICs' addresses: without, the answer leaves by the NIC in
        // the pod's subnet, with the other's address.
        let rule = format!("from {address} to {own} lookup main pref 100\n");
        let ip = |line: String| match family {
            Family::V4 => worker.ip(&line),
            Family::V6 => worker.ip6(&line),
        };
        ip(format!("rule add {rule}"))?;
        let broken = flow.breaks("tables for the addresses of the node's NICs");
        ip(format!("rule del {rule}"))?;
        broken?;
    }
    let drops = scene.lab.vpc().nic_drops("worker", "eth1")?;
    ensure!(drops.unknown_ip > 0, "{drops:?}");
    let leaks = scene.lab.vpc().nic_drops("master", "eth1").context("drops")?;
    ensure!(leaks.unknown_mac == 0, "{leaks:?}");
    Ok(())
}
