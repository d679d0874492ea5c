//! `ipamctl apply`: documents into the store, all or none.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ipam_core::{Change, Lease};
use ipam_store::{ApplyError, Declared, Error, Store};

use crate::documents::Documents;
use crate::evidence::{Evidence, Sources};

pub(crate) fn run(
    store: &Store,
    sources: &Sources,
    files: &[PathBuf],
    out: &mut dyn Write,
) -> Result<()> {
    let Documents { pools, reserved, mut faults, warnings } = Documents::read(files)?;
    for warning in warnings {
        writeln!(io::stderr(), "ipamctl: warning: {warning}")?;
    }
    if faults.is_empty() {
        let wanted =
            Declared { pools: pools.iter().map(|(_, pool)| pool.clone()).collect(), reserved };
        match store.apply_where(&wanted, &in_use(store, sources, &wanted)?) {
            Ok(changes) => {
                let mut named = BTreeSet::new();
                for (pool, change) in wanted.pools.iter().zip(changes.pools) {
                    // A name comes again only with the same contents: there is nothing left to do.
                    let is_first = named.insert(pool.name());
                    let change = if is_first { change } else { Change::Unchanged };
                    writeln!(out, "pool/{} {}", pool.name(), done(change))?;
                }
                for (reserved, change) in wanted.reserved.iter().zip(changes.reserved) {
                    writeln!(out, "reserved/{} {}", reserved.name(), done(change))?;
                }
                return Ok(());
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

/// The leases that a new store begins with: this node may have had one before.
fn in_use(store: &Store, sources: &Sources, wanted: &Declared) -> Result<Vec<Lease>> {
    if !matches!(store.contents(), Err(Error::Missing { .. })) {
        return Ok(Vec::new());
    }
    let evidence = Evidence::gather(sources, &wanted.pools, &[])?;
    for note in evidence.notes {
        writeln!(io::stderr(), "ipamctl: {note}")?;
    }
    let leases: Vec<Lease> = evidence.leases.into_values().collect();
    if !leases.is_empty() {
        let count = leases.len();
        writeln!(io::stderr(), "ipamctl: {count} addresses are in use on this node already: held")?;
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
