//! Puts the CNI plugins of any folder to every rule of the protocol, in namespaces of its own.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use e2e::conformance::{Examined, Stand, Subject, lines, markdown};
use e2e::{Lab, seed};
use serde_json::Value;

/// Puts a main plugin and an IPAM plugin to every rule of CNI (docs/conformance.md), as root, in
/// network namespaces that it makes and removes. Ends with 1 if a rule is broken.
#[derive(Debug, Parser)]
#[command(name = "conformance")]
struct Invocation {
    /// The folder with the plugins: `CNI_PATH`.
    #[arg(long, value_name = "DIR")]
    plugin_dir: PathBuf,
    /// The main plugin's file name; its network is on the NIC eth0 of the lab's node.
    #[arg(long, value_name = "TYPE", default_value = "cni-ipvlan")]
    main: String,
    /// The IPAM plugin's file name. It has to understand host-local's `ranges` and `routes`, or be
    /// given other means by --ipam-config; rules about ranges are then beside the point.
    #[arg(long, value_name = "TYPE", default_value = "cni-ipam")]
    ipam: String,
    /// A JSON object with fields of the network configuration, merged over the built-in ones;
    /// `null` takes one away. In texts `{subnet}`, `{gateway}`, `{first}`, `{last}`, `{subnet6}`
    /// and `{dataDir}` are replaced by what each rule has of its own.
    #[arg(long, value_name = "FILE")]
    main_config: Option<PathBuf>,
    /// The same for the fields of `ipam`.
    #[arg(long, value_name = "FILE")]
    ipam_config: Option<PathBuf>,
    /// A second folder, whose ipvlan and host-local are put to the same rules beside them; their
    /// broken rules do not count for the exit status.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Put them to this rule only, such as ENV-3; may be repeated.
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Print the table as Markdown.
    #[arg(long)]
    markdown: bool,
}

fn main() -> ExitCode {
    match run(&Invocation::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            drop(writeln!(io::stderr(), "conformance: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Whether the first pair keeps every rule.
fn run(invocation: &Invocation) -> Result<bool> {
    let mut subject =
        Subject::new(folder(&invocation.plugin_dir)?, &invocation.main, &invocation.ipam);
    for (file, fields) in [
        (&invocation.main_config, &mut subject.main_config),
        (&invocation.ipam_config, &mut subject.ipam_config),
    ] {
        if let Some(file) = file {
            Subject::merge(fields, &object(file)?);
        }
    }
    let mut subjects = vec![subject];
    if let Some(against) = &invocation.against {
        subjects.push(Subject::new(folder(against)?, "ipvlan", "host-local"));
    }
    let lab = Lab::start(&seed::one_node())?;
    let examined = Stand::new(&lab)?.examine(&subjects, &invocation.only)?;
    let text = if invocation.markdown {
        markdown(&examined)
    } else {
        examined.iter().map(lines).collect::<Vec<_>>().join("\n")
    };
    io::stdout().write_all(text.as_bytes())?;
    let faults = examined.first().map(Examined::faults).unwrap_or_default();
    for fault in &faults {
        writeln!(io::stderr(), "conformance: broken: {fault}")?;
    }
    Ok(faults.is_empty())
}

/// Plugins run in another directory than this program.
fn folder(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| path.display().to_string())
}

fn object(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let value: Value = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
    anyhow::ensure!(value.is_object(), "{}: it must be one JSON object", file.display());
    Ok(value)
}
