//! Whether the holders of addresses live: what the node's namespaces and interfaces say.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use cni_net::{Census, CensusOptions, OpenFiles};
use ipam_core::{Facts, Lease, LiveNamespaces};

/// For looking at every namespace of the node, which takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// How much of the node is looked at.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Node {
    /// The node is a container itself, as with kind: what its /proc shows is all of it.
    #[arg(long)]
    node_in_container: bool,
}

/// One look at the node.
pub(crate) struct Liveness {
    census: Census,
    facts: Facts,
}

/// Whether the holder of an address lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// Its namespace lives, or its address is on an interface.
    Alive,
    /// Its namespace is gone, or it is of an earlier boot, and its address is nowhere.
    Gone,
    /// Nobody said which namespace it has, and its address is nowhere.
    Unknown,
}

/// Where an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    /// The interface.
    pub(crate) ifname: String,
    /// Its namespace, by a path if it has one; `None` is the node's own.
    pub(crate) netns: Option<String>,
}

impl Liveness {
    /// Looks at all of the node as the plugins do. `grace_seconds` is how old a lease must be
    /// before its dead namespace frees it.
    pub(crate) fn look(node: Node, grace_seconds: u64) -> Result<Self> {
        let before = ipam_store::now();
        let census = Census::take(&CensusOptions {
            // What only an open file keeps is no pod's: runtimes keep theirs otherwise.
            open_files: OpenFiles::Skip,
            node_in_container: node.node_in_container,
            ..CensusOptions::within(DEADLINE)
        });
        let facts = match census.whole() {
            Ok(whole) => cni_ipam::facts_of(whole, before, grace_seconds),
            Err(incomplete) => bail!("not all of the node can be seen: {incomplete}"),
        };
        Ok(Self { census, facts })
    }

    /// By which [`ipam_core::reclaim`] judges.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) fn of(&self, lease: &Lease) -> Life {
        if self.facts.alive.contains(&lease.address) {
            return Life::Alive;
        }
        if lease.since.is_of_other_boot(self.facts.boot.as_ref()) {
            return Life::Gone;
        }
        match (&lease.netns, &self.facts.namespaces) {
            (Some(netns), Some(live)) if LiveNamespaces::has(live, netns) => Life::Alive,
            (Some(_), Some(_)) => Life::Gone,
            _ => Life::Unknown,
        }
    }

    /// The first interface that has the address.
    pub(crate) fn spot(&self, address: IpAddr) -> Option<Spot> {
        self.census.namespaces().iter().find_map(|netns| {
            let interfaces = netns.interfaces.iter().flatten();
            let has = |net: &ipnet::IpNet| net.addr() == address;
            let interface = interfaces.into_iter().find(|it| it.addresses.iter().any(has))?;
            let mount = netns.mounts.first().map(|path| path.display().to_string());
            let process = || netns.processes.first().map(|pid| format!("/proc/{pid}/ns/net"));
            let path = mount.or_else(process);
            let unnamed = || format!("net:[{}]", netns.id.ino);
            Some(Spot {
                ifname: interface.link.name.clone(),
                netns: (!netns.own).then(|| path.unwrap_or_else(unnamed)),
            })
        })
    }
}

impl Life {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }
}
