//! The lab's cloud from a machine's first minute on: pools by `ipamctl sync` alone, pods on real
//! ipvlan in the VPC that enforces what its metadata tells. As root.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::deployment::{Deployment, addresses};
use e2e::ecs::Ecs;
use e2e::metadata::{Dialect, Mischief};
use e2e::runtimes::wait_for;
use e2e::{Answer, Cluster, Lab, NicSpec, Outcome, Pod, PodSpec, seed};
use serde_json::json;

const NODES: [&str; 2] = ["master", "worker"];

/// Later than any test lasts.
const NOT_YET: [&str; 2] = ["--confirm-seconds", "86400"];
const AT_ONCE: [&str; 2] = ["--confirm-seconds", "0"];

/// What the plugin says when it has no answer.
const UNASKED: &str = "without the cloud's word";

/// On a machine that is emulated and busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// Two nodes with two NICs each, of which each has two addresses of each family for pods.
fn cluster(dialect: Dialect) -> Cluster {
    let mut cluster = seed::services();
    cluster.nodes.truncate(NODES.len());
    cluster.vswitches.truncate(2);
    for nic in cluster.nodes.iter_mut().flat_map(|node| &mut node.nics) {
        nic.secondary.truncate(2);
        nic.ipv6.truncate(3);
    }
    if dialect == Dialect::Aws {
        // Its metadata does not tell where the routers are: everybody knows.
        for vswitch in &mut cluster.vswitches {
            if let Some(first) = vswitch.subnet.hosts().next() {
                vswitch.gateway = first;
            }
            if let Some(ipv6) = &mut vswitch.ipv6 {
                ipv6.gateway = Ipv6Addr::new(0xfe80, 0x0ec2, 0, 0, 0, 0, 0, 1).into();
            }
        }
    }
    cluster
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(172, 31, 199, last).into()
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0x172, 0, 0, 0, 0, 0, last).into()
}

fn code(outcome: &Outcome) -> Option<i32> {
    outcome.status.code()
}

/// A pod that runs, with what it got.
struct Running {
    pod: Pod,
    addresses: Vec<IpAddr>,
}

impl Running {
    fn of(pod: Pod, answer: &Answer) -> Result<Self> {
        let addresses = addresses(answer)?.iter().map(|it| it.parse()).collect::<Result<_, _>>()?;
        Ok(Self { pod, addresses })
    }

    fn name(&self) -> &str {
        &self.pod.spec().name
    }

    fn reaches(&self, target: IpAddr) -> Result<bool> {
        Ok(self.pod.ping(target, 1)?.all_received())
    }

    /// By each family.
    fn reaches_all_of(&self, other: &Self) -> Result<()> {
        for target in &other.addresses {
            let ping = self.pod.ping(target, 2)?;
            ensure!(ping.all_received(), "{} to {}: {ping:?}", self.name(), other.name());
        }
        Ok(())
    }
}

struct Story<'lab> {
    lab: &'lab Lab,
    cloud: Ecs<'lab>,
    deployment: Deployment<'lab>,
}

impl<'lab> Story<'lab> {
    fn new(lab: &'lab Lab, dialect: Dialect) -> Result<Self> {
        let (cloud, deployment) = (Ecs::start(lab, dialect)?, Deployment::running(lab));
        Ok(Self { lab, cloud, deployment })
    }

    fn pod(&self, name: &str, node: &str, nic: &str) -> Result<Pod> {
        let spec = PodSpec::new("default", name, node, &format!("kube-system/ipvlan-{nic}"));
        self.lab.run_pods(&[spec])?.pop().context("one pod")
    }

    fn run(&self, name: &str, node: &str, nic: &str) -> Result<Running> {
        let pod = self.pod(name, node, nic)?;
        let answer = self.deployment.add(&pod)?;
        Running::of(pod, &answer)
    }

    fn ensure_full(&self, name: &str) -> Result<()> {
        let answer = self.deployment.add(&self.pod(name, "master", "eth0")?)?;
        ensure!(answer.error_code() == Some(11), "{name}: {answer:?}");
        Ok(())
    }

    fn sync(&self, options: &[&str]) -> Result<Outcome> {
        self.cloud.sync("master", options)
    }

    /// What is stored on the node, to its last word.
    fn stored(&self) -> Result<Vec<String>> {
        let get = |what| self.deployment.ipamctl(&["master"], &["get", what, "-o", "json"]);
        ["pools", "reserved", "ips"].into_iter().map(|what| get(what)?.success()).collect()
    }

