//! The operator's hands on the pools and leases of a node.
#![warn(clippy::unwrap_used)]

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};

mod apply;
mod doctor;
mod documents;
mod evidence;
mod explain;
mod export;
mod handover;
mod host_local;
mod inventory;
mod ips;
mod metrics;
mod pools;
mod rebuild;
mod repair;
mod reservations;
mod result_cache;
mod sync;
mod table;
mod verify;

use inventory::Inventory;
use ipam_store::Store;
use table::Format;

/// Shows and changes the address pools of this node.
#[derive(Debug, Parser)]
#[command(name = "ipamctl", version, max_term_width = 100)]
struct Command {
    /// The directory of the database, as `ipam.dataDir` of the CNI configuration has it. `get`
    /// takes several (the databases of several nodes) and shows them as one.
    #[arg(
        long = "data-dir",
        value_name = "DIR",
        global = true,
        default_value = "/var/lib/cni/node-ipam"
    )]
    data_dirs: Vec<PathBuf>,

    /// How long to wait for another process that is using the database, in seconds.
    #[arg(long, value_name = "SECONDS", global = true, default_value_t = 10)]
    lock_timeout: u64,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Store the pools of `SpiderIPPool` documents: all of them, or none if one is invalid.
    Apply {
        /// A file with YAML documents; `-` is standard input. May be given several times.
        #[arg(short, long = "filename", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,

        /// Do not look for addresses of these pools that are in use on this node already: nobody
        /// has any, or it is no node.
        #[arg(long)]
        no_node_scan: bool,

        #[command(flatten)]
        sources: evidence::Sources,
    },
    /// Make pools of the addresses that the cloud gave to this node's NICs. Exit code 3: pools that
    /// were applied by hand are in the way; 4: somebody holds an address that is gone.
    Sync(sync::Options),
    /// Show what is stored.
    #[command(subcommand)]
    Get(Get),
    /// Check every page, record and index of the database.
    Verify(verify::Verify),
    /// Make the database anew from what the node knows: the runtime's results, the addresses in
    /// live namespaces, an export.
    Rebuild(rebuild::Rebuild),
    /// Make again what the node needs to reach its pods, where somebody took it away.
    Repair(repair::Repair),
    /// Look for what is wrong with this node, and say what to do. Exit code 3: there are problems.
    Doctor(doctor::Doctor),
    /// The counters of this node, as Prometheus reads them.
    Metrics(metrics::Metrics),
    /// Say what a plugin would do, as commands.
    #[command(subcommand)]
    Explain(explain::Explain),
    /// Write down everything that is stored.
    Export(handover::Export),
    /// Make the database anew from an export, and what lives beside it.
    Restore(rebuild::Restore),
    /// Take over what another allocator has given out.
    #[command(subcommand)]
    Import(handover::Import),
}

#[derive(Debug, Subcommand)]
enum Get {
    /// The pools, and how many of their addresses are held.
    #[command(visible_alias = "pool")]
    Pools(Show),
    /// The held addresses, and who holds them.
    #[command(visible_alias = "ip")]
    Ips(Show),
    /// The addresses that no pool hands out, those that the cloud does not give any more among them.
    Reserved(ShowAll),
}

#[derive(Debug, Args)]
struct Show {
    /// Only these pools.
    #[arg(value_name = "POOL")]
    names: Vec<String>,

    /// The form of the answer; a table when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

#[derive(Debug, Args)]
struct ShowAll {
    /// The form of the answer; a table when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

impl Command {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.lock_timeout)
    }

    /// The one store that a verb works on.
    fn store(&self) -> Result<Store> {
        match self.data_dirs.as_slice() {
            [directory] => Ok(Store::new(directory, self.patience())),
            several => bail!("this works on one --data-dir, {} given", several.len()),
        }
    }
}

fn main() -> ExitCode {
    let outcome = run(&Command::parse(), &mut io::stdout().lock());
    match outcome {
        Ok(code) => code,
        // A reader that has seen enough, as in `ipamctl get ips | head`, is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "ipamctl: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, out: &mut dyn Write) -> Result<ExitCode> {
    let patience = command.patience();
    match &command.verb {
        Verb::Doctor(options) => return doctor::run(&command.store()?, options, out),
        Verb::Sync(options) => return sync::run(&command.store()?, options, out),
        Verb::Apply { files, no_node_scan, sources } => {
            let sources = (!no_node_scan).then_some(sources);
            apply::run(&command.store()?, sources, files, out)
        }
        Verb::Verify(options) => verify::run(&command.store()?, options, out),
        Verb::Metrics(options) => metrics::run(&command.store()?, options, out),
        Verb::Repair(options) => repair::run(options, patience, out),
        Verb::Explain(what) => explain::run(what, patience, out),
        Verb::Rebuild(options) => rebuild::rebuild(&command.store()?, options, out),
        Verb::Restore(options) => rebuild::restore(&command.store()?, options, out),
        Verb::Export(options) => handover::export(&command.store()?, options, patience, out),
        Verb::Import(handover::Import::HostLocal(options)) => {
            handover::import(&command.store()?, options, patience, out)
        }
        Verb::Get(get) => {
            let inventory = Inventory::read(&command.data_dirs, patience)?;
            match get {
                Get::Pools(show) => pools::show(&inventory.only(&show.names)?, show.output, out),
                Get::Ips(show) => ips::show(&inventory.only(&show.names)?, show.output, out),
                Get::Reserved(show) => reservations::show(&inventory, show.output, out),
            }
        }
    }
    .map(|()| ExitCode::SUCCESS)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
