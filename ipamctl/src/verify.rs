//! `ipamctl verify`: whether the database is what it was written to be.

use std::io::Write;

use anyhow::{Result, bail};
use ipam_store::{Store, Verdict};
use serde_json::{Value, json};

use crate::answer::{Answer, Kind};
use crate::progress::Progress;

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Make the indexes anew if only they are wrong.
    #[arg(long)]
    repair: bool,

    /// Give space of the file that nothing uses back to the disk, if that is half of it or more.
    #[arg(long)]
    compact: bool,

    #[command(flatten)]
    answer: Answer,
}

/// A file of this size, in bytes, is as small as it should be: room to write is made once.
const SMALL: u64 = 1 << 20;

pub(crate) fn run(store: &Store, options: &Verify, out: &mut dyn Write) -> Result<()> {
    let progress = Progress::of("reading every page of the database");
    let verdict = store.verify(options.repair)?;
    drop(progress);
    let answer = options.answer;
    let mut compaction = Value::Null;
    if options.compact {
        let (before, after) = store.compact(SMALL)?;
        compaction = json!({ "bytesBefore": before, "bytesNow": after });
        if answer.is_text() {
            writeln!(out, "{before} bytes before, {after} bytes now")?;
        }
    }
    let Verdict { faults, repaired } = &verdict;
    if faults.is_empty() || !answer.is_text() {
        let contents = store.contents()?;
        let (pools, leases) = (contents.pools.len(), contents.leases.len());
        let (rests, revision) = (contents.rests.len(), contents.revision);
        if answer.is_text() {
            writeln!(
                out,
                "ok: {pools} pools, {leases} leases, {rests} resting addresses, revision {revision}"
            )?;
        }
        let fields = || {
            json!({
                "faults": faults,
                "repaired": repaired,
                "compaction": compaction,
                "pools": pools,
                "leases": leases,
                "restingAddresses": rests,
                "revision": revision,
            })
        };
        answer.give(Kind::Verification, fields, out)?;
    }
    if faults.is_empty() {
        return Ok(());
    }
    for fault in faults.iter().filter(|_| answer.is_text()) {
        writeln!(out, "{fault}")?;
    }
    if *repaired {
        if answer.is_text() {
            writeln!(out, "repaired: the indexes agree with the leases again")?;
        }
        return Ok(());
    }
    bail!("{} faults: `ipamctl verify --repair` makes the indexes anew", faults.len())
}
