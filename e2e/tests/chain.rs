//! Upstream's chained plugins behind ours: bandwidth, portmap, tuning, firewall and sbr of Debian's
//! containernetworking-plugins, each also behind upstream's ipvlan in the same run. As root, on a
//! real ipvlan kernel.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::deployment::{Deployment, INTERFACE, PLUGIN};
use e2e::peer::{PeerServer, seen_by};
use e2e::{Answer, Chain, Lab, Namespace, Pod, Runtime, Trace, seed, side_by_side};
use serde_json::{Value, json};

/// What Debian's plugins know.
const VERSION: &str = "1.0.0";

const NODE_PORT: u16 = 8080;

/// Beside the seed's pools.
const IPV6_POOL: &str = "---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata:
  name: master-v6
spec:
  default: true
  ips: [\"fd00:172::1-fd00:172::5\"]
  subnet: fd00:172::/64
  gateway: fd00:172::fd
  multusName: [kube-system/ipvlan-eth0]
";

/// Bits per second that a pod is held to.
const LIMIT: u32 = 4_000_000;

struct Ground<'lab> {
    lab: &'lab Lab,
    deployment: &'lab Deployment<'lab>,
    runtime: Runtime<'lab>,
    pod: &'lab Pod,
}

/// What a chain left: the attachment's trace, and the node's nftables rules that name an address.
#[derive(Clone, PartialEq)]
struct Left {
    trace: Trace,
    rules: String,
}

fn start(lab: &Lab) -> Result<Deployment<'_>> {
    let pools = format!("{}{IPV6_POOL}", seed::POOLS);
    Ok(Deployment::start(lab, &pools)?.with_cni_version(VERSION))
}

impl<'lab> Ground<'lab> {
    fn new(lab: &'lab Lab, deployment: &'lab Deployment<'lab>) -> Result<Self> {
        let folder = lab.data_dir().join("bin");
        side_by_side(&folder)?;
        let pod = lab.pods().first().context("a pod")?;
        let runtime = lab.node(&pod.spec().node)?.runtime()?.with_plugin_dir(&folder);
        Ok(Self { lab, deployment, runtime, pod })
    }

    /// Our plugin in this mode, as the example's list has it.
    fn ours(&self, mode: &str) -> Result<Value> {
        let spec = self.pod.spec();
        let mut plugin = self.deployment.list(&spec.node, &spec.network)?["plugins"][0].clone();
        plugin["mode"] = json!(mode);
        Ok(plugin)
    }

