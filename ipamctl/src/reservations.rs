//! `ipamctl get reserved`: what no pool hands out, and since when the cloud does not give it.

use std::io::Write;

use anyhow::Result;
use ipam_core::{Family, Reserved, ReservedDocument};
use serde_json::Value;

use crate::inventory::Inventory;
use crate::ips::age;
use crate::sync::gone_since;
use crate::table::{Format, write_list, write_rows};

const HEADER: [&str; 4] = ["NAME", "VERSION", "GONE", "IPS"];

pub(crate) fn show(
    inventory: &Inventory,
    format: Option<Format>,
    out: &mut dyn Write,
) -> Result<()> {
    let reserved = inventory.reserved.iter();
    let now = inventory.now.unix_seconds;
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => {
            let documents = reserved.map(|one| serde_json::to_value(ReservedDocument::from(one)));
            write_list(&documents.collect::<Result<Vec<Value>, _>>()?, format, out)
        }
        Some(Format::Wide) | None => {
            write_rows(&HEADER, &reserved.map(|one| row(one, now)).collect::<Vec<_>>(), out)
        }
    }
}

fn row(reserved: &Reserved, now_unix_seconds: u64) -> Vec<String> {
    let gone = gone_since(reserved).map(|since| age(since, now_unix_seconds));
    let family = reserved.ips().ranges().first().map(|range| Family::version(range.family()));
    vec![
        reserved.name().to_string(),
        family.map_or_else(|| "<none>".to_owned(), |version| version.to_string()),
        gone.unwrap_or_else(|| "<none>".to_owned()),
        reserved.ips().to_string(),
    ]
}
