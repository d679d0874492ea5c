//! Where leases are, and by which rules addresses are given and rest.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ipam_core::{Policy, StickyNames, Strategy, WhenOnlyCooling};
use ipam_store::Store;
use serde::Deserialize;

use crate::report;

/// Where the database is unless `ipam.dataDir` says otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/cni/node-ipam";

/// Where networks with `ranges` of their own have their databases, each in a directory of its name,
/// unless `ipam.dataDir` says otherwise. Not host-local's default: what that plugin holds there is
/// taken over only if somebody says so.
pub const DEFAULT_NETWORKS_DIR: &str = "/var/lib/cni/node-ipam/networks";

/// How long the database is waited for unless `ipam.lockTimeoutMs` says otherwise. Well below the
/// minutes that a runtime gives a whole ADD.
pub const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a dead namespace's lease stays unless `ipam.graceSeconds` says otherwise, in seconds.
pub const DEFAULT_GRACE_SECONDS: u64 = 60;

/// What every verb needs: where the database is, and by which rules addresses are given and rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The database's directory: `ipam.dataDir`, and in it that of the network's name if the
    /// network has `ranges` of its own.
    pub data_dir: PathBuf,
    /// How long another process is waited for: `ipam.lockTimeoutMs`, in milliseconds.
    pub lock_timeout: Duration,
    /// `ipam.strategy`, `ipam.cooldownSeconds`, `ipam.whenOnlyCooling`, `ipam.stickyNames` and
    /// `ipam.stickySeconds`.
    pub policy: Policy,
    /// How old a lease must be before its dead namespace frees it, in seconds:
    /// `ipam.graceSeconds`.
    pub grace_seconds: u64,
    /// Whether the node is a container itself, as with kind: `ipam.nodeInContainer`. Without it
    /// nothing is freed there, since a `/proc` that is not the machine's may show a part of it.
    pub node_in_container: bool,
}

/// The fields of `ipam` that make a place.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Fields {
    #[serde(default, rename = "dataDir")]
    pub(crate) data_dir: Option<PathBuf>,
    #[serde(default, rename = "lockTimeoutMs")]
    lock_timeout_ms: Option<u64>,
    #[serde(default, rename = "graceSeconds")]
    grace_seconds: Option<u64>,
    #[serde(default, rename = "nodeInContainer")]
    node_in_container: Option<bool>,
    #[serde(default)]
    strategy: Option<StrategyName>,
    #[serde(default, rename = "cooldownSeconds")]
    cooldown_seconds: Option<u64>,
    #[serde(default, rename = "whenOnlyCooling")]
    when_only_cooling: Option<CoolingName>,
    #[serde(default, rename = "stickyNames")]
    sticky_names: Option<StickyName>,
    #[serde(default, rename = "stickySeconds")]
    sticky_seconds: Option<u64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StrategyName {
    Lowest,
    RoundRobin,
    Random,
    OldestReleased,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum CoolingName {
    TakeOldest,
    Refuse,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StickyName {
    None,
    Ordinal,
    All,
}

impl Place {
    /// Of the pools that were applied on this node.
    pub(crate) fn of_pools(fields: &Fields) -> Self {
        let absolute = fields.data_dir.clone().filter(|path| path.is_absolute());
        Self::at(absolute.unwrap_or_else(|| DEFAULT_DATA_DIR.into()), fields, Strategy::default())
    }

    /// Of a network with ranges of its own. Round robin, as host-local.
    pub(crate) fn of_ranges(fields: &Fields, network: &str) -> Self {
        let absolute = fields.data_dir.as_deref().filter(|path| path.is_absolute());
        let networks = absolute.unwrap_or(Path::new(DEFAULT_NETWORKS_DIR));
        Self::at(networks.join(network), fields, Strategy::RoundRobin)
    }

    /// Wherever a network may hold something, whatever its configuration says now.
    pub(crate) fn all(fields: &Fields, network: &str) -> [Self; 2] {
        [Self::of_ranges(fields, network), Self::of_pools(fields)]
    }

    fn at(data_dir: PathBuf, fields: &Fields, strategy: Strategy) -> Self {
        let otherwise = Policy { strategy, ..Policy::default() };
        let policy = Policy {
            strategy: fields.strategy.map_or(otherwise.strategy, |name| match name {
                StrategyName::Lowest => Strategy::Lowest,
                StrategyName::RoundRobin => Strategy::RoundRobin,
                StrategyName::Random => Strategy::Random { seed: seed() },
                StrategyName::OldestReleased => Strategy::OldestReleased,
            }),
            cooldown_seconds: fields.cooldown_seconds.unwrap_or(otherwise.cooldown_seconds),
            when_only_cooling: fields.when_only_cooling.map_or(
                otherwise.when_only_cooling,
                |name| match name {
                    CoolingName::TakeOldest => WhenOnlyCooling::TakeOldest,
                    CoolingName::Refuse => WhenOnlyCooling::Refuse,
                },
            ),
            sticky: fields.sticky_names.map_or(otherwise.sticky, |name| match name {
                StickyName::None => StickyNames::None,
                StickyName::Ordinal => StickyNames::Ordinal,
                StickyName::All => StickyNames::All,
            }),
            sticky_seconds: fields.sticky_seconds.unwrap_or(otherwise.sticky_seconds),
        };
        Self {
            data_dir,
            lock_timeout: fields
                .lock_timeout_ms
                .map_or(DEFAULT_LOCK_TIMEOUT, Duration::from_millis),
            policy,
            grace_seconds: fields.grace_seconds.unwrap_or(DEFAULT_GRACE_SECONDS),
            node_in_container: fields.node_in_container.unwrap_or_default(),
        }
    }

    /// The store there, which warns of whom it frees. Its waiting processes are served together.
    pub(crate) fn store(&self) -> Store {
        let store = Store::new(&self.data_dir, self.lock_timeout)
            .with_policy(self.policy.clone())
            .with_watcher(report::freed);
        match ipam_store::default_room() {
            Some(room) => store.with_room(room),
            None => store,
        }
    }
}

/// Another number for each process and each moment; nothing depends on who could guess it.
fn seed() -> u64 {
    let nanoseconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.subsec_nanos());
    (u64::from(std::process::id()) << 32) | u64::from(nanoseconds)
}
