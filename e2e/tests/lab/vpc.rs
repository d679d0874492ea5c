//! The VPC treats frames as its description says, on a kernel without ipvlan. As root.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::peer::{self, PeerServer};
use e2e::{Arp, Cloud, Cluster, Lab, Mac, Namespace, NicDrops, Pod, seed};

const MASTER: &str = "172.31.199.183";
const WORKER: &str = "172.31.199.184";
const WORKER_ETH1: &str = "192.168.0.155";
/// In the subnet, but nobody's.
const UNUSED: &str = "172.31.200.1";
/// A proxy answers after a random time of up to `proxy_delay`, 800 ms by default (Linux
/// `Documentation/networking/ip-sysctl.rst`), unless that is set to 0. Even the quickest of
/// [`TRIES`] answers with such delays is this early for every other target only.
const AT_ONCE: Duration = Duration::from_millis(100);
const TRIES: u32 = 5;

fn lab(cloud: Cloud) -> Result<Lab> {
    Lab::start(&Cluster { cloud, ..seed::cluster() })
}

/// Gives a pod a macvlan link on its node's eth0, with a MAC that the cloud has never seen.
fn attach_macvlan(lab: &Lab, pod: &Pod, address: &str) -> Result<()> {
    let name = pod.name();
    let link = format!("link add link eth0 name mac0 netns {name} type macvlan mode bridge\n");
    lab.node(&pod.spec().node)?.ip(&link)?;
    pod.ip(&format!(
        "link set dev mac0 name eth0\nlink set dev eth0 up\naddress add {address}/20 dev eth0\n\
         route add default via 172.31.207.253\n"
    ))
}

/// Who answers an ARP request for an address: each MAC with the time it took.
fn arping(from: &Namespace, options: &[&str], target: &str) -> Result<Vec<(Mac, Duration)>> {
    let mut argv = vec!["arping", "-c", "1", "-w", "1", "-I", "eth0"];
    argv.extend(options);
    argv.push(target);
    let outcome = from.run(argv)?;
    let text = &outcome.stdout;
    assert!(text.contains("Sent 1 probes"), "{outcome:?}");
    let replies = text.lines().filter(|line| line.contains("reply from"));
    replies
        .map(|line| {
            let (_, rest) = line.split_once('[').context("a MAC in brackets")?;
            let (mac, time) = rest.split_once(']').context("a MAC in brackets")?;
            let milliseconds: f64 = time.trim().trim_end_matches("ms").parse()?;
            Ok((mac.parse()?, Duration::from_secs_f64(milliseconds / 1000.0)))
        })
        .collect()
}

/// The answer to an ARP request, the quickest of several: a loaded machine delays some of them,
/// but not all.
fn quickest_answer(from: &Namespace, options: &[&str], target: &str) -> Result<(Mac, Duration)> {
    let mut quickest: Option<(Mac, Duration)> = None;
    for _ in 0..TRIES {
        let replies = arping(from, options, target)?;
        assert!(replies.len() <= 1, "{target} {options:?}: {replies:?}");
        for reply in replies {
            let (mac, time) = *quickest.get_or_insert(reply);
            assert_eq!(mac, reply.0, "{target} {options:?}: two owners");
            quickest = Some((mac, time.min(reply.1)));
        }
        if quickest.is_some_and(|(_, time)| time < AT_ONCE) {
            break;
        }
    }
    quickest.with_context(|| format!("nobody answers for {target} {options:?}"))
}

#[test]
fn the_strict_vpc_drops_unknown_macs_and_the_plain_one_does_not() -> Result<()> {
    let strict = lab(Cloud::default())?;
    let pod = strict.pod("default", "test-app-1-ddlx7")?;
    attach_macvlan(&strict, pod, "172.31.199.185")?;
    assert_eq!(pod.ping(WORKER, 2)?.received(), 0);
    let drops = strict.vpc().nic_drops("master", "eth0")?;
    assert!(drops.unknown_mac >= 1, "{drops:?}");
    assert_eq!(strict.vpc().nic_drops("worker", "eth0")?, NicDrops::default());

    let plain = lab(Cloud::PLAIN)?;
    let pod = plain.pod("default", "test-app-1-ddlx7")?;
    attach_macvlan(&plain, pod, "172.31.199.185")?;
    let ping = pod.ping(WORKER, 2)?;
    assert!(ping.all_received(), "{ping}");
    assert_eq!(plain.vpc().nic_drops("master", "eth0")?, NicDrops::default());
    Ok(())
}

#[test]
fn a_nic_may_use_the_addresses_that_the_cloud_gave_to_it_and_no_other() -> Result<()> {
    let lab = lab(Cloud::default())?;
    let master = lab.node("master")?;
    master
        .ip("address add 172.31.199.185/20 dev eth0\naddress add 172.31.199.186/32 dev eth0\n")?;
    for own in [MASTER, "172.31.199.185", "172.31.199.186"] {
        let ping = master.ping_from(own, WORKER, 1)?;
        assert!(ping.all_received(), "{ping}");
        assert_eq!(ping.replies[0].ttl, 64);
    }
    assert_eq!(lab.vpc().nic_drops("master", "eth0")?, NicDrops::default());

    // An address of the worker's, and one that is nobody's; ARP for the target is known already.
    for (count, foreign) in (1..).zip(["172.31.199.190", UNUSED]) {
        master.ip(&format!("address add {foreign}/32 dev eth0\n"))?;
        assert_eq!(master.ping_from(foreign, WORKER, 1)?.received(), 0, "{foreign}");
        let drops = lab.vpc().nic_drops("master", "eth0")?;
        assert_eq!(drops, NicDrops { unknown_mac: 0, unknown_ip: count });
    }
    // The same address in an ARP request.
    assert_eq!(arping(master, &["-s", UNUSED], WORKER)?, []);
    assert_eq!(lab.vpc().nic_drops("master", "eth0")?.unknown_ip, 3);

    let unchecked = Cloud { source_check: false, ..Cloud::default() };
    let lab = self::lab(unchecked)?;
    let master = lab.node("master")?;
    master.ip(&format!("address add {UNUSED}/32 dev eth0\n"))?;
    assert_eq!(arping(master, &["-s", UNUSED], WORKER)?.len(), 1);
    Ok(())
}

