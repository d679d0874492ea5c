//! `ipamctl show pool`: facts, counts and the map.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ipam_core::{Pool, Reserved};
use serde_json::{Value, json};

use crate::answer::{Kind, write_object};
use crate::clock::utc;
use crate::inventory::Inventory;
use crate::occupancy::{Occupancy, State, svg, terminal};
use crate::screen::Screen;
use crate::table::{Format, number, write_facts};

#[derive(Debug, clap::Args)]
pub(crate) struct ShowPool {
    /// The pool.
    #[arg(value_name = "NAME")]
    name: String,

    /// Write the map as a picture too, which a browser shows.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// Show it again whenever something changes.
    #[arg(short, long)]
    pub(crate) watch: bool,

    /// The form of the answer; facts and a map when absent.
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

pub(crate) fn show(
    inventory: &Inventory,
    options: &ShowPool,
    screen: Screen,
    out: &mut dyn Write,
) -> Result<()> {
    let is_named = |pool: &&Pool| pool.name().as_str() == options.name;
    let Some(pool) = inventory.pools.iter().find(is_named) else {
        bail!("no pool {:?} is stored: `ipamctl get pools` shows those that are", options.name);
    };
    let Inventory { reserved, leases, rests, .. } = inventory;
    let occupancy = Occupancy::new(pool, reserved, leases, rests);
    if let Some(file) = &options.svg {
        let picture = svg::report(pool, &occupancy, &utc(inventory.now.unix_seconds));
        fs::write(file, picture).with_context(|| format!("write {}", file.display()))?;
    }
    match options.output {
        Some(format @ (Format::Json | Format::Yaml)) => {
            write_object(Kind::PoolOccupancy, object(pool, &occupancy), format, out)
        }
        Some(Format::Wide) | None => {
            write_facts(&facts(pool, reserved, &occupancy), out)?;
            writeln!(out)?;
            terminal::draw(&occupancy, screen, out)
        }
    }
}

fn facts(pool: &Pool, pins: &[Reserved], occupancy: &Occupancy) -> Vec<(&'static str, String)> {
    let mut use_of = vec![pool.family().to_string()];
    use_of.push(if pool.is_default() { "default" } else { "only by name" }.to_owned());
    if pool.is_disabled() {
        use_of.push("disabled: it gives no address".to_owned());
    }
    let mut facts = vec![
        ("Pool", format!("{} ({})", pool.name(), use_of.join(", "))),
        ("Subnet", pool.subnet().to_string()),
        ("Gateway", pool.gateway().map_or_else(|| "<none>".to_owned(), |it| it.to_string())),
    ];
    let routes = pool.routes().iter().map(|route| format!("{} via {}", route.dst, route.gateway));
    let selectors = [
        ("nodeAffinity", pool.node_affinity()),
        ("namespaceAffinity", pool.namespace_affinity()),
        ("podAffinity", pool.pod_affinity()),
    ];
    let selectors = selectors.into_iter().filter_map(|(name, it)| Some(format!("{name} {}", it?)));
    for (label, lines) in [
        ("Routes", routes.collect::<Vec<_>>()),
        ("Nodes", pool.nodes().iter().map(ToString::to_string).collect()),
        ("Networks", pool.networks().iter().map(ToString::to_string).collect()),
        ("Namespaces", pool.namespaces().iter().map(ToString::to_string).collect()),
        ("Labels", selectors.collect()),
    ] {
        if !lines.is_empty() {
            facts.push((label, lines.join("\n")));
        }
    }
    let pins: Vec<String> = pins.iter().filter_map(|one| pinned(pool, one)).collect();
    if !pins.is_empty() {
        facts.push(("Pinned", pins.join("\n")));
    }
    let (held, total) = (occupancy.held(), occupancy.total());
    facts.push(("Held", format!("{held} of {total}{}", percent(held, total))));
    facts.push(("Free", occupancy.count(State::Free).to_string()));
    facts
}

/// The addresses of the pool that a document keeps for a pod.
fn pinned(pool: &Pool, document: &Reserved) -> Option<String> {
    let pin = document.pin()?;
    let here = document.ips().intersection(pool.ips());
    (!here.is_empty()).then(|| format!("{here} to pod {pin}"))
}

/// Whole percents; nothing for a pool without addresses or one that nobody can fill.
fn percent(part: u128, whole: u128) -> String {
    match part.checked_mul(100).and_then(|part| part.checked_div(whole)) {
        Some(0) if part > 0 => " (below 1 %)".to_owned(),
        Some(percent) => format!(" ({percent} %)"),
        None => String::new(),
    }
}

fn object(pool: &Pool, occupancy: &Occupancy) -> Value {
    let runs = occupancy.runs.iter().map(|run| {
        json!({
            "first": run.range.first(),
            "last": run.range.last(),
            "state": run.state.key(),
            "count": number(run.range.size()),
        })
    });
    let mut counts: serde_json::Map<String, Value> = State::ALL
        .into_iter()
        .map(|state| (state.key().to_owned(), number(occupancy.count(state)).into()))
        .collect();
    counts.insert("total".to_owned(), number(occupancy.total()).into());
    json!({
        "pool": pool.name().as_str(),
        "ipVersion": pool.family().version(),
        "subnet": pool.subnet(),
        "gateway": pool.gateway(),
        "default": pool.is_default(),
        "disable": pool.is_disabled(),
        "counts": counts,
        "runs": runs.collect::<Vec<_>>(),
    })
}
