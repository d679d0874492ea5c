//! The plugin on a real ipvlan kernel, in the seed's cluster. As root.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::deployment::{Deployment, INTERFACE, PLUGIN, addresses};
use e2e::peer::{self, PeerServer};
use e2e::{Answer, Call, Lab, NicDrops, Pod, PodSpec, Running, Snapshot, Trace, seed};
use serde_json::{Value, json};

const LINK_EXISTS: u64 = 120;
const ALREADY_HELD: u64 = 102;

fn lab() -> Result<Lab> {
    Lab::start(&seed::cluster())
}

fn lease_count(deployment: &Deployment<'_>, node: &str) -> Result<usize> {
    Ok(deployment.leases(node)?.len())
}

/// `ip -j` in a pod, about its interface.
fn shown(pod: &Pod, arguments: &[&str]) -> Result<Value> {
    let text = pod.run(["ip", "-j", "-d"].iter().chain(arguments))?.success()?;
    Ok(serde_json::from_str(&text)?)
}

/// An ADD that must fail: nothing may be different afterwards, in node, pod and database.
fn assert_refused_without_trace(
    lab: &Lab,
    deployment: &Deployment<'_>,
    pod: &Pod,
    add: impl FnOnce() -> Result<Answer>,
) -> Result<Answer> {
    let before = Trace::of(lab, deployment, pod)?;
    let answer = add()?;
    assert!(!answer.is_success(), "{answer:?}");
    assert_eq!(answer.outcome.status.code(), Some(1));
    assert_eq!(before.changes(&Trace::of(lab, deployment, pod)?), Vec::<String>::new());
    Ok(answer)
}

#[test]
fn the_seeds_pods_get_their_pools_addresses_and_reach_each_other() -> Result<()> {
    let lab = lab()?;
    let before: Vec<Snapshot> = lab.nodes().iter().map(|n| n.snapshot()).collect::<Result<_>>()?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let mut ips = Vec::new();
    for pod in lab.pods() {
        ips.extend(addresses(&deployment.add(pod)?)?);
    }
    assert_eq!(ips, ["172.31.199.185", "172.31.199.190", "192.168.0.156", "192.168.0.161"]);
    assert_eq!(deployment.pools_table()?, seed::POOLS_TABLE);

    for (index, pod) in lab.pods().iter().enumerate() {
        for (other, ip) in ips.iter().enumerate().filter(|(other, _)| *other != index) {
            assert!(pod.ping(ip, 1)?.all_received(), "pod {index} to pod {other}");
        }
        assert!(pod.ping(seed::SERVER, 1)?.all_received(), "pod {index} to the outside");
    }
    let server = PeerServer::start(lab.outside("server")?)?;
    let seen = peer::seen_by(&lab.pods()[0], SocketAddr::new(seed::SERVER, server.port()))?;
    assert_eq!(seen, seed::NAT_AT_SERVER);
    for (node, nic) in lab.cluster().nics() {
        let drops = lab.vpc().nic_drops(&node.name, &nic.name)?;
        assert_eq!(drops, NicDrops::default(), "{} {}", node.name, nic.name);
    }

    for pod in lab.pods() {
        assert_eq!(deployment.del(pod)?.success()?, &Value::Null);
    }
    assert_eq!(deployment.pools_table()?, seed::POOLS_TABLE.replace("   1     ", "   0     "));
    for (node, before) in lab.nodes().iter().zip(&before) {
        assert_eq!(before.changes(&node.snapshot()?), Vec::<String>::new());
    }
    for pod in lab.pods() {
        assert_eq!(shown(pod, &["link"])?.as_array().context("links")?.len(), 1, "only lo");
    }
    Ok(())
}

