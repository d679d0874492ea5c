//! CNI plugin, chained: Service, `NodePort`, node and multi-NIC traffic of a pod on an underlay
//! NIC.
#![warn(clippy::unwrap_used)]

use std::io::{Write, stderr, stdin, stdout};
use std::process::{ExitCode, exit};

use cni_proto::{Version, panic_object, serve};
use telemetry::Observed;

mod failure;
mod plugin;
mod status;

/// A plugin allocates a little and ends. The allocator of musl maps and unmaps a page at a time for
/// that: a hundred of an ADD's system calls (benches/RESULTS.md, "How it was made fast").
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let plugin = Observed::new(plugin::Coordinator);
    let panicked = plugin.on_panic();
    std::panic::set_hook(Box::new(move |info| {
        drop(stdout().write_all(&panic_object(info, Version::NEWEST)));
        panicked(info);
        exit(1)
    }));
    serve(&plugin, std::env::vars_os(), &mut stdin(), &mut stdout(), &mut stderr()).into()
}
