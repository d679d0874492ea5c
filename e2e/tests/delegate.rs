//! Upstream's main plugins with our IPAM plugin: bridge, ptp and macvlan of Debian's
//! containernetworking-plugins, in the node's and the pods' namespaces. As root, on any kernel with
//! veth, bridge and macvlan.

use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::deployment::Deployment;
use e2e::{Lab, Node, Pod, Runtime, plugin_dir, seed};
use ipnet::IpNet;
use serde_json::{Value, json};
use tempfile::TempDir;

const UPSTREAM: &str = "/usr/lib/cni";
const IPAM: &str = "cni-ipam";
const IFNAME: &str = "eth0";

/// Upstream's plugins and ours in one folder.
struct Folder(TempDir);

impl Folder {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for plugin in ["bridge", "ptp", "macvlan"] {
            let path = Path::new(UPSTREAM).join(plugin);
            assert!(path.is_file(), "{plugin}: apt-get install containernetworking-plugins");
            symlink(path, folder.path().join(plugin))?;
        }
        symlink(plugin_dir()?.join(IPAM), folder.path().join(IPAM))?;
        Ok(Self(folder))
    }

    fn runtime<'node>(&self, node: &'node Node) -> Result<Runtime<'node>> {
        Ok(node.runtime()?.with_plugin_dir(self.0.path()))
    }
}

/// The first node and two pods of it.
fn pods(lab: &Lab) -> Result<(&Node, [&Pod; 2])> {
    let of_master = |pod: &&Pod| pod.spec().node == "master";
    let pods: Vec<&Pod> = lab.pods().iter().filter(of_master).collect();
    Ok((lab.node("master")?, [pods[0], pods[1]]))
}

fn addresses(result: &Value) -> Result<Vec<IpNet>> {
    let ips = result["ips"].as_array().context("ips")?;
    ips.iter().map(|ip| Ok(ip["address"].as_str().context("an address")?.parse()?)).collect()
}

fn has(pod: &Pod, address: IpAddr) -> Result<bool> {
    let listed = pod.run(["ip", "-j", "address", "show", "dev", IFNAME])?.success()?;
    Ok(listed.contains(&format!("\"{address}\"")))
}

/// Upstream's plugins do not wait until the node's own IPv6 addresses are usable.
fn reaches(pod: &Pod, from: IpAddr, to: IpAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let ping = pod.ping_from(from, to, 1)?;
        if ping.all_received() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{from} to {to}: {}", ping.text);
    }
}

/// Two pods: ADD, they reach each other, CHECK, a second ADD fails, DEL twice.
fn live(runtime: &Runtime<'_>, pods: [&Pod; 2], conf: &Value, families: usize) -> Result<()> {
    let plugin = conf["type"].as_str().context("a type")?;
    let text = conf.to_string();
    let before = pods[0].snapshot()?;
    let mut confs = Vec::new();
    let mut given = Vec::new();
    for pod in pods {
        let result = runtime.add(plugin, &text, pod, IFNAME)?.success()?.clone();
        given.push(addresses(&result)?);
        let mut conf = conf.clone();
        conf["prevResult"] = result;
        confs.push(conf.to_string());
    }
    assert_eq!(given[0].len(), families, "{plugin}: {given:?}");
    for (from, to) in given[0].iter().zip(&given[1]) {
        assert!(has(pods[0], from.addr())?, "{plugin}: {from}");
        reaches(pods[0], from.addr(), to.addr()).with_context(|| plugin.to_owned())?;
    }
    for (pod, conf) in pods.into_iter().zip(&confs) {
        runtime.check(plugin, conf, pod, IFNAME)?.success()?;
    }
    let again = runtime.add(IPAM, &text, pods[0], IFNAME)?;
    assert_eq!(again.error_code(), Some(102), "{again:?}");
    runtime.check(plugin, &confs[0], pods[0], IFNAME)?.success()?;
    for (pod, conf) in pods.into_iter().zip(&confs) {
        runtime.del(plugin, conf, pod, IFNAME)?.success()?;
        runtime.del(plugin, &text, pod, IFNAME)?.success()?;
        let held = runtime.check(IPAM, conf, pod, IFNAME)?;
        assert_eq!(held.error_code(), Some(104), "{held:?}");
    }
    let changes = before.changes(&pods[0].snapshot()?);
    assert!(changes.is_empty(), "{plugin}: {changes:?}");
    Ok(())
}

