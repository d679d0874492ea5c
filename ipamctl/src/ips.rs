//! `ipamctl get ips`: who holds what.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ipam_core::Lease;
use serde_json::{Value, json};

use crate::inventory::Inventory;
use crate::table::{Format, write_list, write_rows};

const HEADER: [&str; 7] = ["IP", "POOL", "NAMESPACE", "POD", "NETWORK", "INTERFACE", "AGE"];
const WIDE: [&str; 3] = ["CONTAINER", "POD-UID", "NETNS"];

pub(crate) fn show(
    inventory: &Inventory,
    format: Option<Format>,
    out: &mut dyn Write,
) -> Result<()> {
    let leases = inventory.leases.iter();
    match format {
        Some(format @ (Format::Json | Format::Yaml)) => {
            write_list(&leases.map(object).collect::<Vec<_>>(), format, out)
        }
        Some(Format::Wide) => {
            let rows: Vec<Vec<String>> = leases
                .map(|lease| {
                    let uid = lease.pod.as_ref().and_then(|pod| pod.uid.clone());
                    let mut cells = row(lease);
                    cells.extend([
                        lease.attachment.container.to_string(),
                        or_none(uid),
                        or_none(lease.netns.as_ref().map(|netns| netns.path.clone())),
                    ]);
                    cells
                })
                .collect();
            write_rows(&[&HEADER[..], &WIDE[..]].concat(), &rows, out)
        }
        None => write_rows(&HEADER, &leases.map(row).collect::<Vec<_>>(), out),
    }
}

fn row(lease: &Lease) -> Vec<String> {
    let (namespace, name) = match &lease.pod {
        Some(pod) => (Some(pod.namespace.clone()), Some(pod.name.clone())),
        None => (None, None),
    };
    vec![
        lease.address.to_string(),
        lease.pool.to_string(),
        or_none(namespace),
        or_none(name),
        lease.attachment.network.to_string(),
        lease.attachment.ifname.to_string(),
        age(lease.since.unix_seconds, now_unix_seconds()),
    ]
}

fn object(lease: &Lease) -> Value {
    json!({
        "ip": lease.address,
        "pool": lease.pool.as_str(),
        "network": lease.attachment.network.as_str(),
        "containerID": lease.attachment.container.as_str(),
        "interface": lease.attachment.ifname.as_str(),
        "podNamespace": lease.pod.as_ref().map(|pod| &pod.namespace),
        "podName": lease.pod.as_ref().map(|pod| &pod.name),
        "podUID": lease.pod.as_ref().and_then(|pod| pod.uid.as_ref()),
        "netns": lease.netns.as_ref().map(|netns| &netns.path),
        "sinceUnixSeconds": lease.since.unix_seconds,
    })
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "<none>".into())
}

pub(crate) fn now_unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The largest whole unit, as `kubectl` shows an age.
pub(crate) fn age(since: u64, now: u64) -> String {
    let seconds = now.saturating_sub(since);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn an_age_is_one_number_and_one_unit() {
        let ages = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(|now| age(0, now));
        assert_eq!(ages, ["0s", "119s", "2m", "119m", "2h", "47h", "2d"]);
        assert_eq!(age(100, 50), "0s", "a clock that was set back");
    }
}
