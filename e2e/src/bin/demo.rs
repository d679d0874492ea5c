//! The seed's cluster, started and shown: what `cargo xtask demo` runs on a kernel with ipvlan.
//!
//! Every line that claims something is checked: the demo ends with a failure where it is not so.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use e2e::deployment::{Deployment, INTERFACE, addresses};
use e2e::peer::{self, PeerServer};
use e2e::{Lab, Pod, Snapshot, seed};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "\nthe demo FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let begin = Instant::now();
    chapter("1. the seed's cluster: two nodes, two NICs each, in a strict cloud VPC")?;
    let lab = Lab::start(&seed::cluster())?;
    show_nics(&lab)?;
    let before = snapshots(&lab)?;
    chapter("2. ipamctl apply -f pools.yaml: the seed's four documents verbatim, on each node")?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    show(&deployment.pools_table()?)?;
    chapter("3. CNI ADD for the seed's four pods, as a runtime does it")?;
    let ips = attach(&lab, &deployment)?;
    show_tables(&lab, &deployment)?;
    chapter("4. traffic in the strict VPC")?;
    send(&lab, &ips)?;
    chapter("5. CNI DEL for the four pods")?;
    detach(&lab, &deployment, &before)?;
    chapter("6. the seed's argument: macvlan instead, whose MACs the cloud does not know")?;
    show_macvlan(&lab, &ips[0])?;
    say(format_args!("\nthe demo took {:.1} s", begin.elapsed().as_secs_f64()))
}

fn show_nics(lab: &Lab) -> Result<()> {
    for (node, nic) in lab.cluster().nics() {
        let [first, .., last] = nic.secondary.as_slice() else {
            anyhow::bail!("a NIC of the seed has five secondary addresses");
        };
        let (name, nic_name, mac, primary) = (&node.name, &nic.name, nic.mac, nic.primary);
        say(format_args!(
            "{name:<7} {nic_name}  {mac}  primary {primary:<15} secondary {first}-{last}"
        ))?;
    }
    Ok(())
}

/// ADDs all pods and shows them as the seed's table does; answers their addresses.
fn attach(lab: &Lab, deployment: &Deployment<'_>) -> Result<Vec<String>> {
    say(format_args!("{:<19} {:<12} {:<16} {:<8} {}", "NAME", "TIME", "IP", "NODE", "NETWORK"))?;
    let mut ips = Vec::new();
    for pod in lab.pods() {
        let begin = Instant::now();
        let answer = deployment.add(pod)?;
        let milliseconds = begin.elapsed().as_millis();
        let ip = addresses(&answer)?.pop().context("an address")?;
        let spec = pod.spec();
        let time = format!("{milliseconds} ms");
        say(format_args!(
            "{:<19} {time:<12} {ip:<16} {:<8} {}",
            spec.name, spec.node, spec.network
        ))?;
        let owner = lab
            .cluster()
            .nics()
            .find(|(_, nic)| nic.secondary.iter().any(|secondary| secondary.to_string() == ip));
        let (node, nic) = owner.with_context(|| format!("no NIC owns {ip}"))?;
        ensure!(node.name == spec.node && spec.network.ends_with(&nic.name), "{ip} is misplaced");
        ips.push(ip);
    }
    Ok(ips)
}

fn show_tables(lab: &Lab, deployment: &Deployment<'_>) -> Result<()> {
    say("\nipamctl get pools, over the databases of both nodes")?;
    show(&deployment.pools_table()?)?;
    ensure!(deployment.pools_table()? == seed::POOLS_TABLE, "this is not the seed's table");
    say("(byte for byte the table of the seed's document)")?;
    for node in lab.nodes() {
        let name = &node.spec().name;
        say(format_args!("\nipamctl get ips, on {name}"))?;
        show(&deployment.ipamctl(&[name], &["get", "ips"])?.success()?)?;
    }
    Ok(())
}