    /// Upstream's in this mode, with addresses that the cloud gave to the same NIC.
    fn upstreams(&self, mode: &str) -> Value {
        json!({
            "type": "ipvlan", "master": "eth0", "mode": mode,
            "ipam": {
                "type": "host-local", "dataDir": self.lab.data_dir().join("host-local"),
                "ranges": [
                    [{"subnet": "172.31.192.0/20", "gateway": "172.31.207.253",
                        "rangeStart": "172.31.199.186", "rangeEnd": "172.31.199.189"}],
                    [{"subnet": "fd00:172::/64", "gateway": "fd00:172::fd",
                        "rangeStart": "fd00:172::1:0"}],
                ],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        })
    }

    /// Upstream's ptp, whose pods have a veth, with our IPAM plugin.
    fn veth(&self) -> Value {
        json!({
            "type": "ptp",
            "ipam": {
                "type": "cni-ipam", "dataDir": self.lab.data_dir().join("networks"),
                "ranges": [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd88::/64"}]],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        })
    }

    fn chain(&self, main: &Value, chained: &Value) -> Chain<'lab> {
        let list = json!({"cniVersion": VERSION, "name": "chained", "plugins": [main, chained]});
        Chain::new(self.runtime.clone(), list, self.pod, INTERFACE)
    }

    fn left(&self) -> Result<Left> {
        let node = self.lab.node(&self.pod.spec().node)?;
        let rules = node.run(["nft", "list", "ruleset"])?.success()?;
        let of_pods = ["172.31.199.18", "fd00:172::", "10.88.0.", "fd88::"];
        let names_one = |line: &&str| of_pods.iter().any(|pod| line.contains(pod));
        let rules = rules.lines().filter(names_one).collect::<Vec<_>>().join("\n");
        Ok(Left { trace: Trace::of(self.lab, self.deployment, self.pod)?, rules })
    }

    fn assert_nothing_left(&self, before: &Left, what: &str) -> Result<()> {
        let after = self.left()?;
        assert_eq!(before.trace.changes(&after.trace), Vec::<String>::new(), "{what}");
        assert_eq!(before.rules, after.rules, "{what}");
        Ok(())
    }
}

/// How a chain lived: what its ADD answered, and its CHECK if there was one. `Ok` for success, else
/// the plugin and its message.
#[derive(Debug, PartialEq)]
struct Life {
    add: Result<(), String>,
    check: Option<Result<(), String>>,
}

fn life(chain: &mut Chain<'_>, meanwhile: impl FnOnce() -> Result<()>) -> Result<Life> {
    let outcome = |answer: Answer| {
        let message = |json: &Value| json["msg"].as_str().map(str::to_owned);
        let said = answer.json.as_ref().and_then(message).unwrap_or_default();
        if answer.is_success() { Ok(()) } else { Err(format!("{}: {said}", answer.plugin)) }
    };
    let add = outcome(chain.add()?);
    let mut check = None;
    if add.is_ok() {
        check = Some(outcome(chain.check()?));
        meanwhile()?;
    }
    chain.del()?.success()?;
    Ok(Life { add, check })
}

fn sees(pod: &Pod, argv: &[&str], text: &str) -> Result<()> {
    let shown = pod.run(argv)?.success()?;
    ensure!(shown.contains(text), "{argv:?}: {shown} lacks {text}");
    Ok(())
}

/// Each lives behind ours as it does behind upstream's ipvlan, but for sbr, behind which upstream's
/// own CHECK fails.
#[test]
fn each_lives_behind_ours_as_behind_upstreams_ipvlan() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = start(&lab)?;
    let ground = Ground::new(&lab, &deployment)?;
    let pod = ground.pod;
    let before = ground.left()?;
    let link: &[&str] = &["ip", "-d", "link", "show", "eth0"];
    let rules: &[&str] = &["ip", "rule"];
    let arp_filter: &[&str] = &["cat", "/proc/sys/net/ipv4/conf/eth0/arp_filter"];
    let no_veth = "bandwidth: container interface eth0 has no veth peer: interface \"eth0\" was \
                   not a veth interface";
    let no_gateway = "ipvlan: Failed to find Gateway 172.31.207.253 for interface eth0".to_owned();
    for (mode, chained, seen, add, upstreams_check) in [
        (
            "l2",
            json!({"type": "bandwidth", "ingressRate": 4_000_000, "ingressBurst": 4_000_000}),
            None,
            Err(no_veth),
            Ok(()),
        ),
        (
            "l2",
            json!({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}}),
            Some((arp_filter, "1")),
            Ok(()),
            Ok(()),
        ),
        (
            "l2",
            json!({"type": "tuning", "mtu": 1400, "promisc": true, "allmulti": true}),
            Some((link, "mtu 1400")),
            Ok(()),
            Ok(()),
        ),
        (
            "l2",
            json!({"type": "tuning", "mac": "02:00:5e:10:00:01"}),
            None,
            Err("tuning: operation not supported"),
            Ok(()),
        ),
        ("l2", json!({"type": "firewall"}), None, Ok(()), Ok(())),
        (
            "l2",
            json!({"type": "sbr"}),
            Some((rules, "lookup 100")),
            Ok(()),
            Err(no_gateway.clone()),
        ),
        ("l3s", json!({"type": "firewall"}), None, Ok(()), Ok(())),
        ("l3s", json!({"type": "sbr"}), Some((rules, "lookup 100")), Ok(()), Err(no_gateway)),
    ] {
        let add = add.map_err(str::to_owned);
        for (main, check) in
            [(ground.ours(mode)?, Ok(())), (ground.upstreams(mode), upstreams_check)]
        {
            let what = format!("{mode}, {} behind {}", chained, main["type"]);
            let found = life(&mut ground.chain(&main, &chained), || {
                seen.map_or(Ok(()), |(argv, text)| sees(pod, argv, text))
            });
            let found = found.with_context(|| what.clone())?;
            let check = add.is_ok().then_some(check);
            assert_eq!(found, Life { add: add.clone(), check }, "{what}");
            ground.assert_nothing_left(&before, &what)?;
            println!("{what}: ADD {add:?}, CHECK {:?}", found.check);
        }
    }
    Ok(())
}

/// Whether a connection to the node's port comes to the pod.
fn portmap(ground: &Ground<'_>, main: &Value) -> Result<bool> {
    let client = ground.lab.node("worker")?;
    let node = &ground.lab.node("master")?.spec().nics[0];
    let address = SocketAddr::new(node.primary, NODE_PORT);
    let server = PeerServer::start(ground.pod)?;
    let mapping = json!([{"hostPort": NODE_PORT, "containerPort": server.port(),
        "protocol": "tcp"}]);
    let chained = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    let before = ground.left()?;
    let mut connected = false;
    let found =
        life(&mut ground.chain(main, &chained).with_capability("portMappings", mapping), || {
            ensure!(ground.left()?.rules != before.rules, "portmap made no rule");
            connected = seen_by(client, address).is_ok();
            Ok(())
        })?;
    // Where the node has ip6tables, its CHECK looks for the rules of IPv4 there too.
    let check = found.check.context("a CHECK")?.err().unwrap_or_default();
    assert!(check.starts_with("portmap: could not check ipv6 dnat"), "{main}: {check}");
    assert!(seen_by(client, address).is_err(), "the port is closed after DEL");
    ground.assert_nothing_left(&before, &main.to_string())?;
    Ok(connected)
}

/// In l3s the kernel looks for the pod behind the node's PREROUTING rules, where portmap's are; in
/// the other modes a packet that the node sends to a pod of its own leaves by the NIC.
#[test]
fn a_nodes_port_leads_to_a_pod_with_a_veth_and_to_one_in_mode_l3s() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let deployment = start(&lab)?;
    let ground = Ground::new(&lab, &deployment)?;
    assert!(portmap(&ground, &ground.veth())?);
    for (mode, expected) in [("l2", false), ("l3", false), ("l3s", true)] {
        let ours = portmap(&ground, &ground.ours(mode)?).context(PLUGIN)?;
        let upstreams = portmap(&ground, &ground.upstreams(mode)).context("upstream ipvlan")?;
        assert_eq!((ours, upstreams), (expected, expected), "{mode}");
    }
    Ok(())
}

/// Bits per second from `client` to `server`, as the receiver counts them.
fn bits_per_second(client: &Namespace, server: &Namespace, to: &str) -> Result<f64> {
    let mut serving = server.spawn(Command::new("iperf3").arg("--server").stdout(Stdio::null()))?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let measured = loop {
        // It has no limit of its own for all of its waits.
        let report =
            client.run(["timeout", "120", "iperf3", "--client", to, "--time", "5", "--json"])?;
        // Not yet listening, or the machine was so busy that it did not measure to its end.
        let rate = report.success().and_then(|report| {
            let report: Value = serde_json::from_str(&report)?;
            report["end"]["sum_received"]["bits_per_second"].as_f64().context("iperf3's rate")
        });
        if rate.is_ok() || Instant::now() > deadline {
            break rate;
        }
    };
    serving.kill()?;
    serving.wait()?;
    measured
}

#[test]
fn a_pod_with_a_veth_is_held_to_its_bandwidth() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = start(&lab)?;
    let ground = Ground::new(&lab, &deployment)?;
    let node = lab.node("master")?;
    let chained = json!({"type": "bandwidth", "capabilities": {"bandwidth": true}});
    let rates = |limit: Option<Value>| -> Result<[f64; 2]> {
        let before = ground.left()?;
        let mut chain = ground.chain(&ground.veth(), &chained);
        if let Some(limit) = limit.clone() {
            chain = chain.with_capability("bandwidth", limit);
        }
        let result = chain.add()?.success()?.clone();
        // Without a limit upstream's CHECK ends with a nil pointer.
        if limit.is_some() {
            chain.check()?.success()?;
        }
        let ip = &result["ips"][0];
        let address = ip["address"].as_str().context("an address")?;
        let (address, _) = address.split_once('/').context("a prefix length")?;
        let gateway = ip["gateway"].as_str().context("a gateway")?;
        let rates = [
            bits_per_second(node, ground.pod, address)?,
            bits_per_second(ground.pod, node, gateway)?,
        ];
        chain.del()?.success()?;
        ground.assert_nothing_left(&before, "bandwidth")?;
        Ok(rates)
    };
    let limited = rates(Some(json!({
        "ingressRate": LIMIT, "ingressBurst": LIMIT / 4, "egressRate": LIMIT,
        "egressBurst": LIMIT / 4,
    })))?;
    let unlimited = rates(None)?;
    println!("bits per second into and out of the pod: {limited:.0?}, unlimited {unlimited:.0?}");
    for (limited, unlimited) in limited.into_iter().zip(unlimited) {
        assert!(limited < 1.5 * f64::from(LIMIT), "{limited} of {LIMIT} bit/s");
        assert!(unlimited > 3.0 * limited, "unlimited {unlimited} bit/s, limited {limited}");
    }
    Ok(())
}
