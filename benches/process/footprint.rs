//! How much disk and memory it takes.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};

use crate::goals::Goals;
use crate::latency::Latency;
use crate::markdown::{Document, count, micros};
use crate::samples::Samples;
use crate::site::{Program, Site};
use crate::{Bench, fill};

const LEASES: [u32; 5] = [0, 250, 10_000, 60_000, 250_000];
const MIB: f64 = 1_048_576.0;

pub(crate) fn measure(
    bench: &Bench,
    latency: &Latency,
    goals: &mut Goals,
    document: &mut Document,
) -> Result<()> {
    eprintln!("process: footprint");
    document.heading("Footprint");
    let mut rows = Vec::new();
    for leases in LEASES {
        let site = Site::bare(bench, &bench.disk)?;
        if leases <= 10_000 {
            fill::grown(&site.path("ours"), leases)?;
            fill::host_local(&site.path("peers"), leases)?;
        } else {
            fill::ours(&site.path("ours"), leases)?;
        }
        site.call(Program::Ours, "ADD", "one-more")?;
        let file = fs::metadata(site.path("ours").join("ipam.redb"))?;
        let (bytes, blocks) = (as_f64(file.len()), as_f64(file.blocks() * 512));
        let beyond = (bytes.max(blocks) - MIB).max(0.0);
        let each = if leases == 0 { 0.0 } else { beyond / f64::from(leases) };
        if leases >= 10_000 {
            let goal = format!("bytes of file a lease beyond 1 MiB, {} leases", count(leases));
            goals.at_most(&goal, 160.0, each.round(), "");
        }
        let ours = resident(&site, Program::Ours, "rss")?;
        site.call(Program::Ours, "DEL", "rss")?;
        if leases == 250 || leases == 250_000 {
            let goal = format!("RSS of an ADD, {} leases", count(leases));
            goals.at_most(&goal, 4.0, ours / 1024.0, " MiB");
        }
        let peer = if leases <= 10_000 { resident(&site, Program::HostLocal, "rss")? } else { 0.0 };
        rows.push(vec![
            count(leases),
            format!("{:.2} MiB", bytes / MIB),
            format!("{:.2} MiB", blocks / MIB),
            if each > 0.0 { format!("{each:.0}") } else { "-".into() },
            format!("{:.1} MiB", ours / 1024.0),
            if peer > 0.0 { format!("{:.1} MiB", peer / 1024.0) } else { "-".into() },
        ]);
    }
    let head =
        ["leases", "file", "blocks", "bytes a lease beyond 1 MiB", "RSS of ADD", "host-local's"];
    document.table(&head, &rows);

    let mut programs = Vec::new();
    for name in ["cni-ipam", "cni-ipvlan", "ipamctl"] {
        let bytes = as_f64(fs::metadata(bench.program(name))?.len());
        goals.at_most(&format!("size of {name}"), 3.0, bytes / 1e6, " MB");
        programs.push(vec![name.to_owned(), format!("{:.2} MB", bytes / 1e6)]);
    }
    for name in ["host-local", "ipvlan"] {
        let bytes = as_f64(fs::metadata(bench.peers.join(name))?.len());
        programs.push(vec![format!("{name} (Debian)"), format!("{:.2} MB", bytes / 1e6)]);
    }
    document.text("");
    document.table(&["program", "size"], &programs);
    start(bench, latency, goals, document)
}

/// What it costs to start and to say the version.
fn start(
    bench: &Bench,
    latency: &Latency,
    goals: &mut Goals,
    document: &mut Document,
) -> Result<()> {
    let site = Site::bare(bench, &bench.disk)?;
    let programs = [Program::Empty, Program::Ours, Program::HostLocal];
    let mut samples = <[Samples; 3]>::default();
    for _ in 0..bench.rounds(50) {
        for (program, samples) in programs.into_iter().zip(&mut samples) {
            samples.begin_round();
            for _ in 0..5 {
                samples.push(site.call(program, "VERSION", "none")?);
            }
        }
    }
    let [empty, ours, peer] = &samples;
    goals.at_most("VERSION to an empty process", 1.5, ours.ratio_to(empty), " ×");
    let known = latency.empty_process().map_or(0.0, Samples::median);
    document.text(&format!(
        "\nVERSION: {} (host-local {}; an empty process {}, and {} in the first table).",
        micros(ours.median()),
        micros(peer.median()),
        micros(empty.median()),
        micros(known),
    ));
    Ok(())
}

/// The most memory that an ADD has resident, in KiB, as GNU time says it.
fn resident(site: &Site<'_>, program: Program, container: &str) -> Result<f64> {
    let log = site.path("time");
    let log_text = log.to_str().context("a path in UTF-8")?;
    let wrapper = ["/usr/bin/time", "-f", "%M", "-o", log_text];
    let status =
        site.command(&wrapper, program, "ADD", container)?.status().context("start time")?;
    anyhow::ensure!(status.success(), "{}: {status}", program.name());
    let text = fs::read_to_string(&log)?;
    text.trim().parse().with_context(|| format!("GNU time said {text:?}"))
}

/// Exact: no file has 2^53 bytes.
#[allow(clippy::cast_precision_loss)]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}