fn send(lab: &Lab, ips: &[String]) -> Result<()> {
    let [master_172, worker_172, master_192, worker_192] = lab.pods() else {
        anyhow::bail!("the seed has four pods");
    };
    let primary = |node: &str| -> Result<IpAddr> { Ok(lab.node(node)?.spec().nics[0].primary) };
    expect_ping(master_172, &ips[1], "pod to pod, across nodes")?;
    expect_ping(master_172, &ips[3], "pod to pod, across nodes and subnets")?;
    expect_ping(master_172, &ips[2], "pod to pod, same node, across subnets")?;
    expect_ping(master_192, &ips[3], "pod to pod on eth1, across nodes")?;
    expect_ping(worker_192, &ips[0], "pod to pod, back across subnets")?;
    expect_ping(master_172, primary("worker")?, "pod to the other node")?;
    expect_ping(worker_172, primary("master")?, "pod to the other node")?;
    expect_ping(master_172, seed::SERVER, "pod to the outside, by gateway and NAT")?;
    expect_ping(worker_192, seed::SERVER, "pod to the outside, by gateway and NAT")?;
    let server = PeerServer::start(lab.outside("server")?)?;
    for pod in lab.pods() {
        let seen = peer::seen_by(pod, SocketAddr::new(seed::SERVER, server.port()))?;
        ensure!(seen == seed::NAT_AT_SERVER, "the server sees {seen}");
    }
    let nat = seed::NAT_AT_SERVER;
    say(format_args!("TCP to the outside from all four pods: the server sees {nat}, the NAT"))?;
    let drops = unknown_mac_drops(lab)?;
    ensure!(drops == 0, "the VPC dropped {drops} frames of the ipvlan pods");
    say("frames that the VPC dropped for an unknown MAC: 0")
}

fn detach(lab: &Lab, deployment: &Deployment<'_>, before: &[(String, Snapshot)]) -> Result<()> {
    for pod in lab.pods() {
        deployment.del(pod)?.success()?;
        let links = pod.run(["ip", "-o", "link"])?.success()?;
        ensure!(links.lines().count() == 1, "{} still has\n{links}", pod.spec().name);
    }
    show(&deployment.pools_table()?)?;
    for ((name, then), (_, now)) in before.iter().zip(&snapshots(lab)?) {
        let changes = then.changes(now);
        ensure!(changes.is_empty(), "{name} has changed: {changes:#?}");
    }
    say(
        "the pods hold no link, the nodes no link, address, route or rule that was not there before",
    )
}

fn show_macvlan(lab: &Lab, address: &str) -> Result<()> {
    let pod = &lab.pods()[0];
    let worker = lab.node("worker")?.spec().nics[0].primary;
    attach_macvlan(lab, pod, address)?;
    let ping = pod.ping(worker, 2)?;
    ensure!(ping.received() == 0, "macvlan got through the strict VPC");
    let drops = unknown_mac_drops(lab)?;
    ensure!(drops > 0, "the VPC counted no unknown MAC");
    let what = "macvlan pod to the other node";
    say(format_args!("{what:<40} {} -> {worker}: 0 of 2 received", pod.spec().name))?;
    say(format_args!("frames that the VPC dropped for an unknown MAC: {drops}"))
}

fn attach_macvlan(lab: &Lab, pod: &Pod, address: &str) -> Result<()> {
    let node = lab.node(&pod.spec().node)?;
    let netns = pod.name();
    node.ip(&format!("link add link eth0 name mac0 netns {netns} type macvlan mode bridge\n"))?;
    pod.ip(&format!(
        "link set dev mac0 name {INTERFACE}\nlink set dev {INTERFACE} up\n\
         address add {address}/20 dev {INTERFACE}\nroute add default via 172.31.207.253\n"
    ))
}

fn expect_ping(from: &Pod, target: impl Display, what: &str) -> Result<()> {
    let ping = from.ping(&target, 2)?;
    ensure!(ping.all_received(), "{what}: {} of 2 received", ping.received());
    say(format_args!("{what:<40} {} -> {target}: 2 of 2 received", from.spec().name))
}

fn unknown_mac_drops(lab: &Lab) -> Result<u64> {
    let mut sum = 0;
    for (node, nic) in lab.cluster().nics() {
        sum += lab.vpc().nic_drops(&node.name, &nic.name)?.unknown_mac;
    }
    Ok(sum)
}

fn snapshots(lab: &Lab) -> Result<Vec<(String, Snapshot)>> {
    let nodes = lab.nodes().iter().map(|node| Ok((node.spec().name.clone(), node.snapshot()?)));
    let pods = lab.pods().iter().map(|pod| Ok((pod.spec().name.clone(), pod.snapshot()?)));
    nodes.chain(pods).collect()
}

fn chapter(title: &str) -> Result<()> {
    say(format_args!("\n=== {title}"))
}

fn show(table: &str) -> Result<()> {
    say(table.trim_end())
}

fn say(line: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
