//! `ipamctl apply`: documents into the store, all or none.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ipam_core::{Change, Lease, POOL_KIND, Pool, PoolName, RESERVED_KIND};
use ipam_store::{ApplyError, Declared, Error, Store};
use serde_json::json;

use crate::answer::{Answer, Kind};
use crate::documents::Documents;
use crate::evidence::{Evidence, Sources};
use crate::plain;

pub(crate) fn run(
    store: &Store,
    sources: Option<&Sources>,
    files: &[PathBuf],
    answer: Answer,
    out: &mut dyn Write,
) -> Result<()> {
    let Documents { pools, reserved, mut faults, warnings } = Documents::read(files)?;
    for warning in warnings {
        writeln!(plain::stderr(), "ipamctl: warning: {warning}")?;
    }
    if faults.is_empty() {
        let wanted =
            Declared { pools: pools.iter().map(|(_, pool)| pool.clone()).collect(), reserved };
        let in_use = match sources {
            Some(sources) => in_use(store, sources, &wanted)?,
            None => Vec::new(),
        };
        match store.apply_where(&wanted, &in_use) {
            Ok(changes) => {
                let mut named = BTreeSet::new();
                let mut documents = Vec::new();
                let mut tell = |word: &str, kind: &str, name: &PoolName, change: Change| {
                    let change = done(change);
                    documents
                        .push(json!({ "kind": kind, "name": name.as_str(), "change": change }));
                    if answer.is_text() { writeln!(out, "{word}/{name} {change}") } else { Ok(()) }
                };
                for (pool, change) in wanted.pools.iter().zip(changes.pools) {
                    // A name comes again only with the same contents: there is nothing left to do.
                    let is_first = named.insert(pool.name());
                    let change = if is_first { change } else { Change::Unchanged };
                    tell("pool", POOL_KIND, pool.name(), change)?;
                }
                for (reserved, change) in wanted.reserved.iter().zip(changes.reserved) {
                    tell("reserved", RESERVED_KIND, reserved.name(), change)?;
                }
                let fields = || json!({ "documents": documents });
                return answer.give(Kind::Application, fields, out);
            }
            Err(ApplyError::Rejected(rejections)) => {
                for rejection in rejections {
                    let (place, pool) =
                        pools.get(rejection.index).context("a rejection is of a given pool")?;
                    let place = place.of_pool(pool.name().as_str());
                    let violations = rejection.violations.as_slice().iter();
                    faults.extend(violations.map(|fault| format!("{place}: {fault}")));
                }
            }
            Err(ApplyError::Store(error)) => return Err(error.into()),
            Err(other) => return Err(other.into()),
        }
    }
    bail!("nothing was stored:\n  {}", faults.join("\n  "))
}

/// The leases of addresses that are in use without being held: this node may have had a store
/// before, or pods of another allocator.
pub(crate) fn in_use(store: &Store, sources: &Sources, wanted: &Declared) -> Result<Vec<Lease>> {
    let (pools, held) = match store.contents() {
        Ok(contents) => (contents.pools, contents.leases),
        Err(Error::Missing { .. }) => (Vec::new(), Vec::new()),
        // What is wrong is said by the attempt to apply.
        Err(_) => return Ok(Vec::new()),
    };
    let changed: Vec<Pool> =
        wanted.pools.iter().filter(|pool| !pools.contains(pool)).cloned().collect();
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let evidence = Evidence::gather(sources, &changed, &held)?;
    let is_held = |address| held.iter().any(|lease| lease.address == address);
    let leases = evidence.leases.into_values().filter(|lease| !is_held(lease.address));
    let leases: Vec<Lease> = leases.collect();
    let is_new = pools.is_empty();
    for note in evidence.notes.iter().filter(|_| is_new || !leases.is_empty()) {
        writeln!(plain::stderr(), "ipamctl: {note}")?;
    }
    if !leases.is_empty() {
        let count = leases.len();
        writeln!(
            plain::stderr(),
            "ipamctl: {count} addresses are in use on this node already: held"
        )?;
    }
    Ok(leases)
}

/// The words of `kubectl apply`.
fn done(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Updated => "configured",
        Change::Unchanged => "unchanged",
    }
}