    fn drops_of_unknown_ip(&self) -> Result<u64> {
        let mut sum = 0;
        for node in NODES {
            for nic in ["eth0", "eth1"] {
                let drops = self.lab.vpc().nic_drops(node, nic)?;
                ensure!(drops.unknown_mac == 0, "{node} {nic}: {drops:?}");
                sum += drops.unknown_ip;
            }
        }
        Ok(sum)
    }

    /// An empty node has no pool; a sync later it has those of the cloud, and nothing else.
    fn pools_come_by_themselves(&self) -> Result<()> {
        let early = self.deployment.add(&self.pod("early", "master", "eth0")?)?;
        ensure!(early.error_code() == Some(101), "{early:?}");
        for node in NODES {
            let outcome = self.cloud.sync(node, &[])?;
            ensure!(outcome.stderr.is_empty(), "it is told of its own NICs: {outcome:?}");
            let told = outcome.success()?;
            let created = told.lines().filter(|line| line.ends_with(" created")).count();
            ensure!(created == 4 && told.lines().count() == 8, "{told}");
            for name in ["eth0", "eth1"] {
                let NicSpec { secondary, ipv6, .. } = self.cloud.nic(node, name)?;
                for pods in [&secondary[..], &ipv6[1..]] {
                    let (first, last) = pods.first().zip(pods.last()).context("addresses")?;
                    ensure!(told.contains(&format!("  + {first}-{last} added\n")), "{told}");
                }
            }
        }
        Ok(())
    }

    /// A pod on each NIC of each node. All reach each other and the outside, and the VPC drops
    /// nothing of them; but all of a pod that has something else.
    fn pods_run(&self) -> Result<Vec<Running>> {
        let mut pods = Vec::new();
        for (name, node, nic) in [
            ("m0", "master", "eth0"),
            ("m1", "master", "eth1"),
            ("w0", "worker", "eth0"),
            ("w1", "worker", "eth1"),
        ] {
            let running = self.run(name, node, nic)?;
            let NicSpec { secondary, ipv6, .. } = self.cloud.nic(node, nic)?;
            ensure!(running.addresses == [secondary[0], ipv6[1]], "{:?}", running.addresses);
            pods.push(running);
        }
        for (from, to) in [(0, 2), (0, 3), (1, 3), (0, 1), (2, 1)] {
            pods[from].reaches_all_of(&pods[to])?;
        }
        for pod in &pods[..2] {
            ensure!(pod.reaches(seed::SERVER)?, "{} to the outside", pod.name());
        }
        ensure!(self.drops_of_unknown_ip()? == 0, "the VPC knows all that pods send from");

        for (stray, length, target) in
            [(v4(250), 20, pods[2].addresses[0]), (v6(250), 64, pods[2].addresses[1])]
        {
            let pod = &pods[0].pod;
            pod.ip(&format!("address add {stray}/{length} dev eth0 nodad\n"))?;
            let before = self.drops_of_unknown_ip()?;
            let ping = pod.ping_from(stray, target, 1)?;
            ensure!(ping.received() == 0, "the VPC lets through what it did not give: {ping:?}");
            ensure!(self.drops_of_unknown_ip()? > before, "{stray} was not dropped by its source");
            pod.ip(&format!("address del {stray}/{length} dev eth0\n"))?;
        }
        Ok(pods)
    }

    /// The pool is full; the cloud gives two more addresses of each family, and its metadata tells
    /// them a while later: with the next sync they are used.
    fn what_the_cloud_adds_is_used(&self, others: &Running) -> Result<Vec<Running>> {
        let mut pods = vec![self.run("m2", "master", "eth0")?];
        self.ensure_full("m3")?;
        self.cloud.metadata().misbehave(Mischief { is_stale: true, ..Mischief::default() });
        self.cloud.give("master", "eth0", &[v4(60), v4(61), v6(60), v6(61)])?;
        let told = self.sync(&[])?.success()?;
        ensure!(told.lines().all(|line| line.ends_with(" unchanged")), "{told}");
        self.ensure_full("m3")?;
        self.cloud.metadata().misbehave(Mischief::default());
        let told = self.sync(&[])?.success()?;
        for range in [format!("{}-{}", v4(60), v4(61)), format!("{}-{}", v6(60), v6(61))] {
            ensure!(told.contains(&format!("  + {range} added\n")), "{told}");
        }
        for (name, last) in [("m3", 60), ("m4", 61)] {
            let pod = self.run(name, "master", "eth0")?;
            ensure!(pod.addresses == [v4(last), v6(last.into())], "{:?}", pod.addresses);
            pod.reaches_all_of(others)?;
            ensure!(pod.reaches(seed::SERVER)?, "{name} to the outside");
            pods.push(pod);
        }
        self.ensure_full("m5")?;
        Ok(pods)
    }

