//! IPv6 and dual stack on a real ipvlan kernel: at once, for each other, and announced. As root.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::deployment::{Deployment, INTERFACE, addresses};
use e2e::{Capture, Lab, Pod, PodSpec, seed};
use serde_json::{Value, json};

/// For a frame that was sent to be shown.
const PATIENCE: Duration = Duration::from_secs(30);

fn pods(lab: &Lab, count: usize) -> Result<Vec<Pod>> {
    let spec = |index| PodSpec::new("default", &format!("p{index}"), "master", seed::IPVLAN_ETH0);
    lab.run_pods(&(0..count).map(spec).collect::<Vec<_>>())
}

fn shown(pod: &Pod, arguments: &[&str]) -> Result<Value> {
    let text = pod.run(["ip", "-j", "-6"].iter().chain(arguments))?.success()?;
    Ok(serde_json::from_str(&text)?)
}

#[test]
fn ipv6_is_switched_on_where_the_pod_has_it_off_and_works_at_once() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let pods = pods(&lab, 2)?;
    for pod in &pods {
        pod.enter(|| Ok(fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")?))?;
        assert_eq!(addresses(&deployment.add(pod)?)?.len(), 2);
        let address = shown(pod, &["address", "show", "dev", INTERFACE, "scope", "global"])?;
        let info = &address[0]["addr_info"][0];
        assert_eq!(info["nodad"], json!(true), "{address}");
        assert_eq!(info.get("tentative"), None, "{address}");
        let route = shown(pod, &["route", "show", "default"])?;
        assert_eq!(route[0]["gateway"], "fd00:172::fd", "{route}");
        assert_eq!(route[0]["dev"], INTERFACE);
    }
    // To each other, and each to itself by the loopback.
    for target in ["fd00:172::1", "fd00:172::2"] {
        // The kernel asks for a neighbour once a second, and a busy machine may be late.
        let deadline = Instant::now() + PATIENCE;
        while !pods[1].ping(target, 1)?.all_received() {
            let neighbours = shown(&pods[1], &["neigh"])?;
            println!("no answer from {target}: {neighbours}");
            anyhow::ensure!(Instant::now() < deadline, "{target}: {neighbours}");
        }
    }
    Ok(())
}

/// All links of a NIC have its MAC, and so might have one link-local address.
#[test]
fn fifty_dual_stack_pods_of_one_master_have_no_duplicate_address() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let pods = pods(&lab, 50)?;
    for pod in &pods {
        deployment.add(pod)?.success()?;
    }
    let mut seen = std::collections::BTreeSet::new();
    for pod in &pods {
        let deadline = Instant::now() + PATIENCE;
        let infos = loop {
            let address = shown(pod, &["address", "show", "dev", INTERFACE])?;
            let infos = address[0]["addr_info"].as_array().cloned().unwrap_or_default();
            if infos.iter().all(|info| info.get("tentative").is_none()) {
                break infos;
            }
            anyhow::ensure!(Instant::now() < deadline, "{address}");
        };
        assert_eq!(infos.len(), 2, "{infos:?}");
        for info in infos {
            assert_eq!(info.get("dadfailed"), None, "{info}");
            let local = info["local"].as_str().context("an address")?.to_owned();
            assert!(seen.insert(local), "{info} is there twice");
        }
    }
    Ok(())
}

#[test]
fn each_add_announces_its_addresses_on_the_master() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let node = lab.node("master")?;
    let mac = node.spec().nics[0].mac.to_string();
    let mut capture = Capture::start(node, "eth0", "arp or icmp6")?;
    for pod in &pods(&lab, 8)? {
        let ips = addresses(&deployment.add(pod)?)?;
        let [v4, v6] = ips.as_slice() else { anyhow::bail!("two addresses, not {ips:?}") };
        let gratuitous = format!("Request who-has {v4} tell {v4},");
        capture.wait_for(&[&format!("{mac} > ff:ff:ff:ff:ff:ff"), &gratuitous], PATIENCE)?;
        let advertised = format!("{v6} > ff02::1: ICMP6, neighbor advertisement, tgt is {v6},");
        capture.wait_for(&[&format!("{mac} > "), &advertised], PATIENCE)?;
    }
    Ok(())
}
