//! What one probe has for itself: a pod, a network, addresses, a directory.

use std::cell::{Cell, OnceCell};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::answers::{is_error, left, seen};
use super::rule::Role;
use super::subject::{Place, Room, Subject, VERSIONS};
use crate::description::PodSpec;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::node::Node;
use crate::pod::Pod;
use crate::runtime::{Answer, Call, Running, Runtime};
use crate::snapshot::Snapshot;

/// The interface that is asked for.
pub(super) const INTERFACE: &str = "eth0";

/// Whom a probe is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'lab> {
    pub(super) subject: &'lab Subject,
    pub(super) role: Role,
    /// The newest version that both plugins speak.
    pub(super) newest: &'lab str,
    /// Shared by all probes of this plugin.
    pub(super) results: &'lab Results,
}

/// The answers of one ADD in each version that a plugin lists: of both families, with routes.
#[derive(Debug, Default)]
pub(super) struct Results(OnceCell<Vec<(String, Answer)>>);

/// One plugin in one role for one probe.
#[derive(Debug)]
pub(super) struct Case<'lab> {
    lab: &'lab Lab,
    node: &'lab Node,
    subject: &'lab Subject,
    /// Somebody else, who asks whether an address is free.
    other: &'lab Namespace,
    place: Place,
    pub(super) role: Role,
    /// The newest version that both plugins speak.
    pub(super) newest: &'lab str,
    results: &'lab Results,
    pub(super) pod: Pod,
    more_pods: Cell<u32>,
}

impl<'lab> Case<'lab> {
    pub(super) fn new(
        lab: &'lab Lab,
        other: &'lab Namespace,
        of: Of<'lab>,
        number: u16,
    ) -> Result<Self> {
        ensure!(number < 512, "a stand has 512 networks");
        let node = lab.nodes().first().context("a lab with a node")?;
        let network = format!("conform{number}");
        let data_dir = lab.data_dir().join(&network).display().to_string();
        let place = Place { network, number, data_dir };
        let Of { subject, role, newest, results } = of;
        let pod = run_pod(lab, node, &place.network)?;
        let more_pods = Cell::new(0);
        Ok(Self { lab, node, subject, other, place, role, newest, results, pod, more_pods })
    }

    /// The node, in whose namespace the plugins run.
    pub(super) fn node(&self) -> &Node {
        self.node
    }

    /// The plugin that plays the role.
    pub(super) fn plugin(&self) -> &str {
        match self.role {
            Role::Main => &self.subject.main,
            Role::Ipam => &self.subject.ipam,
        }
    }

    /// The folder with the plugins.
    pub(super) fn plugin_dir(&self) -> &PathBuf {
        &self.subject.plugin_dir
    }

    /// A path for a file or a folder of this probe's own; nothing is there.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.lab.data_dir().join(format!("{}-{name}", self.place.network))
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// One more pod of the node.
    pub(super) fn another_pod(&self) -> Result<Pod> {
        self.more_pods.set(self.more_pods.get() + 1);
        let name = format!("{}-{}", self.place.network, self.more_pods.get());
        run_pod(self.lab, self.node, &name)
    }

    /// The network's configuration, of which every ADD gives the same one address.
    pub(super) fn conf(&self) -> Value {
        self.conf_in(self.newest)
    }

    /// The same in a version.
    pub(super) fn conf_in(&self, version: &str) -> Value {
        self.subject.configuration(version, &self.place, Room::One)
    }

    /// The configuration with more addresses than one.
    pub(super) fn roomy(&self, version: &str, room: Room) -> Value {
        self.subject.configuration(version, &self.place, room)
    }

    /// The configuration with a field changed.
    pub(super) fn conf_with(&self, field: &str, value: impl Into<Value>) -> Value {
        let mut conf = self.conf();
        conf[field] = value.into();
        conf
    }

    /// The configuration with a field of `ipam` changed.
    pub(super) fn conf_with_ipam(&self, field: &str, value: impl Into<Value>) -> Value {
        let mut conf = self.conf();
        conf["ipam"][field] = value.into();
        conf
    }

    /// A call as a runtime makes it for the pod's interface; of GC, STATUS and VERSION for none.
    pub(super) fn call(&self, verb: &str, conf: &Value) -> Call {
        self.call_for(&self.pod, verb, conf)
    }

    /// The same for another pod.
    pub(super) fn call_for(&self, pod: &Pod, verb: &str, conf: &Value) -> Call {
        let conf = conf.to_string();
        match verb {
            "GC" | "STATUS" | "VERSION" => Call::without_pod(verb, self.plugin(), &conf),
            _ => Call::of(verb, self.plugin(), &conf, pod, INTERFACE),
        }
    }

