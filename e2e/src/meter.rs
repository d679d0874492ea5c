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

    /// What passed each link since the start.
    ///
    /// # Errors
    ///
    /// `nft` failed.
    pub fn passed(&self) -> Result<BTreeMap<String, Passed>> {
        let list = ["nft", "--json", "list", "counters", "table", "netdev", &self.table];
        let text = self.namespace.run(list)?.success()?;
        let answer: Value = serde_json::from_str(&text).context("nft --json")?;
        let mut links = BTreeMap::<_, Passed>::new();
        for item in answer["nftables"].as_array().into_iter().flatten() {
            let counter = &item["counter"];
            let Some((link, hook)) = counter["name"].as_str().and_then(|it| it.rsplit_once('-'))
            else {
                continue;
            };
            let packets = counter["packets"].as_u64().context("a counter counts packets")?;
            let passed = links.entry(link.to_owned()).or_default();
            match hook {
                "ingress" => passed.received = packets,
                _ => passed.sent = packets,
            }
        }
        Ok(links)
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
