//! `ipamctl doctor`: what is wrong with this node, and what to do about it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use ipam_store::Store;
use serde_json::{Value, json};

use crate::table::Format;

mod configurations;
mod examine;
mod examined;
mod finding;
mod judge;
mod plugins;

use finding::{Finding, Verdict};

/// The exit code of a node that has a problem.
const PROBLEMS: u8 = 3;

#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {
    /// The directories of the plugins, as `CNI_PATH` has them.
    #[arg(long, value_name = "DIR", value_delimiter = ':', default_value = "/opt/cni/bin")]
    cni_path: Vec<PathBuf>,

    /// The directory of the network configurations.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    net_dir: PathBuf,

    /// This node as pools name it in nodeName; the host name in lower case without it.
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,

    /// Look at /proc, /sys, /etc, /run, /lib and /boot below this directory, and at nothing that is
    /// not a file: the files of another node, say.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// The form of the answer; a list for people when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

pub(crate) fn run(store: &Store, options: &Doctor, out: &mut dyn Write) -> Result<ExitCode> {
    let findings = judge::judge(&examine::examine(store, options));
    match options.output {
        Some(Format::Json) => {
            writeln!(out, "{}", serde_json::to_string_pretty(&object(&findings))?)?;
        }
        Some(Format::Yaml) => write!(out, "{}", serde_saphyr::to_string(&object(&findings))?)?,
        Some(Format::Wide) | None => list(&findings, out)?,
    }
    let is_ill = findings.iter().any(|finding| finding.verdict == Verdict::Problem);
    Ok(if is_ill { PROBLEMS.into() } else { ExitCode::SUCCESS })
}

fn counted(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

fn object(findings: &[Finding]) -> Value {
    json!({
        "apiVersion": "node-ipam/v1",
        "kind": "Diagnosis",
        "problems": counted(findings, Verdict::Problem),
        "warnings": counted(findings, Verdict::Warning),
        "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
    })
}

fn list(findings: &[Finding], out: &mut dyn Write) -> Result<()> {
    let width = findings.iter().map(|it| it.check.chars().count()).max().unwrap_or_default();
    for Finding { check, verdict, found, remedy } in findings {
        writeln!(out, "{:<9}{check:<width$}   {}", verdict.as_str(), shown(found))?;
        if let Some(remedy) = remedy {
            writeln!(out, "{:<9}{:<width$}   -> {}", "", "", shown(remedy))?;
        }
    }
    let (problems, warnings) =
        (counted(findings, Verdict::Problem), counted(findings, Verdict::Warning));
    writeln!(out, "{problems} problems, {warnings} warnings, {} looked at", findings.len())?;
    Ok(())
}

/// Names in files of the node may have what drives a terminal.
fn shown(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.into() };
    text.chars().map(escaped).collect()
}
