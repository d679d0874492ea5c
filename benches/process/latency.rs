//! How long one call takes that nobody disturbs, by the number of leases.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::Bench;
use crate::goals::Goals;
use crate::markdown::{Document, count, micros, ratio};
use crate::samples::Samples;
use crate::site::{Program, Site};

/// How many leases there are.
pub(crate) const LEASES: [u32; 7] = [0, 250, 1_000, 10_000, 60_000, 250_000, 1_000_000];

/// Beyond, filling host-local's directory takes longer than all the rest together.
const PEERS_LEASES: u32 = 60_000;

/// The rounds of one number of leases, and the calls of each program in a round.
const ROUNDS: usize = 25;
const CALLS: usize = 8;

/// How long the peer's calls of one number of leases may take; where one of them takes a second,
/// fewer have to do.
const PEERS_TIME: Duration = Duration::from_secs(20);

/// What is called; ADD and DEL of one container follow each other.
const SUBJECTS: [Subject; 6] = [
    (Program::Empty, "ADD"),
    (Program::Floor, "ADD"),
    (Program::Ours, "ADD"),
    (Program::Ours, "DEL"),
    (Program::HostLocal, "ADD"),
    (Program::HostLocal, "DEL"),
];

type Subject = (Program, &'static str);

/// What was measured on one file system.
type Rows = BTreeMap<u32, BTreeMap<Subject, Samples>>;

/// Latencies of single calls.
#[derive(Debug)]
pub(crate) struct Latency {
    disk: Rows,
    memory: Rows,
}

pub(crate) fn measure(bench: &Bench) -> Result<Latency> {
    Ok(Latency { disk: rows(bench, &bench.disk)?, memory: rows(bench, &bench.memory)? })
}

/// In turn over all numbers of leases too: what is compared is measured at the same time.
fn rows(bench: &Bench, parent: &Path) -> Result<Rows> {
    let mut sites = BTreeMap::new();
    for leases in LEASES {
        eprintln!("process: {} leases in {}", count(leases), parent.display());
        sites.insert(leases, Site::new(bench, parent, leases, leases <= PEERS_LEASES)?);
    }
    let mut rows = Rows::new();
    let mut peers_time = BTreeMap::new();
    for round in 0..bench.rounds(ROUNDS) {
        for (leases, site) in &sites {
            let row = rows.entry(*leases).or_default();
            let spent = peers_time.entry(*leases).or_default();
            one_round(site, round, *leases <= PEERS_LEASES, row, spent)?;
        }
    }
    Ok(rows)
}

fn one_round(
    site: &Site<'_>,
    round: usize,
    with_peer: bool,
    row: &mut BTreeMap<Subject, Samples>,
    peers_time: &mut Duration,
) -> Result<()> {
    for call in 0..CALLS {
        let container = format!("bench-{round}-{call}");
        let with_peer = with_peer && *peers_time < PEERS_TIME;
        for subject in SUBJECTS {
            let is_peer = subject.0 == Program::HostLocal;
            if is_peer && !with_peer {
                continue;
            }
            let took = site.call(subject.0, subject.1, &container)?;
            if is_peer {
                *peers_time += took;
            }
            let samples = row.entry(subject).or_default();
            if call == 0 {
                samples.begin_round();
            }
            samples.push(took);
        }
    }
    Ok(())
}

impl Latency {
    fn on_disk(&self, leases: u32, program: Program, verb: &'static str) -> Option<&Samples> {
        self.disk.get(&leases)?.get(&(program, verb))
    }

    /// ADDs on disk by leases, in microseconds: a line of the plot.
    pub(crate) fn line(&self, program: Program) -> Vec<(u32, f64)> {
        let point = |leases| Some((leases, self.on_disk(leases, program, "ADD")?.median()));
        LEASES.into_iter().filter_map(point).collect()
    }

    fn ratio(&self, leases: (u32, Program), other: (u32, Program)) -> Option<f64> {
        let one = self.on_disk(leases.0, leases.1, "ADD")?;
        Some(one.ratio_to(self.on_disk(other.0, other.1, "ADD")?))
    }

    pub(crate) fn judge(&self, goals: &mut Goals) {
        use Program::{Floor, HostLocal, Ours};
        let usual = LEASES.into_iter().filter(|leases| *leases <= PEERS_LEASES);
        for leases in usual.clone() {
            if let Some(ratio) = self.ratio((leases, Ours), (leases, Floor)) {
                let goal = format!("ADD, one at a time, {} leases, to the floor", count(leases));
                goals.at_most(&goal, 3.0, ratio, " ×");
            }
        }
        for leases in usual {
            if let Some(samples) = self.on_disk(leases, Ours, "ADD") {
                let goal = format!("ADD, {} leases, p99 to p50", count(leases));
                goals.at_most(&goal, 2.0, samples.p99() / samples.median(), " ×");
            }
        }
        for (leases, bar) in [(60_000, 1.15), (250_000, 1.3), (1_000_000, 1.5)] {
            if let Some(ratio) = self.ratio((leases, Ours), (0, Ours)) {
                goals.at_most(&format!("ADD, {} leases to none", count(leases)), bar, ratio, " ×");
            }
        }
        for (leases, bar) in [(0, 0.45), (250, 0.2), (1_000, 0.1), (10_000, 0.012), (60_000, 0.002)]
        {
            if let Some(ratio) = self.ratio((leases, Ours), (leases, HostLocal)) {
                let goal = format!("ADD, {} leases, to host-local", count(leases));
                goals.at_most(&goal, bar, ratio, " ×");
            }
        }
    }

    pub(crate) fn describe(&self, document: &mut Document) {
        document.heading("One call at a time");
        document.text(
            "From `posix_spawn` to `wait`. `floor` is an empty static process that overwrites one \
             page and syncs it. Medians of the rounds' medians, p99 over all calls; ratios are \
             medians of the ratios within each round. host-local syncs nothing; its calls of one row get \
             20 s, so that there are fewer rounds of it where one takes long.\n\n\
             ![ADD by the number of leases](latency.svg)",
        );
        for (name, rows) in [("this disk", &self.disk), ("tmpfs", &self.memory)] {
            document.text(&format!("On {name}:"));
            let lines: Vec<_> = rows.iter().map(|(leases, row)| line(*leases, row)).collect();
            let head = [
                "leases",
                "empty",
                "floor",
                "ADD p50",
                "p99",
                "DEL p50",
                "p99",
                "ADD to floor",
                "host-local ADD",
                "DEL",
                "in rounds",
                "ADD to host-local",
            ];
            document.table(&head, &lines);
            document.text("");
        }
    }

    /// A process that does nothing, beside the calls with no leases.
    pub(crate) fn empty_process(&self) -> Option<&Samples> {
        self.on_disk(0, Program::Empty, "ADD")
    }
}

fn line(leases: u32, row: &BTreeMap<Subject, Samples>) -> Vec<String> {
    let samples = |program, verb| row.get(&(program, verb)).cloned().unwrap_or_default();
    let (floor, ours) = (samples(Program::Floor, "ADD"), samples(Program::Ours, "ADD"));
    let (del, peer) = (samples(Program::Ours, "DEL"), samples(Program::HostLocal, "ADD"));
    vec![
        count(leases),
        micros(samples(Program::Empty, "ADD").median()),
        micros(floor.median()),
        micros(ours.median()),
        micros(ours.p99()),
        micros(del.median()),
        micros(del.p99()),
        ratio(ours.ratio_to(&floor)),
        micros(peer.median()),
        micros(samples(Program::HostLocal, "DEL").median()),
        peer.round_count().to_string(),
        ratio(ours.ratio_to(&peer)),
    ]
}