    /// The cloud takes an address from under a pod. The pod is named, nobody gets the address
    /// again, and it leaves the pool when it is free and two readings agree.
    fn what_the_cloud_takes_is_fenced(&self, held: &Running, other: &Running) -> Result<()> {
        let gone = held.addresses[0];
        self.cloud.take("master", "eth0", gone)?;
        ensure!(!held.reaches(other.addresses[0])?, "the VPC enforces it at once");
        ensure!(held.reaches(other.addresses[1])?, "the other family goes on");
        let name = held.name().to_owned();
        for options in [&[][..], &AT_ONCE] {
            let told = self.sync(options)?;
            let holder = format!("held by pod default/{name} (");
            ensure!(code(&told) == Some(4), "{told:?}");
            ensure!(told.stdout.contains(&format!("  ~ {gone} fenced for ")), "{told:?}");
            ensure!(told.stdout.contains(&holder) && !told.stdout.contains("  - "), "{told:?}");
        }
        let reserved = self.deployment.ipamctl(&["master"], &["get", "reserved"])?.success()?;
        ensure!(reserved.contains(&gone.to_string()), "{reserved}");
        self.ensure_full("m5")?;

        self.deployment.del(&held.pod)?.success()?;
        self.ensure_full("m5")?;
        let again = self.deployment.add(&held.pod)?;
        ensure!(again.error_code() == Some(11), "not its last holder either: {again:?}");
        let told = self.sync(&NOT_YET)?.success()?;
        ensure!(told.contains(": free; a reading in ") && !told.contains("  - "), "{told}");
        let told = self.sync(&AT_ONCE)?.success()?;
        ensure!(told.contains(&format!("  - {gone} removed\n")), "{told}");
        let told = self.sync(&[])?.success()?;
        ensure!(!told.contains(&gone.to_string()), "{told}");
        self.ensure_full("m5")
    }

    /// An address that the cloud took away a moment ago, before any sync: who asks does not get it,
    /// and who does not is dropped. Without an answer nobody waits for one.
    fn detect_metadata_asks_the_cloud(&self, other: &Running) -> Result<()> {
        let gone = self.cloud.nic("worker", "eth0")?.secondary[1];
        self.cloud.give("worker", "eth0", &[v4(200)])?;
        self.cloud.sync("worker", &[])?.success()?;
        self.cloud.take("worker", "eth0", gone)?;
        let pod = self.pod("w2", "worker", "eth0")?;
        let call = |verb, endpoint: &str| {
            self.deployment.call(verb, &pod, |configuration| {
                configuration["ipam"]["cooldownSeconds"] = json!(0);
                if !endpoint.is_empty() {
                    configuration["detect"] = json!("metadata");
                    configuration["detectEndpoint"] = json!(endpoint);
                }
            })
        };
        let add = |endpoint: &str| -> Result<(Vec<String>, String)> {
            let answer = call("ADD", endpoint)?;
            Ok((addresses(&answer)?, answer.outcome.stderr))
        };
        let del = || call("DEL", "")?.success().map(drop);

        let (unasked, _) = add("")?;
        ensure!(unasked[0] == gone.to_string(), "{unasked:?}");
        ensure!(pod.ping(other.addresses[0], 1)?.received() == 0, "the VPC enforces it");
        del()?;
        // The cloud's own address; by its name, since the machine's firmware may say another.
        let service = format!("http://{}", Dialect::Alibaba.address());
        // An emulated machine may need more than the plugin's 200 ms.
        let (asked, said) = wait_for("an answer in time", PATIENCE, || {
            let (asked, said) = add(&service)?;
            if said.contains(UNASKED) {
                del()?;
                return Ok(None);
            }
            Ok(Some((asked, said)))
        })?;
        ensure!(asked[0] == v4(200).to_string(), "{asked:?}: {said}");
        ensure!(said.contains(&format!("{gone} is not for this NIC: ")), "{said}");
        ensure!(pod.ping(other.addresses[0], 1)?.all_received(), "{asked:?}");
        del()?;

        self.cloud.metadata().misbehave(Mischief { is_down: true, ..Mischief::default() });
        // Accepts, and never says a word.
        let silent = self.lab.node("worker")?.enter(|| Ok(TcpListener::bind("127.0.0.1:0")?))?;
        for endpoint in [service, format!("http://{}", silent.local_addr()?)] {
            let (_, said) = add(&endpoint)?;
            ensure!(said.contains(UNASKED), "{endpoint}: {said}");
            del()?;
        }
        self.cloud.metadata().misbehave(Mischief::default());
        Ok(())
    }