    /// The runtime, with the plugins under test.
    pub(super) fn runtime(&self) -> Result<Runtime<'lab>> {
        Ok(self.node.runtime()?.with_plugin_dir(self.plugin_dir()))
    }

    pub(super) fn start(&self, call: &Call) -> Result<Running> {
        self.runtime()?.start(call)
    }

    pub(super) fn run(&self, call: &Call) -> Result<Answer> {
        self.start(call)?.wait()
    }

    /// A call as it comes, to its end.
    pub(super) fn ask(&self, verb: &str, conf: &Value) -> Result<Answer> {
        self.run(&self.call(verb, conf))
    }

    /// The result of an ADD that has to succeed, as what the probe is about comes after it.
    pub(super) fn added(&self, conf: &Value) -> Result<Value> {
        self.added_to(&self.pod, conf)
    }

    /// The same for another pod.
    pub(super) fn added_to(&self, pod: &Pod, conf: &Value) -> Result<Value> {
        let answer = self.run(&self.call_for(pod, "ADD", conf))?;
        Ok(answer.success().context("the ADD before")?.clone())
    }

    /// The configuration of a CHECK after an ADD with this result.
    pub(super) fn with_result(conf: &Value, result: &Value) -> Value {
        let mut conf = conf.clone();
        conf["prevResult"] = result.clone();
        conf
    }

    /// Whether nobody has the network's one address.
    pub(super) fn is_free(&self) -> Result<bool> {
        self.is_free_here(&self.place.first())
    }

    /// Whether nobody has an address: the IPAM plugin would give it to somebody else.
    pub(super) fn is_free_here(&self, address: &str) -> Result<bool> {
        let conf = self.subject.configuration(self.newest, &self.place, Room::Some).to_string();
        let mut call = Call::without_pod("ADD", &self.subject.ipam, &conf);
        "somebody-else".clone_into(&mut call.container_id);
        call.netns = self.other.path().display().to_string();
        INTERFACE.clone_into(&mut call.interface);
        call.args = format!("IgnoreUnknown=1;IP={address}");
        let answer = self.run(&call)?;
        if is_error(&answer) {
            return Ok(false);
        }
        let text = answer.success().context("somebody else's ADD")?.to_string();
        ensure!(text.contains(&format!("\"{address}/")), "{address} was asked for: {text}");
        "DEL".clone_into(&mut call.command);
        self.run(&call)?.success().context("somebody else's DEL")?;
        Ok(true)
    }

    /// Releases the pod's address behind the main plugin's back.
    pub(super) fn release_behind(&self, pod: &Pod) -> Result<()> {
        let mut call = self.call_for(pod, "DEL", &self.conf());
        call.plugin.clone_from(&self.subject.ipam);
        self.run(&call)?.success().context("DEL of the IPAM plugin").map(drop)
    }

    /// What an ADD that fails must leave: nothing in the pod, and the address free.
    pub(super) fn leftovers(&self, before: &Snapshot) -> Result<String> {
        let changes = before.changes(&self.pod.snapshot()?);
        let address = if self.is_free()? { "" } else { ", address held" };
        Ok(format!("{}{address}", left(&changes)))
    }

    /// Whether the link of this name in the namespace is there, by `ip`'s word.
    pub(super) fn has_link(namespace: &Namespace, name: &str) -> Result<bool> {
        Ok(namespace.run(["ip", "link", "show", "dev", name])?.status.success())
    }

    /// All versions that the plugin under test speaks.
    pub(super) fn versions(&self) -> Result<Vec<String>> {
        spoken(&self.runtime()?, self.plugin())
    }

    /// The answer of an ADD in each of them, undone again, whichever probe asks first.
    pub(super) fn results(&self) -> Result<&[(String, Answer)]> {
        if let Some(known) = self.results.0.get() {
            return Ok(known);
        }
        let mut results = Vec::new();
        for version in self.versions()? {
            let mut conf = self.roomy(&version, Room::Dual);
            conf["ipam"]["routes"] = json!([{"dst": "203.0.113.0/24"}, {"dst": "2001:db8::/32"}]);
            let answer = self.ask("ADD", &conf)?;
            self.ask("DEL", &conf)?;
            results.push((version, answer));
        }
        Ok(self.results.0.get_or_init(|| results))
    }
}

/// The addresses of a result in any layout, with their prefix lengths.
pub(super) fn addresses(result: &Value) -> Vec<String> {
    let ips = result["ips"].as_array().into_iter().flatten().map(|ip| &ip["address"]);
    let families = ["ip4", "ip6"].map(|key| &result[key]["ip"]);
    ips.chain(families).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What a plugin's VERSION lists.
pub(super) fn spoken(runtime: &Runtime<'_>, plugin: &str) -> Result<Vec<String>> {
    let answer = runtime.version(plugin)?;
    let list = answer.success()?["supportedVersions"].as_array();
    let list = list.with_context(|| format!("VERSION of {plugin}: {}", seen(&answer)))?;
    let word = |version: &Value| version.as_str().map(str::to_owned);
    list.iter().map(word).collect::<Option<_>>().context("supportedVersions are strings")
}

/// The newest version that all of them speak.
pub(super) fn newest(runtime: &Runtime<'_>, plugins: [&str; 2]) -> Result<&'static str> {
    let [main, ipam] = plugins.map(|plugin| spoken(runtime, plugin));
    let (main, ipam) = (main?, ipam?);
    let is_common =
        |version: &&&str| [&main, &ipam].iter().all(|list| list.iter().any(|it| it == **version));
    match VERSIONS.iter().rev().find(is_common) {
        Some(version) => Ok(version),
        None => bail!("{plugins:?} have no version in common: {main:?}, {ipam:?}"),
    }
}

fn run_pod(lab: &Lab, node: &Node, name: &str) -> Result<Pod> {
    let spec = PodSpec::new("cni", name, &node.spec().name, "default/conformance");
    lab.run_pods(&[spec])?.pop().context("the one pod that was asked for")
}

/// A value as the probes put it into configurations.
pub(super) fn one_route(place: &Place) -> Value {
    json!([{"dst": "203.0.113.0/24", "gw": place.gateway()}])
}