#[test]
fn the_result_says_what_the_kernel_has() -> Result<()> {
    let lab = lab()?;
    // The second finds the first one's address at rest.
    for (version, ip) in [("1.0.0", "172.31.199.185"), ("1.1.0", "172.31.199.186")] {
        let deployment = Deployment::start(&lab, seed::POOLS)?.with_cni_version(version);
        let pod = &lab.pods()[0];
        let answer = deployment.add(pod)?;
        let nic = &lab.node("master")?.spec().nics[0];
        let mut interface = json!({
            "name": "eth0", "mac": nic.mac.to_string(), "sandbox": pod.path(),
        });
        if version == "1.1.0" {
            interface["mtu"] = json!(1500);
        }
        assert_eq!(
            answer.success()?,
            &json!({
                "cniVersion": version,
                "interfaces": [interface],
                "ips": [{
                    "address": format!("{ip}/20"), "gateway": "172.31.207.253", "interface": 0,
                }],
                "routes": [{ "dst": "0.0.0.0/0", "gw": "172.31.207.253" }],
            })
        );
        let link = shown(pod, &["address", "show", "dev", "eth0"])?;
        assert_eq!(link[0]["linkinfo"]["info_kind"], "ipvlan");
        assert_eq!(link[0]["linkinfo"]["info_data"]["mode"], "l2");
        assert_eq!(link[0]["address"], nic.mac.to_string());
        let inet = link[0]["addr_info"].as_array().context("addresses")?;
        let inet = inet.iter().find(|info| info["family"] == "inet").context("an IPv4 address")?;
        assert_eq!(inet["local"], ip);
        assert_eq!(inet["prefixlen"], 20);
        let routes = shown(pod, &["route"])?;
        assert_eq!(routes[0]["dst"], "default");
        assert_eq!(routes[0]["gateway"], "172.31.207.253");
        deployment.del(pod)?.success()?;
    }
    Ok(())
}

#[test]
fn one_pod_has_an_interface_in_each_network_and_the_first_keeps_the_default_route() -> Result<()> {
    let lab = lab()?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let pod = &lab.pods()[0];
    let runtime = lab.node("master")?.runtime()?;
    let second = deployment.configuration("master", seed::IPVLAN_ETH1)?.to_string();
    deployment.add(pod)?.success()?;
    let answer = runtime.add(PLUGIN, &second, pod, "net1")?;
    assert_eq!(addresses(&answer)?, ["192.168.0.156"]);
    let route = shown(pod, &["route", "get", &seed::SERVER.to_string()])?;
    assert_eq!(route[0]["dev"], "eth0", "{route}");
    assert!(pod.ping("192.168.0.155", 1)?.all_received(), "the other node's eth1 by net1");
    assert!(pod.ping(seed::SERVER, 1)?.all_received());
    // The networks are released one by one.
    runtime.del(PLUGIN, &second, pod, "net1")?.success()?;
    assert_eq!(deployment.leases("master")?[0]["interface"], "eth0");
    assert!(pod.ping(seed::SERVER, 1)?.all_received());
    Ok(())
}

#[test]
fn a_failed_add_leaves_no_link_no_address_and_no_lease() -> Result<()> {
    let lab = lab()?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let pod = &lab.pods()[0];
    let runtime = lab.node("master")?.runtime()?;

    // The pool's lowest address lives on a slave that nobody told the database about.
    let stranger = &lab.run_pods(&[PodSpec::new("x", "stranger", "master", "x")])?[0];
    let netns = stranger.name();
    lab.node("master")?
        .ip(&format!("link add link eth0 name x0 netns {netns} type ipvlan mode l2\n"))?;
    stranger.ip("address add 172.31.199.185/20 dev x0\n")?;
    let answer = deployment.add(pod)?;
    assert_eq!(addresses(&answer)?, ["172.31.199.186"], "the next one, {answer:?}");
    assert!(answer.outcome.stderr.contains("172.31.199.185 is in use: by "), "{answer:?}");
    deployment.del(pod)?.success()?;
    drop(stranger.run(["ip", "link", "del", "x0"])?.success()?);

    // The requested name is taken.
    pod.ip("link add eth0 type veth peer name other\n")?;
    let answer = assert_refused_without_trace(&lab, &deployment, pod, || deployment.add(pod))?;
    assert_eq!(answer.error_code(), Some(LINK_EXISTS), "{answer:?}");
    // A DEL must not take the stranger's link away.
    deployment.del(pod)?.success()?;
    assert_eq!(shown(pod, &["link", "show", "dev", "eth0"])?[0]["linkinfo"]["info_kind"], "veth");
    pod.ip("link del eth0\n")?;

    // The node's own namespace is no pod's.
    let mut call =
        Call::of("ADD", PLUGIN, &deployment.configuration_of(pod)?.to_string(), pod, INTERFACE);
    call.netns = lab.node("master")?.path().to_string_lossy().into_owned();
    let answer =
        assert_refused_without_trace(&lab, &deployment, pod, || runtime.start(&call)?.wait())?;
    assert_eq!(answer.error_code(), Some(8), "{answer:?}");

    // A second ADD of a live attachment fails and changes nothing.
    deployment.add(pod)?.success()?;
    let answer = assert_refused_without_trace(&lab, &deployment, pod, || deployment.add(pod))?;
    assert_eq!(answer.error_code(), Some(LINK_EXISTS), "{answer:?}");
    pod.ip("link del eth0\n")?;
    let answer = assert_refused_without_trace(&lab, &deployment, pod, || deployment.add(pod))?;
    assert_eq!(answer.error_code(), Some(ALREADY_HELD), "{answer:?}");
    Ok(())
}