    /// Whatever the service says: what is stored stays, and pods run, come and go without it.
    fn metadata_may_lie(&self, pod: Running, other: &Running) -> Result<()> {
        let service = self.cloud.metadata();
        let mac = self.cloud.nic("master", "eth0")?.mac;
        let file = |name: &str, text: Option<&str>| Mischief {
            files: BTreeMap::from([(format!("{mac}/{name}"), text.map(str::to_owned))]),
            ..Mischief::default()
        };
        let statuses = VecDeque::from(vec![429; 200]);
        let before = self.stored()?;
        for (what, mischief) in [
            ("down", Mischief { is_down: true, ..Mischief::default() }),
            ("429", Mischief { statuses, ..Mischief::default() }),
            ("half a list", file("private-ipv4s", Some("[\"172.31.199.11\",\"172.31."))),
            ("half updated", file("vswitch-cidr-block", Some("10.7.0.0/16"))),
            ("empty", file("primary-ip-address", Some(""))),
        ] {
            service.misbehave(mischief);
            let told = self.sync(&[&AT_ONCE[..], &["--deadline", "1", "--prune"]].concat())?;
            ensure!(code(&told) == Some(1), "{what}: {told:?}");
            ensure!(self.stored()? == before, "{what}: {told:?}");
        }

        service.misbehave(Mischief { is_down: true, ..Mischief::default() });
        let asked = service.requests().len();
        pod.reaches_all_of(other)?;
        self.deployment.del(&pod.pod)?.success()?;
        let answer = self.deployment.add(&pod.pod)?;
        let back = Running::of(pod.pod, &answer)?;
        back.reaches_all_of(other)?;
        ensure!(service.requests().len() == asked, "an ADD or DEL asked the metadata service");

        // A list that is whole and too short is believed as far as it does no harm.
        let before = self.stored()?;
        service.misbehave(file("private-ipv4s", Some("[\"172.31.199.11\"]")));
        for _ in 0..2 {
            let told = self.sync(&AT_ONCE)?;
            ensure!(code(&told) == Some(4) && !told.stdout.contains("  - "), "{told:?}");
        }
        back.reaches_all_of(other)?;
        self.ensure_full("m5")?;
        service.misbehave(Mischief::default());
        let told = self.sync(&AT_ONCE)?.success()?;
        ensure!(told.contains(" given back\n"), "{told}");
        ensure!(self.stored()? == before, "the truth brings all back: {told}");
        ensure!(self.sync(&[])?.success()?.lines().all(|line| line.ends_with(" unchanged")));
        Ok(())
    }
}

#[test]
fn a_node_of_alibabas_cloud_lives_by_its_metadata() -> Result<()> {
    let lab = Lab::start(&cluster(Dialect::Alibaba))?;
    let story = Story::new(&lab, Dialect::Alibaba)?;
    story.pools_come_by_themselves()?;
    let mut pods = story.pods_run()?;
    let held = pods.remove(0);
    let (other, mut later) = (&pods[1], story.what_the_cloud_adds_is_used(&pods[1])?);
    story.what_the_cloud_takes_is_fenced(&held, other)?;
    story.detect_metadata_asks_the_cloud(&pods[0])?;
    story.metadata_may_lie(later.pop().context("m4")?, other)?;
    ensure!(
        later.iter().chain(&pods[..1]).all(|pod| pod.reaches(other.addresses[0]).unwrap_or(false))
    );
    Ok(())
}

#[test]
fn a_node_of_aws_lives_by_its_metadata() -> Result<()> {
    let lab = Lab::start(&cluster(Dialect::Aws))?;
    let story = Story::new(&lab, Dialect::Aws)?;
    story.pools_come_by_themselves()?;
    let pods = story.pods_run()?;
    story.what_the_cloud_adds_is_used(&pods[2]).map(drop)
}