fn main_plugins() -> [Value; 3] {
    let conf = |plugin: &str| json!({"cniVersion": "1.0.0", "name": plugin, "type": plugin});
    let mut bridge = conf("bridge");
    bridge["bridge"] = json!("cni0");
    bridge["isGateway"] = json!(true);
    let mut macvlan = conf("macvlan");
    macvlan["master"] = json!("eth0");
    [bridge, conf("ptp"), macvlan]
}

#[test]
fn upstream_plugins_live_on_ranges() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let folder = Folder::new()?;
    let (node, pods) = pods(&lab)?;
    let runtime = folder.runtime(node)?;
    for (number, mut conf) in main_plugins().into_iter().enumerate() {
        conf["ipam"] = json!({
            "type": IPAM,
            "dataDir": node.data_dir().join("networks"),
            "ranges": [
                [{"subnet": format!("10.8{number}.0.0/24")}],
                [{"subnet": format!("fd08:{number}::/64")}],
            ],
            // Upstream's CHECK finds no route whose gateway it was left to fill in.
            "routes": [{"dst": "203.0.113.0/24", "gw": format!("10.8{number}.0.1")}],
        });
        live(&runtime, pods, &conf, 2)?;
    }
    Ok(())
}

#[test]
fn upstream_plugins_live_on_applied_pools() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let folder = Folder::new()?;
    let (node, pods) = pods(&lab)?;
    let runtime = folder.runtime(node)?;
    for mut conf in main_plugins() {
        conf["ipam"] = deployment.configuration_of(pods[0])?["ipam"].clone();
        live(&runtime, pods, &conf, 1)?;
    }
    assert_eq!(deployment.leases("master")?, Vec::<Value>::new());
    Ok(())
}

/// What the delegate refuses reaches the runtime with its code, and the pod has no link.
#[test]
fn an_exhausted_range_leaves_the_pod_as_it_was() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let folder = Folder::new()?;
    let (node, [first, second]) = pods(&lab)?;
    let runtime = folder.runtime(node)?;
    let [mut conf, ..] = main_plugins();
    conf["ipam"] = json!({
        "type": IPAM,
        "dataDir": node.data_dir().join("networks"),
        "subnet": "10.80.0.0/30",
    });
    let text = conf.to_string();
    runtime.add("bridge", &text, first, IFNAME)?.success()?;
    let refused = runtime.add("bridge", &text, second, IFNAME)?;
    assert_eq!(refused.error_code(), Some(11), "{refused:?}");
    assert!(refused.outcome.stdout.contains("no free IPv4 address"), "{refused:?}");
    runtime.del("bridge", &text, second, IFNAME)?.success()?;
    runtime.del("bridge", &text, first, IFNAME)?.success()?;
    runtime.add("bridge", &text, second, IFNAME)?.success()?;

    // Upstream's plugins of this version know neither GC nor STATUS: the delegate does.
    conf["cniVersion"] = json!("1.1.0");
    runtime.status(IPAM, &conf.to_string())?.success()?;
    conf["cni.dev/valid-attachments"] = json!([]);
    runtime.gc(IPAM, &conf.to_string())?.success()?;
    conf["ipam"]["subnet"] = json!("10.80.0.1/30");
    assert_eq!(runtime.status(IPAM, &conf.to_string())?.error_code(), Some(7));
    // Its address is on an interface: the list lacks a live pod.
    let third = runtime.add("bridge", &text, first, IFNAME)?;
    assert_eq!(third.error_code(), Some(11), "{third:?}");
    Ok(())
}
