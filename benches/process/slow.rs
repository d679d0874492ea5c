//! A disk that needs a millisecond longer for each sync, as many in clouds do.

use anyhow::Result;

use crate::Bench;
use crate::markdown::{Document, micros, ratio};
use crate::samples::Samples;
use crate::site::{Program, Site, timed};

const ROUNDS: usize = 40;

/// strace delays the sync; how much it costs besides is seen from the same with a delay of nothing.
const SLOW: &str = "inject=fdatasync,fsync:delay_exit=1000";
const QUICK: &str = "inject=fdatasync,fsync:delay_exit=1";

pub(crate) fn measure(bench: &Bench, document: &mut Document) -> Result<()> {
    eprintln!("process: a slow disk");
    let site = Site::new(bench, &bench.disk, 250, true)?;
    let subjects = [
        (Program::Floor, "ADD"),
        (Program::Ours, "ADD"),
        (Program::Ours, "DEL"),
        (Program::HostLocal, "ADD"),
        (Program::HostLocal, "DEL"),
    ];
    let mut rows: Vec<[Samples; 2]> = vec![<[Samples; 2]>::default(); subjects.len()];
    for round in 0..bench.rounds(ROUNDS) {
        for (place, injection) in [QUICK, SLOW].into_iter().enumerate() {
            let container = format!("slow-{round}-{place}");
            for (row, (program, verb)) in rows.iter_mut().zip(subjects) {
                let wrapper = [
                    "strace",
                    "-f",
                    "-qq",
                    "--seccomp-bpf",
                    "-o",
                    "/dev/null",
                    "-e",
                    "trace=fdatasync,fsync",
                    "-e",
                    injection,
                ];
                row[place].begin_round();
                row[place].push(timed(site.command(&wrapper, program, verb, &container)?)?);
            }
        }
    }
    document.heading("A slow disk");
    document.text(
        "Each sync takes a millisecond longer (strace delays it; the first column is the same with \
         1 µs, so that strace's own cost is in both). 250 leases.",
    );
    let lines: Vec<_> = rows
        .iter()
        .zip(subjects)
        .map(|([quick, slow], (program, verb))| {
            let more = slow.median() - quick.median();
            vec![
                format!("{} {verb}", program.name()),
                micros(quick.median()),
                micros(slow.median()),
                micros(more),
                ratio(slow.ratio_to(&rows[0][1])),
            ]
        })
        .collect();
    document.table(&["call", "as it is", "slow", "longer", "to the slow floor"], &lines);
    Ok(())
}