#[test]
fn del_works_twice_without_a_namespace_and_with_a_broken_configuration() -> Result<()> {
    let lab = lab()?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let pod = &lab.pods()[0];
    let runtime = lab.node("master")?.runtime()?;
    let configuration = deployment.configuration_of(pod)?;
    let file = lab.data_dir().join("no-namespace");
    std::fs::write(&file, "")?;
    let mut broken = configuration.clone();
    broken["master"] = json!(7);
    broken["prevResult"] = json!("gone");
    broken["ipam"]["network"] = json!("a/b/c");
    broken["cniVersion"] = json!("9.9.9");

    let netns_paths = ["", "/run/netns/gone", "/nowhere/at/all", &file.to_string_lossy()];
    for (netns, conf) in
        netns_paths.iter().map(|path| (*path, &configuration)).chain([("", &broken)])
    {
        deployment.add(pod)?.success()?;
        assert_eq!(lease_count(&deployment, "master")?, 1);
        let mut call = Call::of("DEL", PLUGIN, &conf.to_string(), pod, INTERFACE);
        netns.clone_into(&mut call.netns);
        for _ in 0..2 {
            let answer = runtime.start(&call)?.wait()?;
            assert_eq!(answer.success()?, &Value::Null, "{netns:?}");
            assert_eq!(lease_count(&deployment, "master")?, 0, "{netns:?}");
        }
        // What the runtime could not name any more is still in the namespace: it goes with it.
        pod.ip("link del eth0\n")?;
    }
    // And before any ADD, and without a database.
    deployment.del(pod)?.success()?;
    std::fs::remove_dir_all(deployment.database("master")?)?;
    deployment.del(pod)?.success()?;
    Ok(())
}

/// A cluster's cloud has five addresses per NIC; these tests only need the node.
const POOL_OF_64: &str = "\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: master-64}
spec:
  default: true
  subnet: 172.31.192.0/20
  ips: [172.31.200.1-172.31.200.64]
  gateway: 172.31.207.253
";

fn pods(lab: &Lab, count: usize) -> Result<Vec<Pod>> {
    let spec = |index| PodSpec::new("default", &format!("p{index}"), "master", seed::IPVLAN_ETH0);
    lab.run_pods(&(0..count).map(spec).collect::<Vec<_>>())
}

