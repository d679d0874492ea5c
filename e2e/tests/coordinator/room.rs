//! A node with two NICs, pods that a main plugin has given theirs, and calls of the program.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::plugin_wiring::{COORDINATOR, configuration};
use e2e::wiring::Coordination;
use e2e::{Answer, Call, Lab, Namespace, Node, Pod, PodSpec, plugin_dir, seed};
use serde_json::{Value, json};

use crate::state::State;

/// A difference that CHECK found.
pub(crate) const DIFFERS: u64 = 122;

const NODE: &str = "master";

const PATIENCE: Duration = Duration::from_secs(60);

/// A NIC of the node, and the pod's on it.
#[derive(Debug)]
struct Nic {
    /// In the pod.
    name: &'static str,
    /// On the node.
    master: &'static str,
    gateways: [&'static str; 2],
}

const NICS: [Nic; 2] = [
    Nic { name: "eth0", master: "eth0", gateways: ["172.31.207.253", "fd00:172::fd"] },
    Nic { name: "net1", master: "eth1", gateways: ["192.168.0.253", "fd00:192::fd"] },
];

/// The addresses of a pod's interface, with the lengths of their subnets.
pub(crate) fn addresses(ifname: &str, number: u8) -> [String; 2] {
    match ifname {
        "eth0" => [format!("172.31.200.{number}/20"), format!("fd00:172::1:{number}/64")],
        _ => [format!("192.168.0.{}/24", 100 + number), format!("fd00:192::1:{number}/64")],
    }
}

/// The same without the lengths.
pub(crate) fn bare_addresses(ifname: &str, number: u8) -> [String; 2] {
    addresses(ifname, number).map(|net| net.split('/').next().unwrap_or_default().to_owned())
}

#[derive(Debug)]
pub(crate) struct Room {
    lab: Lab,
}

impl Room {
    pub(crate) fn start() -> Result<Self> {
        let mut cluster = seed::services();
        cluster.nat = None;
        cluster.nodes.truncate(1);
        Ok(Self { lab: Lab::start(&cluster)? })
    }

    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    pub(crate) fn node(&self) -> &Node {
        self.lab.node(NODE).expect("it is in the description")
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.node().data_dir().join("coordinator")
    }

    /// A pod without a NIC, of this number.
    pub(crate) fn bare_pod(&self, number: u8) -> Result<Pod> {
        let spec = PodSpec::new("default", &format!("p{number}"), NODE, "kube-system/net");
        self.lab.run_pods(&[spec])?.pop().context("one pod")
    }

    /// A pod whose main plugin gave it these interfaces, of `eth0` and `net1`.
    pub(crate) fn pod(&self, number: u8, ifnames: &[&str]) -> Result<Pod> {
        let pod = self.bare_pod(number)?;
        ifnames.iter().try_for_each(|ifname| self.attach(&pod, ifname, number))?;
        Ok(pod)
    }

    /// Does what a main plugin does: an interface with addresses and its default route, before any
    /// that is there (`RouteAddEcmp` of upstream's, which asks for no exclusiveness).
    pub(crate) fn attach(&self, pod: &Pod, ifname: &str, number: u8) -> Result<()> {
        let nic = NICS.iter().find(|nic| nic.name == ifname).context("no such NIC")?;
        self.node().ip(&format!(
            "link add link {} name mv{number} type macvlan mode bridge\n\
             link set mv{number} netns {} name {ifname}",
            nic.master,
            pod.name()
        ))?;
        let mut lines = format!("link set {ifname} up\n");
        for (address, gateway) in addresses(ifname, number).iter().zip(nic.gateways) {
            writeln!(lines, "address add {address} dev {ifname} nodad")?;
            writeln!(lines, "route prepend default via {gateway} dev {ifname}")?;
        }
        pod.ip(&lines)?;
        // The kernel adds an IPv6 address's local route some time after the address.
        let [_, ipv6] = bare_addresses(ifname, number);
        let show = ["ip", "-6", "route", "show", "table", "local", &ipv6];
        eventually("no local route", || Ok(!pod.run(show)?.success()?.is_empty()))
    }

