//! IPAM plugin: addresses from the node's own pools, for any plugin that makes interfaces.
#![warn(clippy::unwrap_used)]

use std::io::{Write, stderr, stdin, stdout};
use std::process::{ExitCode, exit};

use cni_proto::{
    AddRequest, AddResult, CheckRequest, DelRequest, Error, GcRequest, Plugin, StatusRequest,
    Version, panic_object, serve,
};
use telemetry::Observed;

/// A plugin allocates a little and ends. The allocator of musl maps and unmaps a page at a time for
/// that: a hundred of an ADD's system calls (benches/RESULTS.md, "How it was made fast").
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// The plugin: this package's library, verb by verb.
struct Ipam;

impl Plugin for Ipam {
    fn name(&self) -> &'static str {
        cni_ipam::IPAM_TYPE
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        telemetry::part("parse");
        let allocation = cni_ipam::add(request);
        telemetry::part("store");
        Ok(allocation?.to_result())
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        telemetry::part("parse");
        let released = cni_ipam::del(request);
        telemetry::part("store");
        released
    }

    fn check(&self, request: &CheckRequest) -> Result<(), Error> {
        cni_ipam::check(request)
    }

    fn gc(&self, request: &GcRequest) -> Result<(), Error> {
        cni_ipam::gc(request)
    }

    fn status(&self, request: &StatusRequest) -> Result<(), Error> {
        cni_ipam::status(request)
    }
}

fn main() -> ExitCode {
    let plugin = Observed::new(Ipam);
    let panicked = plugin.on_panic();
    std::panic::set_hook(Box::new(move |info| {
        drop(stdout().write_all(&panic_object(info, Version::NEWEST)));
        panicked(info);
        exit(1)
    }));
    serve(&plugin, std::env::vars_os(), &mut stdin(), &mut stdout(), &mut stderr()).into()
}
