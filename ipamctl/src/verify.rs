//! `ipamctl verify`: whether the database is what it was written to be.

use std::io::Write;

use anyhow::{Result, bail};
use ipam_store::Store;

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Make the indexes anew if only they are wrong.
    #[arg(long)]
    repair: bool,

    /// Give space of the file that nothing uses back to the disk, if that is half of it or more.
    #[arg(long)]
    compact: bool,
}

/// A file of this size, in bytes, is as small as it should be: room to write is made once.
const SMALL: u64 = 1 << 20;

pub(crate) fn run(store: &Store, options: &Verify, out: &mut dyn Write) -> Result<()> {
    let verdict = store.verify(options.repair)?;
    if options.compact {
        let (before, after) = store.compact(SMALL)?;
        writeln!(out, "{before} bytes before, {after} bytes now")?;
    }
    if verdict.faults.is_empty() {
        let contents = store.contents()?;
        writeln!(
            out,
            "ok: {} pools, {} leases, {} resting addresses, revision {}",
            contents.pools.len(),
            contents.leases.len(),
            contents.rests.len(),
            contents.revision
        )?;
        return Ok(());
    }
    for fault in &verdict.faults {
        writeln!(out, "{fault}")?;
    }
    if verdict.repaired {
        writeln!(out, "repaired: the indexes agree with the leases again")?;
        return Ok(());
    }
    bail!("{} faults: `ipamctl verify --repair` makes the indexes anew", verdict.faults.len())
}
