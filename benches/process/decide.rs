//! The decision alone, in this process: `benches/allocate.rs` has more of it.

use std::time::Instant;

use workload::{BATCH, CASES, Rack};

use crate::Bench;
use crate::goals::Goals;
use crate::markdown::Document;
use crate::samples::Samples;

const ROUNDS: usize = 400;

/// How many times as long as in an empty pool it may take in a full one.
const SPREAD: f64 = 3.0;

pub(crate) fn measure(bench: &Bench, goals: &mut Goals, document: &mut Document) {
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for case in CASES {
        let rack = Rack::new(case);
        let (mut allocate, mut release) = (Samples::default(), Samples::default());
        for _ in 0..bench.rounds(ROUNDS) {
            allocate.begin_round();
            release.begin_round();
            let began = Instant::now();
            let held: Vec<_> = (0..BATCH).map(|_| rack.allocate()).collect();
            allocate.push(began.elapsed() / BATCH);
            let began = Instant::now();
            drop(held);
            release.push(began.elapsed() / BATCH);
        }
        let (allocate, release) = (allocate.median() * 1e3, release.median() * 1e3);
        rows.push(vec![case.to_string(), format!("{allocate:.0}"), format!("{release:.0}")]);
        all.push((case, allocate, release));
    }
    for subnet in ["10.0.0.0/24", "fd00::/64"] {
        let of_subnet = || all.iter().filter(|(case, ..)| case.subnet == subnet);
        let slowest = of_subnet().map(|(_, allocate, _)| *allocate).fold(0.0, f64::max);
        let fastest = of_subnet().map(|(_, allocate, _)| *allocate).fold(f64::MAX, f64::min);
        let release = of_subnet().map(|(.., release)| *release).fold(0.0, f64::max);
        goals.at_most(&format!("decide, allocate in {subnet}"), 200.0, slowest.round(), " ns");
        goals.at_most(&format!("decide, release in {subnet}"), 200.0, release.round(), " ns");
        let goal = format!("decide, {subnet} however full, slowest to fastest");
        goals.at_most(&goal, SPREAD, slowest / fastest, " ×");
    }
    document.heading("The decision in memory");
    document.text(
        "ipam-core alone: select among four pools, find the lowest free address, note it. \
         Nanoseconds, medians.",
    );
    document.table(&["pool", "allocate", "release"], &rows);
}
