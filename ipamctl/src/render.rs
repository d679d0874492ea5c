//! `ipamctl render`: the peer's documents into what Multus or a runtime reads.

mod conflist;
mod coordinator;
mod definition;
mod multus;
mod namespaces;
mod ours;
mod peer;
mod source;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use ipnet::IpNet;

use conflist::NetworkConfigList;
use definition::NetworkAttachmentDefinition;
use multus::MultusConfig;
use source::Source;

use crate::handover;
use crate::plain;

/// What the verb takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A file with YAML documents; `-` is standard input. May be given several times.
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// What to make.
    #[arg(long, value_enum, default_value_t = Target::Nad)]
    to: Target,

    /// Whose plugins the configurations name.
    #[arg(long, value_enum, default_value_t = Plugins::Ours)]
    plugins: Plugins,

    /// A file for each document in this directory, which must be there; standard output without it.
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,

    /// What Services have, which the peer's agent asks of the API server. May be given several
    /// times; the status of a `SpiderCoordinator` has it too.
    #[arg(long = "service-cidr", value_name = "CIDR", value_delimiter = ',')]
    service_cidrs: Vec<IpNet>,

    /// What the pods of the cluster's own network have, as `--service-cidr`.
    #[arg(long = "pod-cidr", value_name = "CIDR", value_delimiter = ',')]
    pod_cidrs: Vec<IpNet>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// `NetworkAttachmentDefinition` documents, for Multus.
    Nad,
    /// Network configuration lists, for a runtime's /etc/cni/net.d.
    Conflist,
    /// Of `Namespace` and `Node` documents: what cni-ipam reads, /etc/node-ipam/namespaces.json.
    Namespaces,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Plugins {
    /// cni-ipvlan, cni-ipam and cni-coordinator.
    Ours,
    /// ipvlan, spiderpool and coordinator, as the peer's controller makes them.
    Peer,
}

/// One file, or one part of standard output.
struct Output {
    name: String,
    text: String,
}

pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<()> {
    let outputs = if options.to == Target::Namespaces {
        vec![Output { name: "namespaces.json".into(), text: namespaces::render(&options.files)? }]
    } else {
        networks(options)?
    };
    match &options.out_dir {
        Some(directory) => {
            for Output { name, text } in &outputs {
                let file = directory.join(name);
                // A runtime that reads the directory sees all of a file or nothing.
                handover::write_file(&file, text)?;
                writeln!(out, "{} written", file.display())?;
            }
        }
        None => {
            for (index, Output { text, .. }) in outputs.iter().enumerate() {
                if index > 0 && options.to == Target::Nad {
                    writeln!(out, "---")?;
                }
                write!(out, "{text}")?;
            }
        }
    }
    Ok(())
}

/// All of them, or none if one cannot be made.
fn networks(options: &Options) -> Result<Vec<Output>> {
    let (outputs, mut faults, notes) = made(options)?;
    for note in notes {
        writeln!(plain::stderr(), "ipamctl: note: {note}")?;
    }
    if outputs.is_empty() && faults.is_empty() {
        faults.push("no SpiderMultusConfig among the documents".to_owned());
    }
    if faults.is_empty() {
        return Ok(outputs);
    }
    bail!("nothing was rendered:\n  {}", faults.join("\n  "))
}

/// What can be made, one line for each fault, and one for each thing that a person should know.
fn made(options: &Options) -> Result<(Vec<Output>, Vec<String>, Vec<String>)> {
    let Source { configs, coordinator, mut faults, mut notes } = Source::read(&options.files)?;
    let known = ours::Known {
        coordinator: coordinator.as_ref(),
        service_cidrs: &options.service_cidrs,
        pod_cidrs: &options.pod_cidrs,
    };
    if options.plugins == Plugins::Peer && coordinator.is_some() {
        let note = "the SpiderCoordinator is the peer's agent's: nothing of it is rendered";
        notes.push(note.to_owned());
    }
    let mut outputs: Vec<Output> = Vec::new();
    for (index, (spot, config)) in configs.iter().enumerate() {
        let list = match options.plugins {
            Plugins::Ours => ours::list(config, &known, &mut |note| notes.push(spot.note(&note))),
            Plugins::Peer => Ok(peer::list(config, &mut |note| notes.push(spot.note(&note)))),
        };
        match list.and_then(|list| output(options.to, index, config, &list)) {
            Ok(output) if outputs.iter().any(|other| other.name == output.name) => {
                faults.push(format!("{}: another document has this name", spot.subject));
            }
            Ok(output) => outputs.push(output),
            Err(error) => faults.push(format!("{}: {error:#}", spot.subject)),
        }
    }
    Ok((outputs, faults, notes))
}

fn output(
    target: Target,
    index: usize,
    config: &MultusConfig,
    list: &NetworkConfigList,
) -> Result<Output> {
    let (namespace, name) = (&config.namespace, &config.definition_name);
    if target == Target::Conflist {
        let text = format!("{}\n", serde_json::to_string_pretty(list)?);
        // Runtimes take the files of the directory in the order of their names.
        return Ok(Output { name: format!("{}-{name}.conflist", 10 + index), text });
    }
    let definition = NetworkAttachmentDefinition::new(config, list)?;
    let text = serde_saphyr::to_string(&definition)?;
    Ok(Output { name: format!("{namespace}-{name}.yaml"), text })
}

#[cfg(fuzzing)]
pub(crate) fn fuzzing(
    file: &std::path::Path,
    is_conflist: bool,
    is_ours: bool,
) -> Result<Vec<(String, String)>> {
    let options = Options {
        files: vec![file.to_path_buf()],
        to: if is_conflist { Target::Conflist } else { Target::Nad },
        plugins: if is_ours { Plugins::Ours } else { Plugins::Peer },
        out_dir: None,
        service_cidrs: Vec::new(),
        pod_cidrs: Vec::new(),
    };
    let (outputs, faults, _) = made(&options)?;
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    let outputs = outputs.into_iter();
    Ok(outputs.map(|Output { name, text }| (name, text)).collect())
}

#[cfg(fuzzing)]
pub(crate) fn fuzzing_namespaces(file: &std::path::Path) -> Result<String> {
    namespaces::render(&[file.to_path_buf()])
}
