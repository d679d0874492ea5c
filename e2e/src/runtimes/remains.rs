//! All that pods can leave on a node, to be compared before and after.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::runtimes::boot::{Boot, wait_for};
use crate::runtimes::conflist::Conflist;
use crate::runtimes::lease::{addresses_in, leases};

/// For the kernel to take namespaces away, on a machine that is emulated and busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The links, addresses, routes and rules of a node, its packet filter's rules, its named network
/// namespaces, its leases, and what there is of ipvlan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    lines: BTreeSet<String>,
}

impl Remains {
    /// As they are now.
    ///
    /// # Errors
    ///
    /// `ip`, `nft` or `ipamctl` failed.
    pub fn of(boot: &Boot<'_>) -> Result<Self> {
        let mut lines: BTreeSet<String> =
            boot.node().snapshot()?.lines().map(str::to_owned).collect();
        let rules = boot.node().run(["nft", "--stateless", "list", "ruleset"])?.success()?;
        lines.extend(numbered("nft", rules.lines()));
        lines.extend(boot.namespaces()?.iter().map(|name| format!("namespace {name}")));
        lines.extend(leases(boot)?.iter().map(|lease| format!("lease {lease}")));
        Ok(Self { lines })
    }

    /// What the later one has more, as `+ line`, and less, as `- line`.
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let less = self.lines.difference(&later.lines).map(|line| format!("- {line}"));
        let more = later.lines.difference(&self.lines).map(|line| format!("+ {line}"));
        less.chain(more).collect()
    }

    /// # Errors
    ///
    /// Something has changed since: the error has each line of it.
    pub fn ensure_unchanged(&self, boot: &Boot<'_>) -> Result<()> {
        let changes = self.changes(&Self::of(boot)?);
        ensure!(changes.is_empty(), "{changes:?}");
        Ok(())
    }
}

/// The network namespaces that the runtime has forgotten, once it has no pods left: killed, it
/// forgets what it was making. Each of their addresses must still be leased, and each lease must be
/// of one of them, but for those of `lost_dels` pods: podman does not repeat a DEL whose plugin was
/// killed, and removes the namespace. Then removes the namespaces, as an operator does; with them and
/// a GC all must be as before.
///
/// # Errors
///
/// Something stays, an address that lives is not leased, or a lease is of nobody.
pub fn remove_forgotten(
    boot: &Boot<'_>,
    network: &Conflist,
    before: &Remains,
    lost_dels: u64,
) -> Result<Vec<String>> {
    let forgotten = boot.namespaces()?;
    let held = leases(boot)?;
    eprintln!("{} namespaces forgotten, {} leases", forgotten.len(), held.len());
    let netns = |lease: &Value| lease["netns"].as_str().unwrap_or_default().to_owned();
    let is_forgotten = |netns: &String| {
        forgotten.iter().any(|name| netns.rsplit('/').next() == Some(name.as_str()))
    };
    let dead: BTreeSet<_> = held.iter().map(netns).filter(|it| !is_forgotten(it)).collect();
    ensure!(dead.len() as u64 <= lost_dels, "leases of nobody, of {dead:?}: {held:?}");
    for name in &forgotten {
        // One that was killed before its ADD has no interface.
        let path = boot.path("/run/netns").join(name);
        for address in addresses_in(&path, "eth0").unwrap_or_default() {
            ensure!(held.iter().any(|lease| lease["ip"] == *address), "{address}: {held:?}");
        }
        boot.run(["ip", "netns", "delete", name])?.success()?;
    }
    let mut changes = Vec::new();
    wait_for("remains", PATIENCE, || {
        network.collect_garbage(boot)?;
        changes = before.changes(&Remains::of(boot)?);
        Ok(changes.is_empty().then_some(()))
    })
    .map_err(|error| error.context(changes.join("\n")))?;
    Ok(forgotten)
}

/// Lines that may be there twice, each with its number.
fn numbered<'a>(noun: &str, lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    lines.enumerate().map(|(number, line)| format!("{noun} {number:3} {line}")).collect()
}
