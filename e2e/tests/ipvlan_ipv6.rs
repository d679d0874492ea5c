//! IPv6 and dual stack on a real ipvlan kernel: at once, for each other, and announced. As root.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::deployment::{Deployment, INTERFACE, addresses};
use e2e::{Call, Capture, Lab, Pod, PodSpec, seed};
use serde_json::{Value, json};

/// Upstream's plugins, of Debian's containernetworking-plugins.
const UPSTREAM: &str = "/usr/lib/cni";

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
    let lab = Lab::start(&seed::cluster())?;
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
    assert!(pods[1].ping("fd00:172::1", 1)?.all_received());
    assert!(pods[1].ping("fd00:172::2", 1)?.all_received());
    Ok(())
}

/// All links of a NIC have its MAC, and so might have one link-local address.
#[test]
fn fifty_dual_stack_pods_of_one_master_have_no_duplicate_address() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
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
    let lab = Lab::start(&seed::cluster())?;
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

const ROUNDS: usize = 7;

/// The median of some whole ADDs.
fn median(mut add: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut times = (0..ROUNDS).map(|_| add()).collect::<Result<Vec<_>>>()?;
    times.sort();
    Ok(times[ROUNDS / 2])
}

/// Ours and upstream's, in one run, of each stack.
#[test]
fn ipv6_costs_an_add_less_than_fifty_milliseconds() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?.with_cni_version("1.0.0");
    let pod = &lab.pods()[0];
    let node = lab.node("master")?;
    let ours = |v4: bool, v6: bool| {
        median(|| {
            let change = |configuration: &mut Value| {
                let ipam = &mut configuration["ipam"];
                if v4 {
                    ipam["default_ipv4_ippool"] = json!(["dual-v4"]);
                }
                if v6 {
                    ipam["default_ipv6_ippool"] = json!(["dual-v6"]);
                }
            };
            let began = Instant::now();
            let answer = deployment.call("ADD", pod, change)?;
            let time = began.elapsed();
            assert_eq!(addresses(&answer)?.len(), usize::from(v4) + usize::from(v6));
            deployment.call("DEL", pod, change)?.success()?;
            Ok(time)
        })
    };
    let data = lab.data_dir().join("host-local");
    let upstream = |v4: bool, v6: bool| {
        let v4_range = json!([{"subnet": "10.66.0.0/24", "gateway": "10.66.0.1"}]);
        let v6_range = json!([{"subnet": "fd00:66::/64", "gateway": "fd00:66::fd"}]);
        let stacks =
            [(v4, v4_range, json!({"dst": "0.0.0.0/0"})), (v6, v6_range, json!({"dst": "::/0"}))];
        let wanted = || stacks.iter().filter(|(wanted, ..)| *wanted);
        let ranges: Vec<_> = wanted().map(|(_, range, _)| range).collect();
        let routes: Vec<_> = wanted().map(|(.., route)| route).collect();
        let configuration = json!({
            "cniVersion": "1.0.0", "name": "upstream", "type": "ipvlan", "master": "eth0",
            "ipam": {"type": "host-local", "dataDir": data, "ranges": ranges, "routes": routes},
        })
        .to_string();
        let runtime = node.runtime()?.with_plugin_dir(UPSTREAM);
        median(|| {
            let began = Instant::now();
            runtime.add("ipvlan", &configuration, pod, INTERFACE)?.success()?;
            let time = began.elapsed();
            let del = Call::of("DEL", "ipvlan", &configuration, pod, INTERFACE);
            runtime.start(&del)?.wait()?.success()?;
            Ok(time)
        })
    };
    let mut table = format!("whole ADDs, medians of {ROUNDS}:    IPv4      IPv6      both\n");
    let stacks = [(true, false), (false, true), (true, true)];
    let row = |name: &str, times: &[Duration]| {
        let cells: Vec<_> =
            times.iter().map(|time| format!("{:7.1}ms", time.as_secs_f64() * 1e3)).collect();
        format!("  {name:<28} {}\n", cells.join(" "))
    };
    let of_ours = stacks.map(|(v4, v6)| ours(v4, v6));
    let of_ours = of_ours.into_iter().collect::<Result<Vec<_>>>()?;
    table += &row("cni-ipvlan", &of_ours);
    let of_upstream = stacks.map(|(v4, v6)| upstream(v4, v6));
    let of_upstream = of_upstream.into_iter().collect::<Result<Vec<_>>>()?;
    table += &row("upstream ipvlan, host-local", &of_upstream);
    println!("{table}");
    for time in &of_ours[1..] {
        let more = time.saturating_sub(of_ours[0]);
        assert!(more < Duration::from_millis(50), "{more:?} more than IPv4\n{table}");
    }
    Ok(())
}
