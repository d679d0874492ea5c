//! What a container has: by the database, and by the kernel.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::outcome::{Outcome, feed};
use crate::runtimes::boot::Boot;

/// The leases of a node's database.
///
/// # Errors
///
/// `ipamctl` failed.
pub fn leases(boot: &Boot<'_>) -> Result<Vec<Value>> {
    let text = boot.ipamctl(&["get", "ips", "-o", "json"])?.success()?;
    let list: Value = serde_json::from_str(&text)?;
    list["items"].as_array().cloned().context("items")
}

/// The addresses that the database says an interface of a container has, sorted.
///
/// # Errors
///
/// As [`leases`].
pub fn leased(boot: &Boot<'_>, container: &str, interface: &str) -> Result<Vec<String>> {
    let leases = leases(boot)?;
    let own = |lease: &&Value| lease["containerID"] == container && lease["interface"] == interface;
    let own = leases.iter().filter(own);
    let mut own: Vec<_> = own.filter_map(|lease| Some(lease["ip"].as_str()?.to_owned())).collect();
    own.sort();
    Ok(own)
}

/// The addresses of an ipvlan interface in a network namespace, sorted; not its link-local ones.
///
/// # Errors
///
/// There is no such interface, or it is of another kind.
pub fn addresses_in(netns: &Path, interface: &str) -> Result<Vec<String>> {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.display()));
    command.args(["ip", "-j", "-d", "address", "show", "dev", interface]);
    let text = feed(&mut command, "").and_then(Outcome::success).context("ip -j address")?;
    let links: Value = serde_json::from_str(&text)?;
    ensure!(links[0]["linkinfo"]["info_kind"] == "ipvlan", "{links}");
    let addresses = links[0]["addr_info"].as_array().context("addresses")?.iter();
    let addresses = addresses.filter(|address| address["scope"] == "global");
    let mut addresses: Vec<_> =
        addresses.filter_map(|address| Some(address["local"].as_str()?.to_owned())).collect();
    addresses.sort();
    Ok(addresses)
}
