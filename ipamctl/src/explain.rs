//! `ipamctl explain`: what a plugin would do, as commands, without doing it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use cni_coordinator::{CoordinatorConfig, Need, Place, Site, Step, Wiring, plan, survey};
use cni_net::Netns;
use cni_proto::NetworkConfig;
use ipam_core::Attachment;
use ipam_store::Wirings;
use serde_json::{Value, json};

use crate::answer::{Answer, Kind};
use crate::conflist::{self, own_part};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Explain {
    /// How `cni-coordinator` would join a pod with this node: the steps, in their order.
    Coordinator(Coordinator),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Coordinator {
    /// The network configuration list (.conflist), or the plugin's own configuration.
    #[arg(short, long = "filename", value_name = "FILE")]
    file: PathBuf,

    /// The pod's network namespace.
    #[arg(long, value_name = "PATH")]
    netns: PathBuf,

    /// The pod's interface.
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    ifname: String,

    /// The container's id, from which names and MACs follow.
    #[arg(long, value_name = "ID", default_value = "0000000000000000")]
    container: String,

    #[command(flatten)]
    answer: Answer,
}

const PLUGIN: &str = "cni-coordinator";

pub(crate) fn run(explain: &Explain, patience: Duration, out: &mut dyn Write) -> Result<()> {
    let Explain::Coordinator(options) = explain;
    let own = own_part(conflist::read(&options.file)?, |plugin| plugin["type"] == PLUGIN);
    let own = own.with_context(|| format!("the list has no plugin of type {PLUGIN}"))?;
    let config = NetworkConfig::parse(own.to_string().as_bytes())?;
    let attachment = Attachment {
        network: config.name.as_str().parse()?,
        container: options.container.parse()?,
        ifname: options.ifname.parse()?,
    };
    let config = CoordinatorConfig::new(&config)?;
    let pod = Netns::open(&options.netns)?;
    let mut site = Site::open(Some(&pod))?;
    let scene = survey(&mut site, &attachment, &options.netns)?;
    let mut scene = scene.with_context(|| format!("{} is gone", options.netns.display()))?;
    let mut warnings = Vec::new();
    let known = Wirings::new(&config.state_dir, patience).of(&attachment.container)?;
    for recorded in known {
        match Wiring::from_json(&recorded.document) {
            Ok(wiring) => scene.wirings.push(wiring),
            // An ADD goes on without it as well.
            Err(error) => warnings.push(format!("{}: {error}", recorded.attachment)),
        }
    }
    let plan = plan(&config, &scene)?;
    warnings.extend(plan.warnings.iter().map(ToString::to_string));
    if !options.answer.is_text() {
        let steps: Vec<Value> = plan.steps.iter().map(step_object).collect();
        let fields = || json!({ "warnings": warnings, "steps": steps });
        return options.answer.give(Kind::Explanation, fields, out);
    }
    for warning in &warnings {
        writeln!(out, "# {warning}")?;
    }
    for step in &plan.steps {
        writeln!(out, "{step}")?;
    }
    let count = |place| plan.steps.iter().filter(|step| step.place == place).count();
    let (pod, node) = (count(Place::Pod), count(Place::Node));
    writeln!(out, "# {pod} steps in the pod, {node} on the node; nothing was done")?;
    Ok(())
}

/// A step for programs.
pub(crate) fn step_object(step: &Step) -> Value {
    json!({
        "command": step.to_string(),
        "place": match step.place {
            Place::Node => "node",
            Place::Pod => "pod",
        },
        "mustSucceed": step.need == Need::Must,
        "for": step.ingredient.to_string(),
    })
}
