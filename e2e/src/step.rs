//! A step of setting a namespace up: planned as text, then done.

use std::path::Path;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// One step; each but the sysctls is one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Writes a value into a file below `/proc/sys/net`.
    Sysctl(String, String),
    /// As `Sysctl`, where a kernel may lack the file: what it would switch is then not there.
    SysctlIfPresent(String, String),
    /// Lines for `ip -batch`.
    Ip(Vec<String>),
    /// Lines for `ip -6 -batch`.
    Ip6(Vec<String>),
    /// Lines for `bridge -batch`.
    Bridge(Vec<String>),
    /// A ruleset for `nft -f`.
    Nft(String),
}

impl Step {
    pub(crate) fn sysctl(path: impl Into<String>, value: impl Into<String>) -> Self {
        Self::Sysctl(path.into(), value.into())
    }

    /// Switches off `rp_filter`, which a namespace inherits from the host, for the interfaces
    /// that are there and for those to come.
    pub(crate) fn no_rp_filter<'a>(interfaces: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        ["all", "default"]
            .into_iter()
            .chain(interfaces)
            .map(|name| Self::sysctl(format!("ipv4/conf/{name}/rp_filter"), "0"))
            .collect()
    }

    /// Keeps IPv6 away from the interfaces to come, so that they send nothing by themselves.
    pub(crate) fn no_ipv6() -> Self {
        Self::SysctlIfPresent("ipv6/conf/default/disable_ipv6".to_owned(), "1".to_owned())
    }

    fn perform(&self, namespace: &Namespace) -> Result<()> {
        match self {
            Self::Sysctl(path, value) => namespace.sysctl(path, value),
            Self::SysctlIfPresent(path, value) => {
                let path_in = Path::new("/proc/sys/net").join(path);
                let present = namespace.enter(|| Ok(path_in.exists()))?;
                if present { namespace.sysctl(path, value) } else { Ok(()) }
            }
            Self::Ip(lines) => namespace.ip(&lines.join("\n")),
            Self::Ip6(lines) => namespace.ip6(&lines.join("\n")),
            Self::Bridge(lines) => namespace.bridge(&lines.join("\n")),
            Self::Nft(ruleset) => namespace.nft(ruleset).with_context(|| ruleset.clone()),
        }
    }
}

/// Does the steps in their order, up to the first that fails.
pub(crate) fn perform(namespace: &Namespace, steps: &[Step]) -> Result<()> {
    steps
        .iter()
        .try_for_each(|step| step.perform(namespace))
        .with_context(|| format!("set up namespace {}", namespace.name()))
}
