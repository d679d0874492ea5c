//! A rule of the protocol, as data, and the probe that finds out whether a plugin keeps it.

use anyhow::Result;

use super::case::Case;
use super::verdict::Verdict;

/// The part that a plugin plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It makes interfaces, and asks an IPAM plugin for addresses.
    Main,
    /// It gives addresses.
    Ipam,
}

impl Role {
    /// As the table names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Ipam => "IPAM",
        }
    }
}

/// A function that finds out, with its name.
#[derive(Clone, Copy)]
pub(super) struct Probe {
    pub(super) name: &'static str,
    pub(super) run: fn(&Case<'_>) -> Result<Verdict>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A probe by the name of its function.
macro_rules! probe {
    ($name:ident) => {
        $crate::conformance::rule::Probe { name: stringify!($name), run: $name }
    };
}
pub(super) use probe;

/// One rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Unique and lasting: `ENV-3`.
    pub id: &'static str,
    /// The rule in our words.
    pub says: &'static str,
    /// Where it is from: a section of the specification; `skel`, `libcni` or `types`, the code that
    /// all Go plugins share, where the specification is silent; or `ours`.
    pub source: &'static str,
    /// Whom it is about.
    pub roles: &'static [Role],
    /// The oldest CNI version that has it.
    pub since: &'static str,
    /// `None` if it cannot be provoked from outside.
    pub(super) probe: Option<Probe>,
    /// Further tests of this repository, where the depth is.
    pub also: &'static [&'static str],
}

/// Rules about one thing.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// In the order of the table.
    pub rules: &'static [Rule],
}

impl Rule {
    const fn new(
        roles: &'static [Role],
        id: &'static str,
        source: &'static str,
        says: &'static str,
        probe: Option<Probe>,
    ) -> Self {
        Self { id, says, source, roles, since: "0.1.0", probe, also: &[] }
    }

    /// A rule for every plugin.
    pub(super) const fn any(
        id: &'static str,
        source: &'static str,
        says: &'static str,
        probe: Probe,
    ) -> Self {
        Self::new(&[Role::Main, Role::Ipam], id, source, says, Some(probe))
    }

    /// A rule for plugins that make interfaces.
    pub(super) const fn main(
        id: &'static str,
        source: &'static str,
        says: &'static str,
        probe: Probe,
    ) -> Self {
        Self::new(&[Role::Main], id, source, says, Some(probe))
    }

    /// A rule for plugins that give addresses.
    pub(super) const fn ipam(
        id: &'static str,
        source: &'static str,
        says: &'static str,
        probe: Probe,
    ) -> Self {
        Self::new(&[Role::Ipam], id, source, says, Some(probe))
    }

    /// A rule that cannot be provoked from outside.
    pub(super) const fn inside(
        id: &'static str,
        source: &'static str,
        says: &'static str,
        also: &'static [&'static str],
    ) -> Self {
        Self { also, ..Self::new(&[Role::Main, Role::Ipam], id, source, says, None) }
    }

    pub(super) const fn since(self, since: &'static str) -> Self {
        Self { since, ..self }
    }

    pub(super) const fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    /// The name of the function in `e2e/src/conformance/rules`; `None` as for the probe.
    pub fn probe_name(&self) -> Option<&'static str> {
        self.probe.map(|probe| probe.name)
    }
}
