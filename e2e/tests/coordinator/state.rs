//! Everything that an ADD may touch in a namespace, to be compared before and after.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use e2e::{Namespace, Snapshot};

/// Links, addresses, routes of all tables, rules, permanent neighbours, the settings of every link
/// and the packet filter's rules.
#[derive(Clone, Debug)]
pub(crate) struct State {
    snapshot: Snapshot,
    settings: BTreeMap<String, String>,
    ruleset: String,
}

impl State {
    pub(crate) fn of(namespace: &Namespace) -> Result<Self> {
        Ok(Self {
            snapshot: namespace.snapshot()?,
            settings: settings(namespace)?,
            ruleset: namespace.run(["nft", "list", "ruleset"])?.success()?,
        })
    }

    /// What the later one has more, as `+ line`, and less, as `- line`.
    pub(crate) fn changes(&self, later: &Self) -> Vec<String> {
        let mut changes = self.snapshot.changes(&later.snapshot);
        for (less, more, sign) in
            [(&self.settings, &later.settings, '-'), (&later.settings, &self.settings, '+')]
        {
            // Of a link that came or went the snapshot tells.
            let is_there =
                |key: &str| more.keys().any(|it| Path::new(it).parent() == Path::new(key).parent());
            let differs = less.iter().filter(|(key, value)| more.get(*key) != Some(value));
            let differs = differs.filter(|(key, _)| is_there(key));
            changes.extend(differs.map(|(key, value)| format!("{sign} sysctl {key} {value}")));
        }
        if self.ruleset != later.ruleset {
            changes.push(format!("- nft {}\n+ nft {}", self.ruleset, later.ruleset));
        }
        changes
    }

    /// The snapshot's lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.snapshot.lines()
    }
}

fn settings(namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    namespace.enter(|| {
        let mut all = BTreeMap::new();
        for family in ["ipv4", "ipv6"] {
            for link in fs::read_dir(Path::new("/proc/sys/net").join(family).join("conf"))? {
                for entry in fs::read_dir(link?.path())? {
                    let path = entry?.path();
                    // Some cannot be read before they were written.
                    if let Ok(value) = fs::read_to_string(&path) {
                        all.insert(path.display().to_string(), value.trim().to_owned());
                    }
                }
            }
        }
        Ok(all)
    })
}
