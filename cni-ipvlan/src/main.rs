//! CNI plugin: one ipvlan interface on the NIC of the node, addressed from the node's own pools.
#![warn(clippy::unwrap_used)]

use std::io::{Write, stderr, stdin, stdout};
use std::process::{ExitCode, exit};
use std::time::Instant;

use cni_proto::{Version, panic_object, serve};
use telemetry::Observed;

mod addresses;
mod apply;
mod check;
mod config;
mod conflict;
mod detect;
mod failure;
mod fingerprint;
mod interrupt;
mod link;
mod master;
mod objection;
mod ownership;
mod place;
mod plan;
mod plugin;
mod precheck;
mod result;
mod siblings;
mod stopwatch;

#[cfg(test)]
#[path = "../../docs/fields.rs"]
mod documentation;

/// A plugin allocates a little and ends. The allocator of musl maps and unmaps a page at a time for
/// that: a hundred of an ADD's system calls (benches/RESULTS.md, "How it was made fast").
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let plugin = Observed::new(plugin::Ipvlan { began: Instant::now() });
    let panicked = plugin.on_panic();
    std::panic::set_hook(Box::new(move |info| {
        drop(stdout().write_all(&panic_object(info, Version::NEWEST)));
        panicked(info);
        exit(1)
    }));
    serve(&plugin, std::env::vars_os(), &mut stdin(), &mut stdout(), &mut stderr()).into()
}
