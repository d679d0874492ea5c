//! `ipamctl doctor`: what is wrong with this node, and what to do about it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use ipam_store::Store;
use serde_json::{Value, json};

use crate::answer::{Kind, write_object};
use crate::exit::Exit;
use crate::plain::plain;
use crate::screen::Screen;
use crate::table::Format;

mod configurations;
mod examine;
mod examined;
mod finding;
mod judge;
mod known_keys;
mod plugins;

use finding::{Finding, Verdict};

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

pub(crate) fn run(
    store: &Store,
    options: &Doctor,
    screen: Screen,
    out: &mut dyn Write,
) -> Result<ExitCode> {
    let findings = judge::judge(&examine::examine(store, options));
    match options.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            write_object(Kind::Diagnosis, fields(&findings), format, out)?;
        }
        Some(Format::Wide) | None => list(&findings, screen, out)?,
    }
    let is_ill = findings.iter().any(|finding| finding.verdict == Verdict::Problem);
    Ok(if is_ill { Exit::Found.into() } else { Exit::Done.into() })
}

fn counted(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

fn fields(findings: &[Finding]) -> Value {
    json!({
        "problems": counted(findings, Verdict::Problem),
        "warnings": counted(findings, Verdict::Warning),
        "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
    })
}

fn list(findings: &[Finding], screen: Screen, out: &mut dyn Write) -> Result<()> {
    let width = findings.iter().map(|it| it.check.chars().count()).max().unwrap_or_default();
    for Finding { check, verdict, found, remedy } in findings {
        let word = format!("{:<9}", verdict.as_str());
        let (word, found) = (screen.paint(verdict.sgr(), &word), shown(found));
        writeln!(out, "{word}{check:<width$}   {found}")?;
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
    plain(text).replace('\n', "\\n").replace('\t', "\\t")
}
