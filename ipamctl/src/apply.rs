//! `ipamctl apply`: documents into the store, all or none.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ipam_core::Change;
use ipam_store::{ApplyError, Declared, Store};

use crate::documents::Documents;

pub(crate) fn run(
    directory: &Path,
    patience: Duration,
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
        match Store::new(directory, patience).apply(&wanted) {
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

/// The words of `kubectl apply`.
fn done(change: Change) -> &'static str {
    match change {
        Change::Created => "created",
        Change::Updated => "configured",
        Change::Unchanged => "unchanged",
    }
}
