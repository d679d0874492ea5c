//! A flow's packets, counted on named links.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::namespace::Namespace;

/// Distinguishes the meters of one namespace.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Counts the packets of one flow on links of a namespace, where they enter and leave the link
/// itself (nftables' `ingress` and `egress` hooks of the netdev family): the count is there as soon
/// as the packet is. Dropping it ends it.
#[derive(Debug)]
pub struct Meter<'namespace> {
    namespace: &'namespace Namespace,
    table: String,
}

/// How many packets of the flow passed a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Into the namespace.
    pub received: u64,
    /// Out of it.
    pub sent: u64,
}

impl Passed {
    /// Whether no packet passed.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl<'namespace> Meter<'namespace> {
    /// Counts what an expression of nftables matches, such as `udp sport 53`, from when this
    /// returns.
    ///
    /// # Errors
    ///
    /// There is no such link, or `nft` refuses the expression.
    pub fn start(
        namespace: &'namespace Namespace,
        links: &[&str],
        expression: &str,
    ) -> Result<Self> {
        let table = format!("meter{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        namespace.nft(&ruleset(&table, links, expression))?;
        Ok(Self { namespace, table })
    }

    /// What passed this link since the start.
    ///
    /// # Errors
    ///
    /// It is not one of the meter's links, or `nft` failed.
    pub fn passed(&self, link: &str) -> Result<Passed> {
        let list = ["nft", "--json", "list", "counters", "table", "netdev", &self.table];
        let text = self.namespace.run(list)?.success()?;
        let answer: Value = serde_json::from_str(&text).context("nft --json")?;
        let items = answer["nftables"].as_array().into_iter().flatten();
        let counters: BTreeMap<_, _> = items
            .filter_map(|item| {
                let counter = &item["counter"];
                Some((counter["name"].as_str()?.to_owned(), counter["packets"].as_u64()?))
            })
            .collect();
        let count = |hook: &str| {
            let count = counters.get(&format!("{link}-{hook}")).copied();
            count.with_context(|| format!("{} counts nothing on {link}", self.table))
        };
        Ok(Passed { received: count("ingress")?, sent: count("egress")? })
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        let _ = self.namespace.nft(&format!("delete table netdev {}\n", self.table));
    }
}

fn ruleset(table: &str, links: &[&str], expression: &str) -> String {
    let mut text = format!("table netdev {table} {{\n");
    for (link, hook) in links.iter().flat_map(|link| ["ingress", "egress"].map(|it| (link, it))) {
        let _ = writeln!(
            text,
            "counter {link}-{hook} {{ }}\n\
             chain {link}-{hook} {{\n\
             type filter hook {hook} device \"{link}\" priority filter\n\
             {expression} counter name {link}-{hook}\n}}"
        );
    }
    text.push_str("}\n");
    text
}
