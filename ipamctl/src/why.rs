//! `ipamctl why`: which pool an ADD would draw from, and why not from the others.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cni_ipam::{DEFAULT_DATA_DIR, IPAM_TYPE, Wanted};
use cni_proto::{CniArgs, NetworkConfig, POD_ANNOTATIONS};
use ipam_core::{Attachment, Demand, Labels, Lease, Policy};
use ipam_store::Store;
use serde_json::Value;

use crate::conflist;
use crate::ips::is_pod;
use crate::table::Format;

mod answer;
mod dry_run;

use answer::Answer;

/// The container of a dry run: no runtime has such a one.
const NOBODY: &str = "ipamctl-why";

#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// A pod that holds addresses: why these, and what it would get now.
    #[arg(value_name = "NAMESPACE/POD", conflicts_with = "file", required_unless_present = "file")]
    pod_of: Option<String>,

    /// The network configuration by which the pod would be added (.conflist or .conf).
    #[arg(short, long = "filename", value_name = "FILE")]
    file: Option<PathBuf>,

    /// The pod that would be added.
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with = "pod_of")]
    pod: Option<String>,

    /// A label of the pod. May be given several times, as the next ones.
    #[arg(long = "pod-label", value_name = "KEY=VALUE", value_parser = pair)]
    pod_labels: Vec<(String, String)>,

    /// An annotation of the pod.
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,

    /// A label of the pod's namespace.
    #[arg(long = "namespace-label", value_name = "KEY=VALUE", value_parser = pair)]
    namespace_labels: Vec<(String, String)>,

    /// A label of the node.
    #[arg(long = "node-label", value_name = "KEY=VALUE", value_parser = pair)]
    node_labels: Vec<(String, String)>,

    /// Another node than `ipam.nodeName` or the host name says.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,

    /// The pod's interface.
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    ifname: String,

    /// Where the configuration of a pod's network is looked for.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    conf_dir: PathBuf,

    /// The form of the answer; lines and a table when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// One ADD that is not made.
#[derive(Debug)]
struct Question {
    demand: Demand,
    policy: Policy,
    /// What the pod holds, which this would take the place of.
    held: Vec<Lease>,
    /// Which hint names the pools.
    source: &'static str,
}

pub(crate) fn run(
    data_dir: &Path,
    patience: Duration,
    options: &Why,
    out: &mut dyn Write,
) -> Result<()> {
    let store_at = |directory: &Path| Store::new(directory, patience);
    let (store, questions) = if let Some(file) = &options.file {
        let names = match &options.pod {
            Some(pod) => pod.split_once('/').context("--pod is NAMESPACE/NAME")?,
            None => ("", ""),
        };
        let value = conflist::read(file)?;
        let (directory, question) = options.question(file, value, &options.ifname, names)?;
        // The directory of the configuration, unless the user said another one.
        let is_said = data_dir != Path::new(DEFAULT_DATA_DIR);
        (store_at(if is_said { data_dir } else { &directory }), vec![question])
    } else {
        let store = store_at(data_dir);
        let questions = options.of_holder(&store)?;
        (store, questions)
    };
    let contents = store.contents()?;
    let answers = questions.iter().map(|question| Answer::new(question, &contents));
    answer::write(&answers.collect::<Vec<_>>(), options.output, out)
}

impl Why {
    /// A question for each interface on which the pod holds something.
    fn of_holder(&self, store: &Store) -> Result<Vec<Question>> {
        let pod = self.pod_of.as_deref().context("clap asks for a pod or a file")?;
        let contents = store.contents()?;
        let mut by_attachment = std::collections::BTreeMap::<Attachment, Vec<Lease>>::new();
        for lease in contents.leases {
            let holder = lease.pod.as_ref();
            if holder.is_some_and(|holder| is_pod(pod, &holder.namespace, &holder.name)) {
                by_attachment.entry(lease.attachment.clone()).or_default().push(lease);
            }
        }
        if by_attachment.is_empty() {
            bail!(
                "pod {pod} holds no address: say by which configuration it would be added: \
                 `ipamctl why -f FILE --pod NAMESPACE/NAME`"
            );
        }
        let mut questions = Vec::new();
        for (attachment, held) in by_attachment {
            let network = attachment.network.as_str();
            let found = conflist::of_network(&self.conf_dir, network)?;
            let Some((file, value)) = found else {
                let addresses: Vec<String> = held
                    .iter()
                    .map(|lease| format!("{} ({})", lease.address, lease.pool))
                    .collect();
                bail!(
                    "pod {pod} holds {} in network {network}, of which {} has no configuration: \
                     `ipamctl why -f FILE`",
                    addresses.join(", "),
                    self.conf_dir.display()
                );
            };
            let holder = held.iter().find_map(|lease| lease.pod.as_ref());
            let names = holder.map_or(("", ""), |pod| (pod.namespace.as_str(), pod.name.as_str()));
            let ifname = attachment.ifname.as_str();
            let (_, question) = self.question(&file, value, ifname, names)?;
            questions.push(Question { held, ..question });
        }
        Ok(questions)
    }

    /// What an ADD by this configuration would ask, and in which directory its store is.
    fn question(
        &self,
        file: &Path,
        value: Value,
        ifname: &str,
        (namespace, name): (&str, &str),
    ) -> Result<(PathBuf, Question)> {
        let place = || file.display().to_string();
        let own = conflist::part_with_our_ipam(value);
        let mut own =
            own.with_context(|| format!("{}: no plugin has ipam.type {IPAM_TYPE}", place()))?;
        for field in ["ranges", "subnet"] {
            if !own["ipam"][field].is_null() {
                bail!("{}: ipam.{field}: the network has ranges of its own and no pools", place());
            }
        }
        if let Some(node) = &self.node {
            own["ipam"]["nodeName"] = node.as_str().into();
        }
        // As a runtime hands them over.
        for (key, value) in &self.annotations {
            own["runtimeConfig"][POD_ANNOTATIONS][key] = value.as_str().into();
        }
        let config = NetworkConfig::parse(own.to_string().as_bytes()).with_context(place)?;
        let attachment = Attachment {
            network: config.name.as_str().parse()?,
            container: NOBODY.parse()?,
            ifname: ifname.parse()?,
        };
        let mut args = "IgnoreUnknown=1".to_owned();
        for (key, value) in [("NAMESPACE", namespace), ("NAME", name)] {
            if !value.is_empty() {
                if value.contains(';') {
                    bail!("pod {namespace}/{name}: ';' is in no name of Kubernetes");
                }
                args = format!("{args};K8S_POD_{key}={value}");
            }
        }
        let args = CniArgs::parse(args.as_ref())?;
        let wanted = Wanted::new(&config, attachment, &args).with_context(place)?;
        let Wanted { mut demand, heard, place: place_of_store, .. } = wanted;
        let source = heard.unwrap_or("defaults");
        let labels = |pairs: &[(String, String)]| {
            let labels: Labels = pairs.iter().cloned().collect();
            (!labels.is_empty()).then_some(labels)
        };
        let asker = &mut demand.asker;
        asker.pod_labels = labels(&self.pod_labels).or(asker.pod_labels.take());
        asker.namespace_labels = labels(&self.namespace_labels).or(asker.namespace_labels.take());
        asker.node_labels = labels(&self.node_labels).or(asker.node_labels.take());
        let policy = place_of_store.policy;
        Ok((place_of_store.data_dir, Question { demand, policy, held: Vec::new(), source }))
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("it is KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
