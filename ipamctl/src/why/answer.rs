//! What a dry run says.

use std::io::Write;

use anyhow::Result;
use ipam_core::{Family, Lease, Origin, Pool, Refused, Selection, Source, Stamp, Strategy, select};
use ipam_store::Contents;
use serde_json::{Value, json};

use super::Question;
use super::dry_run::{WouldGet, decide_upon};
use crate::answer::{Kind, write_object};
use crate::inventory::left_of_rests;
use crate::ips::{age, lease_object};
use crate::occupancy::{Occupancy, State};
use crate::table::{Format, number, write_facts, write_rows};

const HEADER: [&str; 6] = ["ORDER", "POOL", "VERSION", "FREE", "TOTAL", "VERDICT"];

/// What an ADD would get, and what became of each pool.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    question: &'a Question,
    now: Stamp,
    /// Written as addresses with the length of their subnet's prefix.
    granted: Vec<Granted>,
    refused: Option<Box<Refused>>,
    /// In the order in which they are tried, of each family.
    candidates: Vec<Candidate>,
    /// The other pools, by name, and why they are not tried.
    refusals: Vec<(String, String)>,
}

#[derive(Debug)]
struct Granted {
    address: String,
    pool: String,
    origin: &'static str,
}

#[derive(Debug)]
struct Candidate {
    pool: String,
    family: Family,
    free: u128,
    total: u128,
    held: u128,
    cooling: u128,
    verdict: Verdict,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// An ADD gets this address of it.
    Chosen(String),
    /// It would be tried if those before it had nothing.
    Next,
    /// It has nothing to give.
    Full,
}

impl<'a> Answer<'a> {
    pub(super) fn new(question: &'a Question, contents: &Contents) -> Self {
        let now = ipam_store::now();
        let Question { demand, policy, held, .. } = question;
        let pools = contents.effective_pools();
        let Selection { candidates, refusals } = select(&pools, &demand.source, &demand.asker);
        let decided = decide_upon(demand, &pools, policy, contents, held, &now);
        let (would_get, refused) = match decided {
            Ok(would_get) => (would_get, None),
            Err(refused) => (Vec::new(), Some(refused)),
        };
        let rests = left_of_rests(contents, &now);
        let leases: Vec<Lease> =
            contents.leases.iter().filter(|lease| !held.contains(lease)).cloned().collect();
        let candidate = |pool: &&Pool| {
            let declared = contents.pools.iter().find(|it| it.name() == pool.name());
            let occupancy =
                Occupancy::new(declared.unwrap_or(pool), &contents.reserved, &leases, &rests);
            Candidate::new(pool, &occupancy, &would_get)
        };
        let mut candidates: Vec<Candidate> = candidates.iter().map(candidate).collect();
        candidates.sort_by_key(|candidate| candidate.family);
        let mut refusals: Vec<(String, String)> = refusals
            .into_iter()
            .map(|refusal| (refusal.pool.into_owned(), refusal.reason.to_string()))
            .collect();
        refusals.sort();
        let granted = would_get.iter().map(Granted::new).collect();
        Self { question, now, granted, refused, candidates, refusals }
    }

    fn write(&self, out: &mut dyn Write) -> Result<()> {
        write_facts(&self.facts(), out)?;
        let mut rows = Vec::new();
        let mut order = (None, 0);
        for candidate in &self.candidates {
            // Each family is tried for itself.
            order = if order.0 == Some(candidate.family) {
                (order.0, order.1 + 1)
            } else {
                (Some(candidate.family), 1)
            };
            rows.push(vec![
                order.1.to_string(),
                candidate.pool.clone(),
                candidate.family.version().to_string(),
                candidate.free.to_string(),
                candidate.total.to_string(),
                candidate.words(),
            ]);
        }
        for (pool, reason) in &self.refusals {
            let mut row: Vec<String> = ["-", pool, "-", "-", "-"].map(str::to_owned).into();
            row.push(format!("refused: {reason}"));
            rows.push(row);
        }
        if !rows.is_empty() {
            writeln!(out)?;
            write_rows(&HEADER, &rows, out)?;
        }
        Ok(())
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let Question { demand, policy, held, source } = self.question;
        let asker = &demand.asker;
        let mut facts = Vec::new();
        if let Some(pod) = &demand.pod {
            facts.push(("Pod", pod.to_string()));
        }
        facts.extend([
            ("Network", format!("{}, interface {}", asker.network, demand.attachment.ifname)),
            ("Node", asker.node.to_string()),
            ("Pools", format!("{} ({source})", named(&demand.source))),
        ]);
        for lease in held {
            let since = age(lease.since.unix_seconds, self.now.unix_seconds);
            facts.push(("Holds", format!("{} of pool {} for {since}", lease.address, lease.pool)));
        }
        let would = if held.is_empty() { "Would get" } else { "Would get now" };
        for Granted { address, pool, origin } in &self.granted {
            facts.push((would, format!("{address} of pool {pool}: {origin}")));
        }
        if let Some(refused) = &self.refused {
            let text = match &**refused {
                // The table says it in rows.
                Refused::NoPool(no_pool) if !no_pool.refusals.is_empty() => {
                    let family = no_pool.family.map_or_else(String::new, |it| format!("{it} "));
                    format!("nothing: no {family}pool may be used")
                }
                other => format!("nothing: {other}"),
            };
            facts.push((would, text));
            if matches!(**refused, Refused::Exhausted { .. }) {
                let hint = "an ADD frees what the dead hold first: `ipamctl gc --dry-run` shows it";
                facts.push(("But", hint.to_owned()));
            }
        }
        if matches!(policy.strategy, Strategy::Random { .. }) {
            facts.push(("But", "with the strategy random each ADD gets another one".to_owned()));
        }
        facts
    }

