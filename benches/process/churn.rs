//! Day after day of pods that come and go.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use ipam_core::{Asker, Demand, Stamp};
use ipam_store::{Request, Store};

use crate::markdown::{Document, micros};
use crate::samples::Samples;
use crate::{Bench, fill};

const PODS: u32 = 250;
const STARTS_A_DAY: u32 = 10 * 60 * 24;
const SECONDS_BETWEEN_STARTS: u64 = 6;

pub(crate) fn measure(bench: &Bench, days: u32, document: &mut Document) -> Result<()> {
    let days = if bench.quick { 1 } else { days };
    eprintln!("process: {days} days of churn");
    let directory =
        tempfile::Builder::new().prefix("node-ipam-bench-").tempdir_in(&bench.memory)?;
    let store = fill::ours(&directory.path().join("ours"), 0)?;
    // The node's clock goes on by as much as lies between two starts, and cooldowns end.
    let (began, starts) = (ipam_store::now(), Arc::new(AtomicU64::new(0)));
    let store = store.with_clock({
        let starts = Arc::clone(&starts);
        move || {
            let seconds = starts.load(Ordering::Relaxed) * SECONDS_BETWEEN_STARTS;
            let moment = began.moment.after(seconds);
            let unix_seconds = began.unix_seconds + seconds;
            Stamp { boot: began.boot.clone(), moment, unix_seconds }
        }
    });
    let file = directory.path().join("ours/ipam.redb");
    for number in 0..PODS {
        start(&store, number)?;
    }
    let mut rows: Vec<(u32, u64, Samples)> = Vec::new();
    let mut number = PODS;
    for day in 1..=days {
        let mut samples = Samples::default();
        for _ in 0..STARTS_A_DAY {
            let began = Instant::now();
            store.release(&fill::attachment(number - PODS)?)?;
            starts.fetch_add(1, Ordering::Relaxed);
            start(&store, number)?;
            samples.push(began.elapsed());
            number += 1;
        }
        let bytes = fs::metadata(&file)?.len();
        // The first day, the last one, and where something changed.
        if rows.last().is_none_or(|last| last.1 != bytes) || day == days {
            rows.push((day, bytes, samples));
        }
    }
    let (first, last) = rows.first().zip(rows.last()).context("there is a day")?;
    document.heading("Day after day");
    document.text(&format!(
        "{PODS} pods, {STARTS_A_DAY} starts and ends a day, {days} days, in one process on tmpfs: a \
         DEL and an ADD take {} on the first day and {} on the last.",
        micros(first.2.median()),
        micros(last.2.median()),
    ));
    let lines: Vec<_> = rows
        .iter()
        .map(|(day, bytes, samples)| {
            vec![
                day.to_string(),
                bytes.to_string(),
                micros(samples.median()),
                micros(samples.p99()),
            ]
        })
        .collect();
    document.table(&["day", "file, bytes", "DEL and ADD, p50", "p99"], &lines);
    Ok(())
}

fn start(store: &Store, number: u32) -> Result<()> {
    let asker = Asker::new("bench".parse()?, fill::NETWORK.parse()?);
    let request = Request { demand: Demand::new(fill::attachment(number)?, asker), netns: None };
    store.allocate(&request)?;
    Ok(())
}