/// ADDs all pods at once.
fn add_all(deployment: &Deployment<'_>, pods: &[Pod]) -> Result<Vec<Answer>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            pods.iter().map(|pod| scope.spawn(move || deployment.add(pod))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

#[test]
fn sixty_four_parallel_adds_get_different_addresses_and_the_next_a_clear_refusal() -> Result<()> {
    let lab = lab()?;
    let deployment = Deployment::start(&lab, POOL_OF_64)?;
    let pods = pods(&lab, 65)?;
    let given: Vec<String> = add_all(&deployment, &pods[..64])?
        .iter()
        .map(addresses)
        .collect::<Result<Vec<_>>>()?
        .concat();
    let different: BTreeSet<&String> = given.iter().collect();
    assert_eq!(different.len(), 64, "{given:?}");
    for (pod, ip) in pods.iter().zip(&given) {
        let shown = shown(pod, &["address", "show", "dev", INTERFACE])?.to_string();
        assert!(shown.contains(&format!("\"{ip}\"")), "{ip} is not in {shown}");
    }
    let answer =
        assert_refused_without_trace(&lab, &deployment, &pods[64], || deployment.add(&pods[64]))?;
    assert_eq!(answer.error_code(), Some(11));
    let message = answer.json.context("an error object")?["msg"].to_string();
    assert!(message.contains("master-64 (64 of 64 held)"), "{message}");
    for pod in &pods[..64] {
        deployment.del(pod)?.success()?;
    }
    assert_eq!(lease_count(&deployment, "master")?, 0);
    Ok(())
}

const KILLS: u32 = 100;
const MOST_ATTEMPTS: u32 = 400;

/// The pod's ADD, with its input written.
fn start_add(lab: &Lab, deployment: &Deployment<'_>, pod: &Pod) -> Result<Running> {
    let conf = deployment.configuration_of(pod)?.to_string();
    let runtime = lab.node(&pod.spec().node)?.runtime()?;
    runtime.start(&Call::of("ADD", PLUGIN, &conf, pod, INTERFACE))
}

/// How long an ADD takes from there to its end: the median of three. The pod is as before.
fn time_of_add(lab: &Lab, deployment: &Deployment<'_>, pod: &Pod) -> Result<Duration> {
    let mut times = [Duration::ZERO; 3];
    for time in &mut times {
        let add = start_add(lab, deployment, pod)?;
        let begin = Instant::now();
        add.wait()?.success()?;
        *time = begin.elapsed();
        deployment.del(pod)?.success()?;
    }
    times.sort();
    Ok(times[1])
}

#[test]
fn adds_killed_at_any_moment_lose_no_address() -> Result<()> {
    let lab = lab()?;
    let deployment = Deployment::start(&lab, POOL_OF_64)?;
    let node = lab.node("master")?;
    let pods = pods(&lab, 64)?;
    let before = (node.snapshot()?, pods[0].snapshot()?);

    // The first ADD finds nothing in memory and takes longer than any other.
    deployment.add(&pods[0])?.success()?;
    deployment.del(&pods[0])?.success()?;
    let (mut whole, mut killed, mut attempts) = (Duration::ZERO, 0, 0);
    while killed < KILLS {
        assert!(
            attempts < MOST_ATTEMPTS,
            "only {killed} of {attempts} ADDs were killed: a whole one takes less than {whole:?}"
        );
        // The other tests come and go, and the machine's speed with them.
        if attempts % 25 == 0 {
            whole = time_of_add(&lab, &deployment, &pods[0])?;
        }
        let pod = &pods[attempts as usize % 4];
        let mut add = start_add(&lab, &deployment, pod)?;
        // Not a wait for anything: the moment of the kill is what varies.
        std::thread::sleep(whole * (attempts * 37 % 100) / 90);
        add.kill()?;
        let answer = add.wait()?;
        attempts += 1;
        if answer.outcome.status.signal().is_some() {
            killed += 1;
        } else {
            answer.success()?;
        }
        deployment.del(pod)?.success()?;
    }
    println!("{killed} of {attempts} ADDs were killed; a whole one takes {whole:?}");
    assert_eq!(lease_count(&deployment, "master")?, 0);
    assert_eq!(before.0.changes(&node.snapshot()?), Vec::<String>::new());
    assert_eq!(before.1.changes(&pods[0].snapshot()?), Vec::<String>::new());

    let given: BTreeSet<String> = add_all(&deployment, &pods)?
        .iter()
        .map(addresses)
        .collect::<Result<Vec<_>>>()?
        .concat()
        .into_iter()
        .collect();
    assert_eq!(given.len(), 64, "all addresses can be had again");
    Ok(())
}