    fn object(&self) -> Value {
        let Question { demand, held, source, .. } = self.question;
        let asker = &demand.asker;
        let candidates = self.candidates.iter().map(|candidate| {
            json!({
                "pool": candidate.pool,
                "ipVersion": candidate.family.version(),
                "verdict": candidate.verdict.word(),
                "free": number(candidate.free),
                "held": number(candidate.held),
                "cooling": number(candidate.cooling),
                "total": number(candidate.total),
            })
        });
        let refusals = self.refusals.iter();
        let refusals = refusals.map(|(pool, reason)| json!({ "pool": pool, "reason": reason }));
        let granted = self.granted.iter();
        let granted = granted.map(|Granted { address, pool, origin }| {
            json!({ "address": address, "pool": pool, "why": origin })
        });
        json!({
            "pod": demand.pod.as_ref().map(ToString::to_string),
            "network": asker.network.to_string(),
            "interface": demand.attachment.ifname.as_str(),
            "node": asker.node.as_str(),
            "source": source,
            "holds": held.iter().map(lease_object).collect::<Vec<_>>(),
            "wouldGet": granted.collect::<Vec<_>>(),
            "refused": self.refused.as_ref().map(ToString::to_string),
            "candidates": candidates.collect::<Vec<_>>(),
            "refusals": refusals.collect::<Vec<_>>(),
        })
    }
}

/// Writes one answer after the other; as objects, all in one.
pub(super) fn write(
    answers: &[Answer<'_>],
    format: Option<Format>,
    out: &mut dyn Write,
) -> Result<()> {
    if let Some(format @ (Format::Json | Format::Yaml)) = format {
        let selections = answers.iter().map(Answer::object).collect::<Vec<_>>();
        return write_object(Kind::Selection, json!({ "interfaces": selections }), format, out);
    }
    for (index, answer) in answers.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        answer.write(out)?;
    }
    Ok(())
}

impl Granted {
    fn new(would_get: &WouldGet<'_>) -> Self {
        let WouldGet { address, pool, origin } = would_get;
        Self {
            address: pool.network_address(*address).to_string(),
            pool: pool.name().to_string(),
            origin: match origin {
                Origin::Requested => "it is requested",
                Origin::TakenOver { .. } => "an earlier sandbox of the pod holds it",
                Origin::Returned => "it waited for this pod",
                Origin::Early => "nothing is free, and it cools down longest",
                _ => "by the strategy, of the first pool that has one",
            },
        }
    }
}

impl Candidate {
    fn new(pool: &Pool, occupancy: &Occupancy, would_get: &[WouldGet<'_>]) -> Self {
        let grant = would_get.iter().find(|it| it.pool.name() == pool.name());
        let free = occupancy.count(State::Free);
        let verdict = match grant {
            Some(grant) => Verdict::Chosen(grant.address.to_string()),
            None if free > 0 => Verdict::Next,
            None => Verdict::Full,
        };
        Self {
            pool: pool.name().to_string(),
            family: pool.family(),
            free,
            total: occupancy.total(),
            held: occupancy.held(),
            cooling: occupancy.count(State::Cooling),
            verdict,
        }
    }

    fn words(&self) -> String {
        match &self.verdict {
            Verdict::Chosen(address) => format!("chosen: {address}"),
            Verdict::Next => "would be next".to_owned(),
            Verdict::Full => {
                format!("full: {} held, {} cooling down", self.held, self.cooling)
            }
        }
    }
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Self::Chosen(_) => "chosen",
            Self::Next => "next",
            Self::Full => "full",
        }
    }
}

fn named(source: &Source) -> String {
    let Source::Named(named) = source else { return "all with default: true".to_owned() };
    let patterns = named.v4.iter().chain(&named.v6);
    patterns.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
