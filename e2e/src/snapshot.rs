//! A snapshot of what is configured in a namespace, to be compared with a later one.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Deserializer, Map, Value};

use crate::namespace::Namespace;

/// The links, addresses, routes of all tables, rules and permanent neighbours of a namespace,
/// one sorted line each.
///
/// Left out is what comes and goes by itself: learnt neighbours, carrier, and IPv6's link-local
/// and multicast entries, which appear some seconds after a link is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    lines: BTreeSet<String>,
}

/// One JSON array of `ip -batch` each, in this order.
const COMMANDS: &str = "address show\nroute show table all\nrule show\nneigh show nud permanent\n";

impl Snapshot {
    /// What the later one has more, as `+ line`, and less, as `- line`; nothing if they are
    /// equal.
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let less = self.lines.difference(&later.lines).map(|line| format!("- {line}"));
        let more = later.lines.difference(&self.lines).map(|line| format!("+ {line}"));
        less.chain(more).collect()
    }

    /// The lines, sorted: `link …`, `address …`, `route …`, `rule …`, `neighbour …`.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    pub(crate) fn of(namespace: &Namespace) -> Result<Self> {
        let show = |arguments: &[&str], commands: &str| {
            namespace.feed(Command::new("ip").args(arguments), commands)?.success()
        };
        let both = show(&["-json", "-details", "-batch", "-"], COMMANDS)?;
        let rules_v6 = show(&["-json", "-details", "-6", "-batch", "-"], "rule show\n")?;
        Self::parse(&both, &rules_v6).with_context(|| format!("ip -json said {both}{rules_v6}"))
    }

    fn parse(both: &str, rules_v6: &str) -> Result<Self> {
        let mut arrays = Deserializer::from_str(both).into_iter::<Vec<Map<String, Value>>>();
        let mut next = || arrays.next().context("an array is missing")?.context("not an array");
        let mut lines = BTreeSet::new();
        for link in next()? {
            lines.insert(link_line(&link));
            for address in link.get("addr_info").and_then(Value::as_array).into_iter().flatten() {
                let address = address.as_object().context("an address is no object")?;
                lines.insert(format!(
                    "address {}/{} dev {} scope {}",
                    word(address, "local"),
                    word(address, "prefixlen"),
                    word(&link, "ifname"),
                    word(address, "scope"),
                ));
            }
        }
        lines.extend(next()?.iter().map(|route| object_line("route", route)));
        lines.extend(next()?.iter().map(|rule| object_line("rule", rule)));
        lines.extend(next()?.iter().map(|neighbour| object_line("neighbour", neighbour)));
        for rules in Deserializer::from_str(rules_v6).into_iter::<Vec<Map<String, Value>>>() {
            lines.extend(rules?.iter().map(|rule| object_line("rule -6", rule)));
        }
        lines.retain(|line| !(line.contains(" fe80:") || line.contains(" ff0")));
        Ok(Self { lines })
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn link_line(link: &Map<String, Value>) -> String {
    let kind = link.get("linkinfo").and_then(|info| info.get("info_kind"));
    let flags = link.get("flags").and_then(Value::as_array);
    let up = flags.is_some_and(|flags| flags.iter().any(|flag| flag == "UP"));
    format!(
        "link {} {} {} mtu {} {}",
        word(link, "ifname"),
        kind.and_then(Value::as_str).unwrap_or(&word(link, "link_type")),
        word(link, "address"),
        word(link, "mtu"),
        if up { "up" } else { "down" },
    )
}

/// Every single value of an object, by the order of the names; lists are flags that come and go,
/// but for the hops of a route.
fn object_line(noun: &str, object: &Map<String, Value>) -> String {
    let mut line = noun.to_owned();
    for (name, value) in object {
        match value {
            Value::Array(_) if name != "nexthops" => {}
            _ => {
                let _ = write!(line, " {name} {}", word(object, name));
            }
        }
    }
    line
}

fn word(object: &Map<String, Value>, name: &str) -> String {
    match object.get(name) {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_snapshots_differ_by_lines() {
        let link = r#"[{"ifname":"eth0","flags":["UP"],"mtu":1500,"address":"00:16:3e:00:00:01",
            "link_type":"ether","linkinfo":{"info_kind":"veth"},"addr_info":[
            {"local":"192.0.2.1","prefixlen":24,"scope":"global"},
            {"local":"fe80::1","prefixlen":64,"scope":"link"}]}]"#;
        let routes = r#"[{"type":"unicast","dst":"default","gateway":"192.0.2.254","dev":"eth0",
            "table":"main","flags":["linkdown"]},{"dst":"fe80::/64","dev":"eth0"}]"#;
        let rest = r#"[{"priority":0,"src":"all","table":"local"}] []"#;
        let before = Snapshot::parse(&format!("{link}[]{rest}"), "[]").unwrap();
        let after = Snapshot::parse(&format!("{link}{routes}{rest}"), "[]").unwrap();
        let route = "route dev eth0 dst default gateway 192.0.2.254 table main type unicast";
        assert_eq!(before.changes(&after), [format!("+ {route}")]);
        assert_eq!(after.changes(&before), [format!("- {route}")]);
        let lines: Vec<_> = before.lines().collect();
        assert_eq!(
            lines,
            [
                "address 192.0.2.1/24 dev eth0 scope global",
                "link eth0 veth 00:16:3e:00:00:01 mtu 1500 up",
                "rule priority 0 src all table local",
            ]
        );
        assert!(Snapshot::parse("[]", "[]").is_err());
    }
}
