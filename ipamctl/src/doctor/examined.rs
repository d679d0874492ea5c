//! Everything that was looked at on a node, as it was found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipam_core::{NetworkRef, Pool};

/// What was found. Nothing in it is judged yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Examined {
    /// `uname -r`; `None` if it could not be read.
    pub(super) kernel: Option<String>,
    /// By the name of its module: whether the kernel has it.
    pub(super) modules: BTreeMap<&'static str, Presence>,
    /// By key with slashes; `None` if there is none.
    pub(super) sysctls: BTreeMap<&'static str, Option<String>>,
    /// systemd-networkd, if it runs.
    pub(super) networkd: Option<Networkd>,
    /// `.link` files that give NICs another MAC than theirs.
    pub(super) random_mac_files: Vec<PathBuf>,
    /// `NetworkManager`, if it runs: whether it leaves veths alone.
    pub(super) network_manager_spares_veths: Option<bool>,
    /// The version of this program.
    pub(super) own_version: &'static str,
    /// By name, the first of each in the directories.
    pub(super) plugins: BTreeMap<&'static str, Option<Program>>,
    /// Directories and files of ours that are there.
    pub(super) places: Vec<Place>,
    /// Configurations that use our plugins, in the order of their files.
    pub(super) configurations: Vec<Configuration>,
    /// Files that are no configuration, each with the reason.
    pub(super) broken_files: Vec<(PathBuf, String)>,
    /// The links of the node.
    pub(super) nics: Vec<Nic>,
    /// This node as pools name it.
    pub(super) node: Option<String>,
    /// The database, or why it cannot be used.
    pub(super) database: Option<Result<Database, NoDatabase>>,
    /// How many leases have a namespace that is gone; `None` if that was not looked at.
    pub(super) dead_leases: Option<Result<usize, String>>,
    /// Whether the boot's id can be read.
    pub(super) has_boot_id: bool,
    /// By the wall clock.
    pub(super) unix_seconds: u64,
    /// Whether there is a place in memory for waiting processes; `None` if not looked at.
    pub(super) has_room: Option<bool>,
}

/// Whether a kernel has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Built in, or loaded.
    There,
    /// A module that will be loaded when it is needed.
    Loadable,
    /// Not at all.
    Missing,
    /// Nothing on the node tells.
    Unknown,
}

/// systemd-networkd's settings; both are `yes` unless stated (networkd.conf(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Networkd {
    pub(super) manages_routes: bool,
    pub(super) manages_rules: bool,
}

/// A plugin in a directory of `CNI_PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// The program's version, empty if it says none; or why it does not answer.
    pub(super) answer: Result<String, String>,
}

/// A file or directory that only root should get at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// The permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) is_link: bool,
    pub(super) is_directory: bool,
}

/// One use of our plugins in a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Configuration {
    pub(super) file: PathBuf,
    /// `name`.
    pub(super) name: String,
    /// `type` of the plugin that makes the interface.
    pub(super) plugin: String,
    /// As pools name it; `None` if its addresses are not from pools.
    pub(super) network: Option<NetworkRef>,
    /// `master`, names and MACs; empty without.
    pub(super) masters: Vec<String>,
    pub(super) mode: String,
    pub(super) mtu: u32,
    /// Whether `cni-coordinator` stands behind it.
    pub(super) coordinated: bool,
    /// Paths of keys that none of our plugins knows.
    pub(super) unknown_keys: Vec<String>,
    /// `log.file`.
    pub(super) log_file: Option<PathBuf>,
}

/// A link of the node, as /sys/class/net has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nic {
    pub(super) name: String,
    pub(super) mac: String,
    pub(super) up: bool,
    pub(super) mtu: u32,
    /// The bridge or bond that it is a port of.
    pub(super) port_of: Option<String>,
}

/// A database that can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Database {
    pub(super) pools: Vec<PoolFound>,
    /// What `ipamctl verify` says.
    pub(super) faults: Vec<String>,
    pub(super) revision: u64,
    pub(super) leases: usize,
    /// Fenced addresses that somebody holds.
    pub(super) held_fences: usize,
}

/// A pool, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PoolFound {
    pub(super) pool: Pool,
    pub(super) size: u128,
    pub(super) taken: u64,
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoDatabase {
    /// Nothing was ever applied.
    NeverMade(String),
    /// Somebody else has it.
    Busy(String),
    /// It cannot be used.
    Unusable(String),
}
