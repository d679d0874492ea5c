//! What a sync did, or would do, as lines.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use ipam_core::RangeSet;
use serde_json::{Value, json};

use super::fence::Fenced;
use super::plan::{Fate, Plan, PoolPlan};
use crate::holder;
use crate::ips::lease_object;

/// Writes one line a pool, and below it one line for what was added (+), removed (-), fenced (~),
/// given back (=) or waits (?).
pub(super) fn write(
    plan: &Plan,
    confirm: Duration,
    now_unix_seconds: u64,
    out: &mut dyn Write,
) -> Result<()> {
    for pool in &plan.pools {
        let PoolPlan { name, fate, added, removed, given_back, fenced, waiting } = pool;
        writeln!(out, "pool/{name} {}", done(*fate))?;
        for (sign, addresses, what) in
            [('+', added, "added"), ('-', removed, "removed"), ('=', given_back, "given back")]
        {
            for range in addresses.ranges() {
                writeln!(out, "  {sign} {range} {what}")?;
            }
        }
        for range in waiting.ranges() {
            writeln!(out, "  ? {range} waits: the pool of another NIC has it, where it is fenced")?;
        }
        for fenced in fenced {
            write_fenced(fenced, confirm, now_unix_seconds, out)?;
        }
    }
    Ok(())
}

/// What becomes of one pool, for programs.
pub(super) fn object(pool: &PoolPlan) -> Value {
    let PoolPlan { name, fate, added, removed, given_back, fenced, waiting } = pool;
    let texts = |addresses: &RangeSet| {
        addresses.ranges().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let fenced = fenced.iter().map(|Fenced { addresses, since_unix_seconds, holder }| {
        json!({
            "ips": texts(addresses),
            "sinceUnixSeconds": since_unix_seconds,
            "holder": holder.as_ref().map(lease_object),
        })
    });
    json!({
        "name": name.as_str(),
        "change": done(*fate),
        "added": texts(added),
        "removed": texts(removed),
        "givenBack": texts(given_back),
        "waiting": texts(waiting),
        "fenced": fenced.collect::<Vec<_>>(),
    })
}

fn write_fenced(
    fenced: &Fenced,
    confirm: Duration,
    now_unix_seconds: u64,
    out: &mut dyn Write,
) -> Result<()> {
    let Fenced { addresses, since_unix_seconds, holder } = fenced;
    let seconds = now_unix_seconds.saturating_sub(*since_unix_seconds);
    let fate = match holder {
        Some(lease) => format!("held by {}", holder::of(lease)),
        None if seconds < confirm.as_secs() => {
            format!("free; a reading in {} s confirms it", confirm.as_secs() - seconds)
        }
        // Confirmed, and still there: the whole pool is not told any more.
        None => "free; it is all that the pool has: --prune removes it".to_owned(),
    };
    for range in addresses.ranges() {
        writeln!(out, "  ~ {range} fenced for {seconds} s: {fate}")?;
    }
    Ok(())
}

/// The words of `kubectl apply`.
fn done(fate: Fate) -> &'static str {
    match fate {
        Fate::Created => "created",
        Fate::Configured => "configured",
        Fate::Unchanged => "unchanged",
        Fate::Removed => "removed",
    }
}
