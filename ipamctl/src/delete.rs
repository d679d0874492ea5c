//! `ipamctl delete`: takes pools away that nobody uses.

use std::io::Write;

use anyhow::{Result, bail};
use ipam_core::{Lease, PoolName};
use ipam_store::{Revision, Store};
use serde_json::json;

use crate::answer::{Answer, Kind};
use crate::holder;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Delete {
    /// Pools of which nobody holds an address: all of those that are named, or none.
    #[command(visible_alias = "pool")]
    Pools {
        /// The pools.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<PoolName>,

        #[command(flatten)]
        answer: Answer,
    },
}

pub(crate) fn run(store: &Store, delete: &Delete, out: &mut dyn Write) -> Result<()> {
    let Delete::Pools { names, answer } = delete;
    let mut unknown: Vec<&PoolName> = Vec::new();
    let mut held: Vec<Lease> = Vec::new();
    // A directory without a store stays one: nothing is made where nothing is to be taken away.
    store.contents()?;
    store.revise(
        |contents| {
            let is_stored = |name: &PoolName| contents.pools.iter().any(|it| it.name() == name);
            unknown = names.iter().filter(|name| !is_stored(name)).collect();
            let is_of_these = |lease: &&Lease| names.contains(&lease.pool);
            held = contents.leases.iter().filter(is_of_these).cloned().collect();
            if unknown.is_empty() && held.is_empty() {
                Revision { removed_pools: names.clone(), ..Revision::default() }
            } else {
                Revision::default()
            }
        },
        &[],
    )?;
    if let [first, ..] = unknown.as_slice() {
        bail!("nothing was deleted: no pool {:?} is stored", first.as_str());
    }
    if !held.is_empty() {
        let lines = held.iter().map(|lease| {
            format!("\n  {} of pool {}: {}", lease.address, lease.pool, holder::of(lease))
        });
        let lines: String = lines.collect();
        bail!("nothing was deleted: {} addresses are held:{lines}", held.len());
    }
    for name in names.iter().filter(|_| answer.is_text()) {
        writeln!(out, "pool/{name} deleted")?;
    }
    let names = names.iter().map(PoolName::as_str);
    answer.give(Kind::Deletion, || json!({ "pools": names.collect::<Vec<_>>() }), out)
}
