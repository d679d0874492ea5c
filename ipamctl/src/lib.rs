//! The operator's hands on the pools and leases of a node: all of the program `ipamctl`, as a library
//! so that what it reads can be fuzzed. It is no interface: use `ipam-store`.
#![warn(clippy::unwrap_used)]

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};

mod answer;
mod apply;
mod clock;
mod conflist;
mod delete;
mod doctor;
mod documents;
mod evidence;
mod exit;
mod explain;
mod export;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gc;
mod get;
mod handover;
mod history;
mod holder;
mod host_local;
mod inventory;
mod ips;
mod liveness;
mod manual;
mod metrics;
mod occupancy;
mod pin;
mod plain;
mod policy;
mod pools;
mod progress;
mod rebuild;
mod release;
mod render;
mod repair;
mod reservations;
mod result_cache;
mod screen;
mod show;
mod sync;
mod table;
mod verify;
mod watch;
mod why;

#[cfg(test)]
#[path = "../../docs/fields.rs"]
mod documentation;

use answer::Answer;
use exit::Exit;
use get::Get;
use inventory::Inventory;
use ipam_store::Store;
use plain::Plain;
use screen::{Color, Screen};
use show::Show;

/// Shows and changes the address pools of this node.
#[derive(Debug, Parser)]
#[command(name = "ipamctl", version, max_term_width = 100, after_help = exit::HELP)]
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

    /// Whether pictures are in colours; what they mean is never said by colours alone.
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value = "auto")]
    color: Color,

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

        #[command(flatten)]
        answer: Answer,
    },
    /// Make pools of the addresses that the cloud gave to this node's NICs. Exit code 3: pools that
    /// were applied by hand are in the way; 4: somebody holds an address that is gone.
    Sync(sync::Options),
    /// Show what is stored.
    #[command(subcommand)]
    Get(Get),
    /// Show one thing, and all that is known of it.
    #[command(subcommand)]
    Show(Show),
    /// Say which pool a pod would get its address from, and why not from the others.
    Why(why::Why),
    /// Free addresses by hand, of a holder that is gone.
    Release(release::Release),
    /// Free what nobody will release any more.
    Gc(gc::Gc),
    /// Take something away that is stored.
    #[command(subcommand)]
    Delete(delete::Delete),
    /// Keep an address for one pod, for ever: it gets it before any other, and nobody else does.
    Pin(pin::PinOptions),
    /// Keep an address for nobody any more.
    Unpin(pin::UnpinOptions),
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
    /// Make network configurations of `SpiderMultusConfig` and `SpiderCoordinator` documents.
    Render(render::Options),
    /// Write down everything that is stored.
    Export(handover::Export),
    /// Make the database anew from an export, and what lives beside it.
    Restore(rebuild::Restore),
    /// Take over what another allocator has given out.
    #[command(subcommand)]
    Import(handover::Import),
    /// Write what a shell needs to complete the arguments.
    Completions(manual::Completions),
    /// Write the manual, as `man` reads it.
    Man(manual::Manual),
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

    fn inventory(&self) -> Result<Inventory> {
        Inventory::read(&self.data_dirs, self.patience())
    }

    fn screen(&self) -> Screen {
        Screen::of_stdout(self.color)
    }

    /// Draws what is stored, with `again` whenever that changes.
    fn draw(
        &self,
        again: bool,
        out: &mut dyn Write,
        draw: impl Fn(Inventory, &mut dyn Write) -> Result<()>,
    ) -> Result<()> {
        if !again {
            return draw(self.inventory()?, out);
        }
        let draw = |out: &mut dyn Write| draw(self.inventory()?, out);
        watch::watch(&self.store()?, self.screen(), out, draw)
    }
}

/// Does what the arguments of the process say, and answers its exit status.
pub fn main() -> ExitCode {
    let outcome = run(&Command::parse(), &mut io::stdout().lock());
    match outcome {
        Ok(code) => code,
        // A reader that has seen enough, as in `ipamctl get ips | head`, is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(plain::stderr(), "ipamctl: {error:#}"));
            Exit::Failed.into()
        }
    }
}

/// The arguments of the program, as clap has them: for what is made of them, and checked by them.
pub fn command() -> clap::Command {
    <Command as clap::CommandFactory>::command()
}

fn run(command: &Command, out: &mut dyn Write) -> Result<ExitCode> {
    if command.verb.writes_as_it_is() {
        dispatch(command, out)
    } else {
        dispatch(command, &mut Plain(out))
    }
}

impl Verb {
    /// Whether it writes colours, or what shells and programs read, and takes care of names itself.
    fn writes_as_it_is(&self) -> bool {
        matches!(
            self,
            Self::Show(Show::Pool(_))
                | Self::Doctor(_)
                | Self::Render(_)
                | Self::Completions(_)
                | Self::Man(_)
        )
    }
}

fn dispatch(command: &Command, out: &mut dyn Write) -> Result<ExitCode> {
    let patience = command.patience();
    match &command.verb {
        Verb::Sync(options) => return sync::run(&command.store()?, options, out),
        Verb::Gc(options) => return gc::run(&command.store()?, options, out),
        Verb::Doctor(options) => {
            return doctor::run(&command.store()?, options, command.screen(), out);
        }
        Verb::Apply { files, no_node_scan, sources, answer } => {
            let sources = (!no_node_scan).then_some(sources);
            apply::run(&command.store()?, sources, files, *answer, out)
        }
        Verb::Get(what) => get::run(command, what, out),
        Verb::Show(Show::Pool(options)) => command.draw(options.watch, out, |inventory, out| {
            show::pool::show(&inventory, options, command.screen(), out)
        }),
        Verb::Show(Show::Ip(options)) => {
            let history = history::read(&command.data_dirs, patience, options.address)?;
            show::ip::show(&command.inventory()?, &history, options, out)
        }
        Verb::Why(options) => why::run(command.store()?.directory(), patience, options, out),
        Verb::Release(options) => release::run(&command.store()?, options, out),
        Verb::Delete(what) => delete::run(&command.store()?, what, out),
        Verb::Pin(options) => pin::pin(&command.store()?, options, out),
        Verb::Unpin(options) => pin::unpin(&command.store()?, options, out),
        Verb::Verify(options) => verify::run(&command.store()?, options, out),
        Verb::Rebuild(options) => rebuild::rebuild(&command.store()?, options, out),
        Verb::Repair(options) => repair::run(options, patience, out),
        Verb::Metrics(options) => metrics::run(&command.store()?, options, out),
        Verb::Explain(what) => explain::run(what, patience, out),
        Verb::Render(options) => render::run(options, out),
        Verb::Export(options) => handover::export(&command.store()?, options, patience, out),
        Verb::Restore(options) => rebuild::restore(&command.store()?, options, out),
        Verb::Import(handover::Import::HostLocal(options)) => {
            handover::import(&command.store()?, options, patience, out)
        }
        Verb::Completions(options) => manual::completions(options, out),
        Verb::Man(options) => manual::manual(options, out),
    }
    .map(|()| Exit::Done.into())
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
