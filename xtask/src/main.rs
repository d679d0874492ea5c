//! Builds, tests and shows the project; installs what they need.

mod bench;
mod channel;
mod cpio;
mod demo;
mod executable;
mod fuzz;
mod guest;
mod initramfs;
mod install;
mod ipvlan;
mod kernel;
mod kernel_tests;
mod libtest;
mod lines;
mod machine;
mod modules;
mod no_std;
mod packages;
mod plugins;
mod report;
mod request;
mod supply;
mod test;
mod toolchain;
mod verdict;
mod vm;
mod workspace;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::request::Request;

/// Builds, tests and shows the project; installs what they need.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Invocation {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run a command in a virtual machine whose kernel has ipvlan; its exit status is passed on.
    ///
    /// The guest sees the host's files and may change them only for itself.
    /// Status 125 means that the guest failed, not the command.
    Vm(VmArguments),
    /// Check everything: format, lints, documentation, and every test on the kernel that it needs.
    Test,
    /// Show the seed's cluster with its pools, pods and pings; in a virtual machine if this kernel
    /// has no ipvlan.
    Demo {
        /// Arguments of the demo itself.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Build the static programs and put them, with an example configuration, into a folder.
    Install {
        /// The folder, such as /opt/cni/bin.
        destination: PathBuf,
    },
    /// Measure whole processes beside the peers', and write benches/RESULTS.md.
    Bench(BenchArguments),
    /// Run every fuzz target of the folder `fuzz` for some time; needs a nightly toolchain.
    Fuzz {
        /// How long each target runs.
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
    },
    /// The guest's process 1.
    #[command(hide = true)]
    GuestSupervise { request: PathBuf },
    /// The test run inside the guest.
    #[command(hide = true)]
    GuestTests { plugins: PathBuf, executables: String },
}

#[derive(Debug, Args)]
struct BenchArguments {
    /// A tenth of the rounds, to see whether all of it works.
    #[arg(long)]
    quick: bool,
    /// Leave out what needs a kernel with ipvlan.
    #[arg(long)]
    without_guest: bool,
    /// How many days of churn are simulated; a year takes an hour.
    #[arg(long, default_value_t = 10)]
    churn_days: u32,
}

#[derive(Debug, Args)]
struct VmArguments {
    /// Give up after this time, the guest's start included.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Set a variable in the command's environment; may be repeated.
    #[arg(long = "env", value_name = "K=V", value_parser = assignment)]
    environment: Vec<(String, String)>,
    /// A folder that the guest may write to, at the same path.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    match perform(Invocation::parse().task) {
        Ok(status) => ExitCode::from(status),
        Err(problem) => {
            eprintln!("xtask: {problem:#}");
            ExitCode::from(vm::GUEST_FAILED)
        }
    }
}

fn perform(task: Task) -> Result<u8> {
    match task {
        Task::Vm(arguments) => {
            let folder = std::env::current_dir().context("the current folder is gone")?;
            let mut request = Request::new(arguments.command, folder);
            request.environment.extend(arguments.environment);
            let timeout = Duration::from_secs(arguments.timeout);
            vm::run(&vm::Run { request, out: arguments.out, timeout }, io::stdout())
        }
        Task::Test => test::run(),
        Task::Demo { arguments } => demo::run(arguments),
        Task::Install { destination } => install::run(&destination),
        Task::Bench(BenchArguments { quick, without_guest, churn_days }) => {
            bench::run(quick, without_guest, churn_days)
        }
        Task::Fuzz { seconds } => fuzz::run(seconds),
        Task::GuestTests { plugins, executables } => test::run_in_guest(&plugins, &executables),
        Task::GuestSupervise { request } => guest::supervise(&request).map(|()| 0),
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form NAME=VALUE")),
    }
}
