//! `ipamctl apply`: documents into the store, all or none.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use ipam_core::{Change, Pool};
use ipam_store::{ApplyError, Store};

use crate::documents::Documents;

pub(crate) fn run(
    directory: &Path,
    patience: Duration,
    files: &[PathBuf],
    out: &mut dyn Write,
) -> Result<()> {
    let Documents { pools, mut faults } = Documents::read(files)?;
    if faults.is_empty() {
        let wanted: Vec<Pool> = pools.iter().map(|(_, pool)| pool.clone()).collect();
        match Store::new(directory, patience).apply(&wanted) {
            Ok(changes) => {
                for (pool, change) in wanted.iter().zip(changes) {
                    writeln!(out, "pool/{} {}", pool.name(), done(change))?;
                }
                return Ok(());
            }
            Err(ApplyError::Rejected(rejections)) => {
                for rejection in rejections {
                    let place = pools.iter().rfind(|(_, pool)| *pool.name() == rejection.pool);
                    let place = place.map(|(place, _)| format!("{place} ")).unwrap_or_default();
                    let name = rejection.pool;
                    let violations = rejection.violations.as_slice().iter();
                    faults.extend(violations.map(|fault| format!("{place}(pool {name}): {fault}")));
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
