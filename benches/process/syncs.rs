//! How often each verb asks the disk to write: counted, and so free of noise.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::Bench;
use crate::goals::Goals;
use crate::markdown::Document;
use crate::site::{Program, Site};

/// Every call that waits for the disk.
const SYNCS: &str = "fsync,fdatasync,sync,syncfs,sync_file_range,msync";

/// Enough to see the file grow.
const GROWTH: u32 = 900;
const GROWTH_FROM: u32 = 1_500;

pub(crate) fn measure(bench: &Bench, goals: &mut Goals, document: &mut Document) -> Result<()> {
    eprintln!("process: syncs");
    let site = Site::new(bench, &bench.disk, 250, true)?;
    // What the first ADD of a database does besides is not what an ADD does.
    site.call(Program::Ours, "ADD", "first")?;
    let mut rows = Vec::new();
    for (program, verb) in [
        (Program::Ours, "ADD"),
        (Program::Ours, "CHECK"),
        (Program::Ours, "STATUS"),
        (Program::Ours, "VERSION"),
        (Program::Ours, "DEL"),
        (Program::HostLocal, "ADD"),
        (Program::HostLocal, "CHECK"),
        (Program::HostLocal, "VERSION"),
        (Program::HostLocal, "DEL"),
    ] {
        let calls = traced(&site, "all", |wrapper| site.command(wrapper, program, verb, "traced"))?;
        let (syncs, calls) = (syncs_in(&calls), calls.len());
        rows.push(vec![format!("{} {verb}", program.name()), syncs.to_string(), calls.to_string()]);
        if program == Program::Ours {
            let bar = if matches!(verb, "ADD" | "DEL") { 2.0 } else { 0.0 };
            goals.at_most(&format!("syncs, {verb}"), bar, number(syncs), "");
        }
    }
    let calls = traced(&site, "all", |wrapper| get_pools(bench, &site, wrapper))?;
    let syncs = syncs_in(&calls);
    rows.push(vec!["ipamctl get pools".into(), syncs.to_string(), calls.len().to_string()]);
    goals.at_most("syncs, ipamctl get pools", 0.0, number(syncs), "");

    let Growing { most, most_grown, grown } = growing(bench)?;
    goals.at_most("syncs, ADD that does not grow the file", 2.0, number(most), "");
    goals.at_most("syncs, ADD that grows the file", 3.0, number(most_grown), "");
    let those = format!("cni-ipam ADD, the most of {GROWTH}, of which {grown} grew the file");
    rows.push(vec![those, most.max(most_grown).to_string(), String::new()]);

    document.heading("Syncs and system calls");
    document.text("By strace, 250 leases. host-local reads each reservation, and syncs nothing.");
    document.table(&["call", "syncs", "system calls"], &rows);
    Ok(())
}

fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// Those of these calls that the program makes, by name.
fn traced(
    site: &Site<'_>,
    calls: &str,
    command: impl Fn(&[&str]) -> Result<Command>,
) -> Result<Vec<String>> {
    let log = site.path("strace");
    let log_text = log.to_str().context("a path in UTF-8")?;
    let filter = format!("trace={calls}");
    let mut command =
        command(&["strace", "-f", "-qq", "-e", &filter, "-e", "signal=none", "-o", log_text])?;
    let status = command.status().context("start strace")?;
    ensure!(status.success(), "under strace: {status}");
    let text = fs::read_to_string(&log)?;
    // A call that another thread interrupts takes two lines.
    let lines = text.lines().filter(|line| !line.contains("resumed>"));
    Ok(lines.filter_map(name_in).map(str::to_owned).collect())
}

/// The call in a line of strace, which begins with the process id.
fn name_in(line: &str) -> Option<&str> {
    line.split_whitespace().nth(1)?.split('(').next()
}

fn syncs_in(calls: &[String]) -> usize {
    calls.iter().filter(|call| SYNCS.split(',').any(|sync| sync == *call)).count()
}

fn get_pools(bench: &Bench, site: &Site<'_>, wrapper: &[&str]) -> Result<Command> {
    let (name, arguments) = wrapper.split_first().context("a wrapper")?;
    let mut command = Command::new(name);
    command.args(arguments).arg(bench.program("ipamctl"));
    command.arg("--data-dir").arg(site.path("ours")).args(["get", "pools"]);
    command.stdout(std::process::Stdio::null());
    Ok(command)
}

/// The most syncs of an ADD, where the file grew and where not.
struct Growing {
    most: usize,
    most_grown: usize,
    grown: usize,
}

fn growing(bench: &Bench) -> Result<Growing> {
    let site = Site::new(bench, &bench.disk, GROWTH_FROM, false)?;
    let file = site.path("ours").join("ipam.redb");
    let mut growing = Growing { most: 0, most_grown: 0, grown: 0 };
    for number in 0..GROWTH {
        let before = fs::metadata(&file)?.len();
        let container = format!("grow-{number}");
        let syncs = traced(&site, SYNCS, |wrapper| {
            site.command(wrapper, Program::Ours, "ADD", &container)
        })?;
        let syncs = syncs_in(&syncs);
        if fs::metadata(&file)?.len() > before {
            growing.most_grown = growing.most_grown.max(syncs);
            growing.grown += 1;
        } else {
            growing.most = growing.most.max(syncs);
        }
    }
    ensure!(growing.grown > 0, "{GROWTH} ADDs from {GROWTH_FROM} leases on did not grow the file");
    Ok(growing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_known_by_its_name() {
        let log = "42 fdatasync(4)                        = 0\n\
                   42    pwrite64(3, \"fsync(\", 6, 0) = 6\n\
                   43 sync() = 0\n\
                   43 sync_file_range2(4, 0, 0, 0) = 0";
        let calls: Vec<_> = log.lines().filter_map(name_in).map(str::to_owned).collect();
        assert_eq!(calls, ["fdatasync", "pwrite64", "sync", "sync_file_range2"]);
        assert_eq!(syncs_in(&calls), 2);
    }
}