#[test]
fn every_arp_request_is_answered_by_the_vpc_or_only_by_the_owner() -> Result<()> {
    let strict = lab(Cloud::default())?;
    let master = strict.node("master")?;
    // Unused, its own subnet's first and last, the other subnet's, outside, the gateway, a node.
    let first = ["172.31.192.0", "172.31.207.255"];
    let others = [UNUSED, "192.168.0.99", "198.18.0.1", "172.31.207.253", WORKER];
    for target in first.iter().chain(&others) {
        for probe in [&["-s", MASTER][..], &["-D"][..]] {
            let (mac, time) = quickest_answer(master, probe, target)?;
            assert_eq!(mac, Mac::VPC, "{target}");
            assert!(time < AT_ONCE, "{target} after {time:?} at best");
        }
    }
    assert_eq!(master.ping(UNUSED, 1)?.received(), 0);
    assert_eq!(strict.vpc().drops()?.unknown_destination, 1);
    master.run(["ping", "-b", "-c", "1", "-W", "1", "172.31.207.255"])?;
    assert_eq!(strict.vpc().drops()?.broadcast, 1);

    let arp = Arp::Proxied { answers_probes: false };
    let silent = lab(Cloud { arp, ..Cloud::default() })?;
    assert_eq!(arping(silent.node("master")?, &["-D"], UNUSED)?, []);
    assert_eq!(arping(silent.node("master")?, &[], UNUSED)?.len(), 1);

    let plain = lab(Cloud::PLAIN)?;
    let master = plain.node("master")?;
    assert_eq!(arping(master, &[], UNUSED)?, []);
    assert_eq!(arping(master, &["-D"], UNUSED)?, []);
    let worker = plain.cluster().nodes[1].nics[0].mac;
    assert_eq!(arping(master, &[], WORKER)?.iter().map(|r| r.0).collect::<Vec<_>>(), [worker]);
    Ok(())
}

#[test]
fn vswitches_are_routed_unless_the_description_says_no() -> Result<()> {
    for (cloud, ttl) in [(Cloud::default(), 64), (Cloud::PLAIN, 63)] {
        let lab = lab(cloud)?;
        let master = lab.node("master")?;
        // By eth0 and its gateway, though eth1 is in the target's subnet.
        let ping = master.ping_from(MASTER, WORKER_ETH1, 2)?;
        assert!(ping.all_received(), "{cloud:?}\n{ping}");
        assert_eq!(ping.replies[0].ttl, ttl, "{cloud:?}");
        assert!(master.ping_from(MASTER, "172.31.207.253", 1)?.all_received());
        assert!(master.ping("192.168.0.253", 1)?.all_received());

        let lab = self::lab(Cloud { routes_between_vswitches: false, ..cloud })?;
        let master = lab.node("master")?;
        assert_eq!(master.ping_from(MASTER, WORKER_ETH1, 1)?.received(), 0, "{cloud:?}");
        assert!(master.ping(WORKER, 1)?.all_received());
        assert!(master.ping(WORKER_ETH1, 1)?.all_received());
    }
    Ok(())
}

#[test]
fn what_leaves_is_masqueraded_and_nothing_outside_gets_in() -> Result<()> {
    for cloud in [Cloud::default(), Cloud::PLAIN] {
        let lab = lab(cloud)?;
        let (master, server, client) =
            (lab.node("master")?, lab.outside("server")?, lab.outside("client")?);
        assert!(master.ping(seed::SERVER, 2)?.all_received());
        let at_server = PeerServer::start(server)?;
        let address = SocketAddr::from((seed::SERVER, at_server.port()));
        assert_eq!(peer::seen_by(master, address)?, seed::NAT_AT_SERVER);
        assert_eq!(peer::seen_by(client, address)?, seed::CLIENT);

        let at_master = PeerServer::start(master)?;
        let address = SocketAddr::from((MASTER.parse::<IpAddr>()?, at_master.port()));
        assert_eq!(peer::seen_by(lab.node("worker")?, address)?, WORKER.parse::<IpAddr>()?);
        assert_eq!(client.ping(MASTER, 1)?.received(), 0);
        assert!(peer::seen_by(client, address).is_err());
    }
    let mut open = seed::cluster();
    open.nat.as_mut().context("the seed has a NAT gateway")?.inbound = true;
    let lab = Lab::start(&open)?;
    let at_master = PeerServer::start(lab.node("master")?)?;
    let address = SocketAddr::from((MASTER.parse::<IpAddr>()?, at_master.port()));
    assert_eq!(peer::seen_by(lab.outside("client")?, address)?, seed::CLIENT);

    let closed = Lab::start(&Cluster { nat: None, ..seed::cluster() })?;
    let master = closed.node("master")?;
    assert_eq!(arping(master, &[], "198.18.0.1")?.len(), 1);
    assert_eq!(master.ping(seed::SERVER, 1)?.received(), 0);
    assert_eq!(closed.vpc().drops()?.unknown_destination, 1);
    Ok(())
}
