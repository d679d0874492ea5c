//! `ipamctl get pools`.

use std::io::Write;

use anyhow::Result;
use ipam_core::{Pool, PoolDocument};
use serde_json::{Value, json};

use crate::inventory::Inventory;
use crate::occupancy::Occupancy;
use crate::table::{Format, number, write_list, write_rows};

const HEADER: [&str; 6] =
    ["NAME", "VERSION", "SUBNET", "ALLOCATED-IP-COUNT", "TOTAL-IP-COUNT", "DEFAULT"];
const WIDE: [&str; 3] = ["DISABLE", "NODENAME", "MULTUSNAME"];

pub(crate) fn show(
    inventory: &Inventory,
    format: Option<Format>,
    out: &mut dyn Write,
) -> Result<()> {
    let Inventory { pools, reserved, leases, rests, .. } = inventory;
    // The same counts as of `show pool`.
    let counted = |pool| (pool, Occupancy::new(pool, reserved, leases, rests));
    let pools = pools.iter().map(counted);
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => {
            let items: Result<Vec<Value>> =
                pools.map(|(pool, occupancy)| document(pool, &occupancy)).collect();
            write_list(&items?, format, out)
        }
        Some(Format::Wide) => {
            let rows: Vec<Vec<String>> = pools
                .map(|(pool, occupancy)| {
                    let mut cells = row(pool, &occupancy);
                    cells.extend([
                        pool.is_disabled().to_string(),
                        listed(pool.nodes()),
                        listed(pool.networks()),
                    ]);
                    cells
                })
                .collect();
            write_rows(&[&HEADER[..], &WIDE[..]].concat(), &rows, out)
        }
        None => {
            let rows: Vec<Vec<String>> =
                pools.map(|(pool, occupancy)| row(pool, &occupancy)).collect();
            write_rows(&HEADER, &rows, out)
        }
    }
}

fn row(pool: &Pool, occupancy: &Occupancy) -> Vec<String> {
    vec![
        pool.name().to_string(),
        pool.family().version().to_string(),
        pool.subnet().to_string(),
        occupancy.held().to_string(),
        occupancy.total().to_string(),
        pool.is_default().to_string(),
    ]
}

/// The document that gives this pool, with the status that the peer's documents have.
fn document(pool: &Pool, occupancy: &Occupancy) -> Result<Value> {
    let mut value = serde_json::to_value(PoolDocument::from(pool))?;
    // A count beyond 64 bits is no number in JSON: like the peer's, it stops at the largest.
    let (held, total) = (number(occupancy.held()), number(occupancy.total()));
    value["status"] = json!({ "allocatedIPCount": held, "totalIPCount": total });
    Ok(value)
}

fn listed<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    if items.is_empty() { "<any>".into() } else { items.join(",") }
}
