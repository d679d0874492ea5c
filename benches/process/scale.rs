//! A file far larger than any node's: a million leases, ten thousand pools.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::markdown::{Document, micros};
use crate::samples::Samples;
use crate::site::{Program, Site, timed};
use crate::{Bench, fill};

const ROUNDS: usize = 20;

pub(crate) fn measure(bench: &Bench, document: &mut Document) -> Result<()> {
    let mut rows = Vec::new();
    for (pools, leases) in [(1, 1_000_000), (10_000, 0), (10_000, 1_000_000)] {
        eprintln!("process: {leases} leases in {pools} pools");
        let site = Site::bare(bench, &bench.disk)?;
        match pools {
            1 => fill::ours(&site.path("ours"), leases)?,
            _ => fill::pools(&site.path("ours"), pools, leases)?,
        };
        let (mut add, mut del) = (Samples::default(), Samples::default());
        for round in 0..bench.rounds(ROUNDS) {
            let container = format!("scale-{round}");
            add.push(site.call(Program::Ours, "ADD", &container)?);
            del.push(site.call(Program::Ours, "DEL", &container)?);
        }
        let mut row =
            vec![pools.to_string(), leases.to_string(), micros(add.median()), micros(del.median())];
        for arguments in [&["get", "pools"][..], &["get", "ips"], &["verify"]] {
            let mut command = Command::new(bench.program("ipamctl"));
            command.arg("--data-dir").arg(site.path("ours")).args(arguments).stdout(Stdio::null());
            row.push(micros(timed(command)?.as_secs_f64() * 1e6));
        }
        rows.push(row);
    }
    document.heading("Far too large");
    document.table(&["pools", "leases", "ADD", "DEL", "get pools", "get ips", "verify"], &rows);
    Ok(())
}
