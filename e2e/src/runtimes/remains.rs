//! All that pods can leave on a node, to be compared before and after.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::runtimes::boot::Boot;
use crate::runtimes::lease::leases;

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
}

/// Lines that may be there twice, each with its number.
fn numbered<'a>(noun: &str, lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    lines.enumerate().map(|(number, line)| format!("{noun} {number:3} {line}")).collect()
}
