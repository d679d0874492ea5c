//! GC: what the runtime does not know any more goes, and everything else stays.

use anyhow::{Result, ensure};
use e2e::Pod;
use serde_json::{Value, json};

use crate::room::{NONE, Room};

const OTHER_NETWORK: &str = "another";

fn gc(room: &Room, network: Option<&str>, valid: &[(&Pod, &str)]) -> Result<()> {
    let valid: Vec<Value> = valid
        .iter()
        .map(|(pod, ifname)| json!({"containerID": pod.spec().sandbox_id, "ifname": ifname}))
        .collect();
    let call = room.call_of_node("GC", |conf| {
        conf["cni.dev/valid-attachments"] = json!(valid);
        if let Some(network) = network {
            conf["name"] = json!(network);
        }
    });
    room.run(&call)?.success().map(drop)
}

fn add_of(room: &Room, pod: &Pod, ifname: &str, network: &str) -> Result<()> {
    let call = room.call_with("ADD", pod, ifname, |conf| conf["name"] = json!(network))?;
    room.run(&call)?.success().map(drop)
}

#[test]
fn half_of_the_pods_go_and_those_of_other_networks_stay() -> Result<()> {
    let room = Room::start()?;
    let mut pods = Vec::new();
    for number in 1..=6 {
        pods.push(room.pod(number, &["eth0"])?);
    }
    // The even ones first: what is to be left is what the odd ones add nothing to.
    for pod in [&pods[1], &pods[3]] {
        room.done("ADD", pod, "eth0")?;
    }
    add_of(&room, &pods[5], "eth0", OTHER_NETWORK)?;
    let half = room.state()?;
    for pod in [&pods[0], &pods[2], &pods[4]] {
        room.done("ADD", pod, "eth0")?;
    }
    // One of the three is dead with its namespace, as pods are that nobody took away.
    room.crash(pods.remove(4))?;
    gc(&room, None, &[(&pods[1], "eth0"), (&pods[3], "eth0")])?;
    assert_eq!(half.changes(&room.state()?), NONE);
    gc(&room, None, &[(&pods[1], "eth0"), (&pods[3], "eth0")])?;
    assert_eq!(half.changes(&room.state()?), NONE);
    for pod in [&pods[1], &pods[3]] {
        assert_eq!(room.difference(pod, "eth0")?, None);
    }
    let gone = room.difference(&pods[0], "eth0")?.unwrap_or_default();
    ensure!(gone.contains("nothing is recorded"), "{gone}");
    Ok(())
}

/// By interface: the pair is for both, and goes with the last, of whichever network that is.
#[test]
fn one_nic_of_two_goes() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    let pod = room.pod(1, &["eth0", "net1"])?;
    room.done("ADD", &pod, "eth0")?;
    let first = room.state()?;
    room.done("ADD", &pod, "net1")?;
    gc(&room, None, &[(&pod, "eth0")])?;
    assert_eq!(first.changes(&room.state()?), NONE);
    assert_eq!(room.difference(&pod, "eth0")?, None);

    room.done("DEL", &pod, "eth0")?;
    drop(pod);
    let pod = room.pod(1, &["eth0", "net1"])?;
    room.done("ADD", &pod, "eth0")?;
    add_of(&room, &pod, "net1", OTHER_NETWORK)?;
    gc(&room, None, &[])?;
    let link = Room::host_link(&pod);
    ensure!(room.node().run(["ip", "link", "show", &link])?.status.success(), "net1 has no pair");
    gc(&room, Some(OTHER_NETWORK), &[])?;
    assert_eq!(before.changes(&room.state()?), NONE);
    Ok(())
}

/// All at once, in one GC.
#[test]
fn everything_goes() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    let pods = (1..=3).map(|number| room.pod(number, &["eth0", "net1"]));
    let pods = pods.collect::<Result<Vec<_>>>()?;
    for pod in &pods {
        room.done("ADD", pod, "eth0")?;
        room.done("ADD", pod, "net1")?;
    }
    gc(&room, None, &[])?;
    assert_eq!(before.changes(&room.state()?), NONE);
    Ok(())
}
