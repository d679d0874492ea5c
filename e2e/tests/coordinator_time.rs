//! What joining a pod with its node costs, beside the same steps by commands. As root, and alone:
//! what runs beside it would be measured too.
//!
//! The pod's NIC is a macvlan link here, for which any kernel will do: the coordinator's work is the
//! same.

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::plugin_wiring::PluginWiring;
use e2e::reference_script::lines;
use e2e::reference_wiring::perform_one_by_one;
use e2e::wiring::{Attached, Coordination, Wiring};
use e2e::{Lab, Node, Pod, PodSpec, seed};
use serde_json::json;

/// Says how many rounds there are, for a measurement that is to be kept.
const ROUNDS: &str = "NODE_IPAM_TIME_ROUNDS";

const ADDRESSES: [(&str, &str); 2] =
    [("172.31.199.40/20", "172.31.207.253"), ("fd00:172::40/64", "fd00:172::fd")];

/// A pod with an interface of both families, as a main plugin leaves it.
fn attached(lab: &Lab, node: &Node, name: &str) -> Result<(Pod, Attached)> {
    let spec = PodSpec::new("default", name, "master", "kube-system/ipvlan-eth0");
    let pod = lab.run_pods(&[spec])?.pop().context("one pod")?;
    let netns = pod.name();
    node.ip(&format!("link add link eth0 name eth0 netns {netns} type macvlan mode bridge"))?;
    pod.ip("link set dev eth0 up")?;
    for (address, gateway) in ADDRESSES {
        let is_v6 = address.contains(':');
        let (run, nodad): (fn(&Pod, &str) -> Result<()>, _) = if is_v6 {
            (|pod, line| pod.ip6(line), " nodad")
        } else {
            (|pod, line| pod.ip(line), "")
        };
        run(&pod, &format!("address add {address} dev eth0{nodad}"))?;
        run(&pod, &format!("route add default via {gateway} dev eth0"))?;
    }
    let ips = ADDRESSES
        .map(|(address, gateway)| json!({"address": address, "gateway": gateway, "interface": 0}));
    let interfaces = json!([{"name": "eth0", "sandbox": format!("/run/netns/{netns}")}]);
    let result = json!({"cniVersion": "1.1.0", "interfaces": interfaces, "ips": ips});
    Ok((pod, Attached { interface: "eth0".to_owned(), result }))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
fn an_add_takes_less_than_the_same_steps_by_commands() -> Result<()> {
    let lab = Lab::start(&seed::services())?;
    let node = lab.node("master")?;
    let rounds = match env::var(ROUNDS) {
        Ok(rounds) => rounds.parse().context(ROUNDS)?,
        Err(_) => 5,
    };
    let coordination = Coordination {
        service_cidrs: vec!["10.233.0.0/18".parse()?, "fd00:10:233::/116".parse()?],
        hijack_cidrs: vec!["169.254.0.0/16".parse()?],
        ..Coordination::default()
    };
    // In memory, as /run is on a node.
    let state = tempfile::tempdir_in("/dev/shm")?;
    let wiring = PluginWiring { state_dir: Some(state.path().to_owned()) };
    let (mut ours, mut commands) = (Vec::new(), Vec::new());
    let mut count = 0;
    for round in 0..rounds {
        let (pod, attached) = attached(&lab, node, &format!("ours-{round}"))?;
        let began = Instant::now();
        wiring.wire(node, &pod, &[attached], &coordination)?;
        ours.push(began.elapsed());
        drop(pod);

        let (pod, attached) = self::attached(&lab, node, &format!("commands-{round}"))?;
        let began = Instant::now();
        let lines = lines(node, &pod, &[attached], &coordination)?;
        perform_one_by_one(node, &pod, &lines)?;
        commands.push(began.elapsed());
        count = lines.len();
    }
    let (ours, commands) = (median(ours).as_secs_f64() * 1e3, median(commands).as_secs_f64() * 1e3);
    println!(
        "milliseconds, medians of {rounds} rounds, a pod of both families\n\n\
         | | cni-coordinator | {count} commands of ip, nft and sysctl | ratio |\n\
         |---|---|---|---|\n\
         | coordinator's ADD | {ours:.1} | {commands:.1} | {:.2} |",
        ours / commands
    );
    assert!(ours < commands, "{ours} ms, by commands {commands} ms");
    Ok(())
}
