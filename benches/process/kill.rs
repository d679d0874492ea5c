//! What the next ADD costs after one was killed, at any moment.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::Bench;
use crate::goals::Goals;
use crate::markdown::{Document, count, micros, ratio};
use crate::samples::Samples;
use crate::site::{Program, Site};

const LEASES: [u32; 3] = [0, 60_000, 250_000];
const KILLS: usize = 200;

pub(crate) fn measure(bench: &Bench, goals: &mut Goals, document: &mut Document) -> Result<()> {
    let mut rows = Vec::new();
    for leases in LEASES {
        eprintln!("process: killed with {} leases", count(leases));
        let site = Site::new(bench, &bench.disk, leases, false)?;
        let (mut normal, mut after) = (Samples::default(), Samples::default());
        let usual = usual(&site)?;
        let kills = bench.rounds(KILLS);
        let mut killed = 0;
        for number in 0..kills {
            let container = format!("normal-{number}");
            let undisturbed = site.call(Program::Ours, "ADD", &container)?;
            site.call(Program::Ours, "DEL", &container)?;

            let victim = format!("victim-{number}");
            let part = u32::try_from(number).unwrap_or_default();
            let moment = usual * part / u32::try_from(kills).unwrap_or(1);
            let was_killed = kill(&site, &victim, moment)?;
            let container = format!("after-{number}");
            let next = site.call(Program::Ours, "ADD", &container)?;
            if was_killed {
                killed += 1;
                for (samples, took) in [(&mut normal, undisturbed), (&mut after, next)] {
                    samples.begin_round();
                    samples.push(took);
                }
            }
            for container in [victim, container] {
                site.call(Program::Ours, "DEL", &container)?;
            }
        }
        ensure!(killed >= kills / 4, "only {killed} of {kills} ADDs were killed before their end");
        let ratio_to_normal = after.ratio_to(&normal);
        let goal = format!("ADD after kill -9, {} leases, to the usual one", count(leases));
        goals.at_most(&goal, 1.3, ratio_to_normal, " ×");
        // A repair of the whole file takes 8 ms with 60k leases, 40 ms with 250k.
        if leases > 0 {
            let goal = format!("slowest ADD after kill -9, {} leases (no repair)", count(leases));
            goals.at_most(&goal, 8.0, after.slowest() / 1e3, " ms");
        }
        rows.push(vec![
            count(leases),
            format!("{killed} of {kills}"),
            micros(normal.median()),
            micros(normal.slowest()),
            micros(after.median()),
            micros(after.slowest()),
            ratio(ratio_to_normal),
        ]);
    }
    document.heading("After kill -9");
    document.text(
        "ADDs killed at moments spread over the length of one; then the next one, where the killed \
         one had not ended by itself. A repair of the whole file takes 8 ms with 60k leases and 40 ms \
         with 250k.",
    );
    let head = [
        "leases",
        "killed before their end",
        "usual ADD",
        "slowest",
        "next ADD",
        "slowest",
        "ratio",
    ];
    document.table(&head, &rows);
    Ok(())
}

/// The median of some.
fn usual(site: &Site<'_>) -> Result<Duration> {
    let mut took = Vec::new();
    for number in 0..9 {
        let container = format!("usual-{number}");
        took.push(site.call(Program::Ours, "ADD", &container)?);
        site.call(Program::Ours, "DEL", &container)?;
    }
    took.sort();
    Ok(took[took.len() / 2])
}

/// Whether it was killed before it ended by itself.
fn kill(site: &Site<'_>, container: &str, moment: Duration) -> Result<bool> {
    let began = Instant::now();
    let mut child = site.command(&[], Program::Ours, "ADD", container)?.spawn()?;
    while began.elapsed() < moment {
        thread::yield_now();
    }
    let runs = child.try_wait()?.is_none();
    child.kill()?;
    child.wait()?;
    Ok(runs)
}
