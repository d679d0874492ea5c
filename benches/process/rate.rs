//! How many calls a second, when many come at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::Bench;
use crate::goals::Goals;
use crate::markdown::{Document, count, micros, ratio};
use crate::samples::Samples;
use crate::site::{Program, Site};

const CONCURRENCY: [u32; 4] = [1, 8, 64, 250];
const LEASES: [u32; 4] = [0, 250, 1_000, 10_000];
const PROGRAMS: [Program; 3] = [Program::Floor, Program::Ours, Program::HostLocal];

/// Each caller makes one call a round, so that there are never many more leases than it says.
const ROUNDS: usize = 15;

/// Where one caller is alone it makes more.
const FEWEST: u32 = 16;

/// One program at one concurrency.
#[derive(Debug, Default)]
struct Rate {
    samples: Samples,
    /// From one end of a call to the next, on average of a round.
    spacing: Samples,
}

impl Rate {
    fn per_second(&self) -> f64 {
        1e6 / self.spacing.median()
    }

    fn ratio_to(&self, other: &Self) -> f64 {
        other.spacing.ratio_to(&self.spacing)
    }
}

/// Rates by leases and concurrency; in each the programs in their order.
#[derive(Debug)]
pub(crate) struct Rates(Vec<(u32, u32, [Rate; 3])>);

pub(crate) fn measure(bench: &Bench) -> Result<Rates> {
    let mut rates = Vec::new();
    for leases in LEASES {
        let site = Site::new(bench, &bench.disk, leases, true)?;
        for callers in CONCURRENCY {
            eprintln!("process: {callers} at once, {} leases", count(leases));
            let mut row = <[Rate; 3]>::default();
            for round in 0..bench.rounds(ROUNDS) {
                for (program, rate) in PROGRAMS.into_iter().zip(&mut row) {
                    // A peer's call takes a tenth of a second there, and one caller waits for all.
                    let is_slow = program == Program::HostLocal && leases >= 1_000;
                    if is_slow && round > 0 && callers >= 64 {
                        continue;
                    }
                    let total = callers.max(if is_slow { 4 } else { FEWEST });
                    one_round(&site, program, callers, total, round, rate)?;
                }
            }
            rates.push((leases, callers, row));
        }
    }
    Ok(Rates(rates))
}

fn one_round(
    site: &Site<'_>,
    program: Program,
    callers: u32,
    total: u32,
    round: usize,
    rate: &mut Rate,
) -> Result<()> {
    let began = Instant::now();
    let took = all(site, program, "ADD", callers, total, round)?;
    rate.spacing.begin_round();
    rate.spacing.push(began.elapsed() / total);
    rate.samples.begin_round();
    for duration in took {
        rate.samples.push(duration);
    }
    if program != Program::Floor {
        all(site, program, "DEL", callers, total, round)?;
    }
    Ok(())
}

/// So many calls by so many callers, each of which starts its next one when its last one has ended.
fn all(
    site: &Site<'_>,
    program: Program,
    verb: &'static str,
    callers: u32,
    total: u32,
    round: usize,
) -> Result<Vec<std::time::Duration>> {
    let next = AtomicU32::new(0);
    let caller = || -> Result<Vec<_>> {
        let mut took = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= total {
                return Ok(took);
            }
            took.push(site.call(program, verb, &format!("rate-{callers}-{round}-{number}"))?);
        }
    };
    thread::scope(|scope| {
        let callers: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
        let mut all = Vec::new();
        for caller in callers {
            all.extend(caller.join().ok().context("a caller panicked")??);
        }
        Ok(all)
    })
}

impl Rates {
    fn at(&self, leases: u32, callers: u32) -> Option<&[Rate; 3]> {
        self.0.iter().find(|row| (row.0, row.1) == (leases, callers)).map(|row| &row.2)
    }

    pub(crate) fn judge(&self, goals: &mut Goals) {
        if let Some([floor, ours, _]) = self.at(0, 64) {
            goals.at_least("ADD/s, 64 at once, to the floor's", 0.6, ours.ratio_to(floor), " ×");
            let spread = ours.samples.p99() / ours.samples.median();
            goals.at_most("ADD, 64 at once, p99 to p50", 1.5, spread, " ×");
        }
        for (leases, bar) in [(0, 2.0), (250, 5.0), (1_000, 15.0), (10_000, 100.0)] {
            if let Some([_, ours, peer]) = self.at(leases, 64) {
                let goal = format!("ADD/s, 64 at once, {} leases, to host-local's", count(leases));
                goals.at_least(&goal, bar, ours.ratio_to(peer), " ×");
            }
        }
    }

    pub(crate) fn describe(&self, document: &mut Document) {
        document.heading("Many calls at once");
        document.text(
            "On this disk: so many callers start one ADD each at the same time (16 in all at least, \
             one after the other where there are fewer callers), and their DELs when all have ended. \
             A call of host-local takes long from 1k leases on: from 64 callers on it gets one round.",
        );
        let row = |(leases, callers, rates): &(u32, u32, [Rate; 3])| {
            let [floor, ours, peer] = rates;
            let mut row = vec![count(*leases), callers.to_string()];
            row.push(format!("{:.0}", floor.per_second()));
            for rate in [ours, peer] {
                row.push(format!("{:.0}", rate.per_second()));
                row.push(micros(rate.samples.median()));
                row.push(micros(rate.samples.p99()));
            }
            row.push(ratio(ours.ratio_to(floor)));
            row.push(ratio(ours.ratio_to(peer)));
            row
        };
        let rows: Vec<_> = self.0.iter().map(row).collect();
        let head = [
            "leases",
            "at once",
            "floor/s",
            "cni-ipam/s",
            "p50",
            "p99",
            "host-local/s",
            "p50",
            "p99",
            "to floor",
            "to host-local",
        ];
        document.table(&head, &rows);
    }
}
