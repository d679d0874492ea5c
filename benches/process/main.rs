//! Whole processes, from their start to their end: what a runtime waits for. Ours beside the peers',
//! all of them in turn in one run.
//!
//! `cargo xtask bench` builds the programs as a node gets them, and calls this.
#![warn(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

mod churn;
mod decide;
mod fill;
mod footprint;
mod goals;
mod guest;
mod kill;
mod latency;
mod machine;
mod markdown;
mod plot;
mod rate;
mod samples;
mod scale;
mod site;
mod slow;
mod syncs;

use goals::Goals;
use markdown::Document;

/// Measures the plugins as a runtime starts them.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder with cni-ipam, cni-ipvlan, ipamctl, empty and floor.
    #[arg(long)]
    programs: PathBuf,
    /// The folder with host-local.
    #[arg(long, default_value = "/usr/lib/cni")]
    peers: PathBuf,
    /// A folder on the disk that is measured.
    #[arg(long)]
    disk: PathBuf,
    /// A folder in memory.
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// The document whose part between the two marks is written anew.
    #[arg(long)]
    results: PathBuf,
    /// Where the plot goes.
    #[arg(long)]
    plot: PathBuf,
    /// What `cargo xtask bench` measured on a kernel with ipvlan, to be quoted.
    #[arg(long)]
    ipvlan: Option<PathBuf>,
    /// What `cargo xtask bench` measured of the coordinator, to be quoted.
    #[arg(long)]
    coordinator: Option<PathBuf>,
    /// Which commit the programs are of.
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// How many days of churn are simulated: 250 pods, 10 starts a minute.
    #[arg(long, default_value_t = 10)]
    churn_days: u32,
    /// A tenth of the rounds, to see whether all of it works. Its figures say nothing.
    #[arg(long)]
    quick: bool,
}

/// What all measurements share.
#[derive(Debug)]
struct Bench {
    programs: PathBuf,
    peers: PathBuf,
    disk: PathBuf,
    memory: PathBuf,
    quick: bool,
}

impl Bench {
    /// So many rounds, or a tenth of them.
    fn rounds(&self, rounds: usize) -> usize {
        if self.quick { rounds.div_ceil(10) } else { rounds }
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("process: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let Arguments {
        programs,
        peers,
        disk,
        memory,
        results,
        plot,
        ipvlan,
        coordinator,
        commit,
        churn_days,
        quick,
    } = arguments;
    let bench = Bench { programs, peers, disk, memory, quick };
    let mut goals = Goals::default();
    let mut document = Document::default();

    let load_before = machine::load();
    // What is there is written down after each part: a run takes long, and can be cut off.
    let save = |goals: &Goals, document: &Document| {
        let head = machine::head(&commit, &load_before, &machine::load(), quick);
        write(&results, &format!("{head}\n{}{document}", goals.table()))
    };
    decide::measure(&bench, &mut goals, &mut document);
    let latency = latency::measure(&bench)?;
    latency.judge(&mut goals);
    latency.describe(&mut document);
    fs::write(&plot, plot::svg(&latency)).with_context(|| plot.display().to_string())?;
    if let Some(path) = ipvlan {
        guest::describe(&path, &mut goals, &mut document)?;
    }
    if let Some(path) = coordinator {
        let said = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        document.heading("A coordinator's ADD");
        document.text(
            "cni-coordinator, and the same steps by one command each, as who calls `ip` does it, in \
             turn in one run on this kernel.",
        );
        document.text(said.trim());
    }
    save(&goals, &document)?;
    syncs::measure(&bench, &mut goals, &mut document)?;
    slow::measure(&bench, &mut document)?;
    kill::measure(&bench, &mut goals, &mut document)?;
    footprint::measure(&bench, &latency, &mut goals, &mut document)?;
    save(&goals, &document)?;
    let rates = rate::measure(&bench)?;
    rates.judge(&mut goals);
    rates.describe(&mut document);
    save(&goals, &document)?;
    churn::measure(&bench, churn_days, &mut document)?;
    scale::measure(&bench, &mut document)?;
    save(&goals, &document)
}

const BEGIN: &str = "<!-- from here: cargo xtask bench -->\n";
const END: &str = "<!-- to here: cargo xtask bench -->";

/// Puts the text between the marks of the document.
fn write(path: &Path, text: &str) -> Result<()> {
    let context = || path.display().to_string();
    let old = fs::read_to_string(path).with_context(context)?;
    let (before, rest) = old.split_once(BEGIN).context("the document has no mark to begin at")?;
    let (_, after) = rest.split_once(END).context("the document has no mark to end at")?;
    fs::write(path, format!("{before}{BEGIN}{text}{END}{after}")).with_context(context)
}
