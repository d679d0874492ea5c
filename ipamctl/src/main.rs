//! The operator's hands on the pools and leases of a node.
#![warn(clippy::unwrap_used)]

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

mod apply;
mod documents;
#[cfg_attr(not(test), expect(dead_code, reason = "no command calls it yet"))]
mod export;
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "no command calls it yet"))]
mod host_local;
mod inventory;
mod ips;
mod pools;
#[cfg_attr(not(test), expect(dead_code, reason = "no command calls it yet"))]
mod result_cache;
mod table;

use inventory::Inventory;
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
    },
    /// Show what is stored.
    #[command(subcommand)]
    Get(Get),
}

#[derive(Debug, Subcommand)]
enum Get {
    /// The pools, and how many of their addresses are held.
    #[command(visible_alias = "pool")]
    Pools(Show),
    /// The held addresses, and who holds them.
    #[command(visible_alias = "ip")]
    Ips(Show),
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

fn main() -> ExitCode {
    let outcome = run(&Command::parse(), &mut io::stdout().lock());
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough, as in `ipamctl get ips | head`, is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "ipamctl: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, out: &mut dyn Write) -> Result<()> {
    let patience = Duration::from_secs(command.lock_timeout);
    match &command.verb {
        Verb::Apply { files } => {
            let [directory] = command.data_dirs.as_slice() else {
                anyhow::bail!("apply writes to one --data-dir, {} given", command.data_dirs.len());
            };
            apply::run(directory, patience, files, out)
        }
        Verb::Get(get) => {
            let inventory = Inventory::read(&command.data_dirs, patience)?;
            match get {
                Get::Pools(show) => pools::show(&inventory.only(&show.names)?, show.output, out),
                Get::Ips(show) => ips::show(&inventory.only(&show.names)?, show.output, out),
            }
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