    /// The configuration of a pod's interface, as it comes from a runtime.
    pub(crate) fn configuration(&self, number: u8, ifname: &str) -> Value {
        let cidr = |text: &str| text.parse().expect("a CIDR");
        let coordination = Coordination {
            service_cidrs: vec![cidr("10.233.0.0/18"), cidr("fd00:10:233::/116")],
            hijack_cidrs: vec![cidr("169.254.0.0/16")],
            ..Coordination::default()
        };
        let ips = addresses(ifname, number).map(|it| json!({"address": it, "interface": 0}));
        let previous = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{"name": ifname, "sandbox": "/run/netns/pod"}],
            "ips": ips,
        });
        configuration(self.node(), &coordination, &previous)
    }

    /// A call for an interface of the pod of this number.
    pub(crate) fn call(&self, verb: &str, pod: &Pod, ifname: &str) -> Result<Call> {
        let number = pod.spec().name.trim_start_matches('p').parse()?;
        let conf = self.configuration(number, ifname).to_string();
        Ok(Call::of(verb, COORDINATOR, &conf, pod, ifname))
    }

    /// The same with another configuration.
    pub(crate) fn call_with(
        &self,
        verb: &str,
        pod: &Pod,
        ifname: &str,
        configure: impl FnOnce(&mut Value),
    ) -> Result<Call> {
        let mut call = self.call(verb, pod, ifname)?;
        let mut conf = serde_json::from_str(&call.conf)?;
        configure(&mut conf);
        call.conf = conf.to_string();
        Ok(call)
    }

    /// A call that is about no pod.
    pub(crate) fn call_of_node(&self, verb: &str, configure: impl FnOnce(&mut Value)) -> Call {
        let mut conf = self.configuration(0, "eth0");
        configure(&mut conf);
        Call::without_pod(verb, COORDINATOR, &conf.to_string())
    }

    pub(crate) fn run(&self, call: &Call) -> Result<Answer> {
        self.node().runtime()?.start(call)?.wait()
    }

    /// A verb that has to succeed.
    pub(crate) fn done(&self, verb: &str, pod: &Pod, ifname: &str) -> Result<()> {
        self.run(&self.call(verb, pod, ifname)?)?.success().map(drop).context(verb.to_owned())
    }

    /// What CHECK says is different; nothing if all is well.
    pub(crate) fn difference(&self, pod: &Pod, ifname: &str) -> Result<Option<String>> {
        let answer = self.run(&self.call("CHECK", pod, ifname)?)?;
        if answer.is_success() {
            return Ok(None);
        }
        ensure!(answer.error_code() == Some(DIFFERS), "{answer:?}");
        Ok(Some(message(&answer)))
    }

    /// `ipamctl` on the node: whether it succeeded, and all that it wrote.
    pub(crate) fn ipamctl(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let program = plugin_dir()?.join("ipamctl").display().to_string();
        let argv = [program.as_str()].into_iter().chain(arguments.iter().copied());
        let outcome = self.node().run(argv)?;
        Ok((outcome.status.success(), outcome.stdout + &outcome.stderr))
    }

    /// `ipamctl repair` with the node's records.
    pub(crate) fn repair(&self, options: &[&str]) -> Result<(bool, String)> {
        let state_dir = self.state_dir().display().to_string();
        self.ipamctl(&[&["repair", "--state-dir", &state_dir], options].concat())
    }

    pub(crate) fn state(&self) -> Result<State> {
        State::of(self.node())
    }

    /// The state with the rules that stay: those that the first pod of a node makes.
    pub(crate) fn state_with_rules(&self) -> Result<State> {
        let pod = self.pod(250, &["eth0"])?;
        self.done("ADD", &pod, "eth0")?;
        self.done("DEL", &pod, "eth0")?;
        drop(pod);
        self.state()
    }

    /// Ends a pod as a crash does, and waits until the kernel has taken its links away, which it
    /// does some time later.
    pub(crate) fn crash(&self, pod: Pod) -> Result<()> {
        let link = Self::host_link(&pod);
        drop(pod);
        let is_gone = || Ok(!self.node().run(["ip", "link", "show", &link])?.status.success());
        eventually("a link outlives its pod", is_gone)
    }

    /// The name of the pod's link on the node.
    pub(crate) fn host_link(pod: &Pod) -> String {
        format!("veth{}", &pod.spec().sandbox_id[..11])
    }
}

fn eventually(problem: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < deadline, "{problem}");
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The message of an error.
pub(crate) fn message(answer: &Answer) -> String {
    let text = |json: &Value| json["msg"].as_str().unwrap_or_default().to_owned();
    answer.json.as_ref().map(text).unwrap_or_default()
}

/// The link by which a packet leaves.
pub(crate) fn way(namespace: &Namespace, to: &str, from: Option<&str>) -> Result<String> {
    to.parse::<IpAddr>().context("an address")?;
    let mut argv = vec!["ip", "-json", "route", "get", to];
    argv.extend(from.into_iter().flat_map(|from| ["from", from]));
    let shown: Value = serde_json::from_str(&namespace.run(argv)?.success()?)?;
    Ok(shown[0]["dev"].as_str().context("a link")?.to_owned())
}

/// Nothing.
pub(crate) const NONE: Vec<String> = Vec::new();
