//! Which leases may be freed although nobody released them, and why the others stay.

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::lease::{Lease, Moment, NetnsRef};
use crate::owner::{Attachment, BootId, ContainerId, IfName, NetworkName};

/// What is known about the node. What is `None` is not known and frees nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The boot that the node is in.
    pub boot: Option<BootId>,
    /// Now.
    pub now: Moment,
    /// When the lists below were begun to be made: they say nothing about younger leases.
    pub snapshot: Moment,
    /// How old a lease must be before a dead namespace alone frees it, in seconds.
    pub grace_seconds: u64,
    /// The runtime's list, if this is its garbage collection.
    pub valid: Option<ValidAttachments>,
    /// The network namespaces that live.
    pub namespaces: Option<LiveNamespaces>,
    /// Addresses that are on an interface in some namespace. They are never freed.
    pub alive: BTreeSet<IpAddr>,
}

/// The attachments of one network that a runtime vouches for (`cni.dev/valid-attachments`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidAttachments {
    /// The network that the list is about; it says nothing about others.
    pub network: NetworkName,
    /// Its live attachments; everything else of the network is dead.
    pub attachments: BTreeSet<(ContainerId, IfName)>,
}

/// The network namespaces that live, by what a lease can remember of its own: its path and its
/// inode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveNamespaces {
    /// Their inodes.
    pub inodes: BTreeSet<u64>,
    /// Their paths, by every name that a runtime may have used.
    pub paths: BTreeSet<String>,
}

/// Why a lease may be freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyFreed {
    /// It is of an earlier boot, which no namespace survives.
    EarlierBoot,
    /// The runtime's list does not name it.
    NotListed,
    /// Its namespace is gone and the grace period over.
    NamespaceGone,
}

/// Why a lease stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhyKept {
    /// Its address is on an interface.
    Alive,
    /// It is younger than the facts.
    Younger,
    /// The runtime's list names it.
    Listed,
    /// The runtime's list is about another network.
    OtherNetwork,
    /// Its namespace lives.
    NamespaceLives,
    /// Nothing is known about its namespace.
    NamespaceUnknown,
    /// Its namespace is gone, but not for long enough.
    InGrace {
        /// For how many more seconds it stays.
        seconds: u64,
    },
}

/// Which leases may be freed, and why the others stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reclaim<'a> {
    /// May be freed.
    pub freed: Vec<(&'a Lease, WhyFreed)>,
    /// Stay.
    pub kept: Vec<(&'a Lease, WhyKept)>,
}

/// Judges every lease by the facts.
///
/// An address that is alive stays, whatever else is known: freeing it would give it to two pods. So
/// does what the runtime's list names (CNI spec 1.1, GC). A lease of an earlier boot goes. With a
/// list, what it does not name goes at once. Without one, both a dead namespace and an age past
/// the grace period are needed.
pub fn reclaim<'a>(leases: impl IntoIterator<Item = &'a Lease>, facts: &Facts) -> Reclaim<'a> {
    let mut reclaim = Reclaim { freed: Vec::new(), kept: Vec::new() };
    for lease in leases {
        match judge(lease, facts) {
            Ok(why) => reclaim.freed.push((lease, why)),
            Err(why) => reclaim.kept.push((lease, why)),
        }
    }
    reclaim
}

fn judge(lease: &Lease, facts: &Facts) -> Result<WhyFreed, WhyKept> {
    if facts.alive.contains(&lease.address) {
        return Err(WhyKept::Alive);
    }
    if facts.valid.as_ref().is_some_and(|valid| valid.names(&lease.attachment)) {
        return Err(WhyKept::Listed);
    }
    if lease.since.is_of_other_boot(facts.boot.as_ref()) {
        return Ok(WhyFreed::EarlierBoot);
    }
    if lease.since.moment >= facts.snapshot {
        return Err(WhyKept::Younger);
    }
    match &facts.valid {
        Some(valid) if valid.network == lease.attachment.network => Ok(WhyFreed::NotListed),
        Some(_) => Err(WhyKept::OtherNetwork),
        None => by_namespace(lease, facts),
    }
}

impl LiveNamespaces {
    /// Whether a namespace may be one of these.
    ///
    /// The kernel gives the inode number of a dead namespace to a new one, and a path can come to
    /// lead to another: only both together say that it may be the same. A namespace that lost its
    /// path and lives on is told by its address on an interface.
    pub fn has(&self, netns: &NetnsRef) -> bool {
        self.paths.contains(&netns.path)
            && netns.inode.is_none_or(|inode| self.inodes.contains(&inode))
    }
}

impl ValidAttachments {
    fn names(&self, attachment: &Attachment) -> bool {
        let key = (attachment.container.clone(), attachment.ifname.clone());
        attachment.network == self.network && self.attachments.contains(&key)
    }
}

fn by_namespace(lease: &Lease, facts: &Facts) -> Result<WhyFreed, WhyKept> {
    let (Some(netns), Some(live)) = (&lease.netns, &facts.namespaces) else {
        return Err(WhyKept::NamespaceUnknown);
    };
    if live.has(netns) {
        return Err(WhyKept::NamespaceLives);
    }
    let age = facts.now.seconds_since(lease.since.moment);
    match facts.grace_seconds.checked_sub(age) {
        None | Some(0) => Ok(WhyFreed::NamespaceGone),
        Some(seconds) => Err(WhyKept::InGrace { seconds }),
    }
}

impl fmt::Display for WhyFreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EarlierBoot => "it is of an earlier boot",
            Self::NotListed => "the runtime's list does not name it",
            Self::NamespaceGone => "its network namespace is gone",
        })
    }
}

impl fmt::Display for WhyKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alive => f.write_str("its address is on an interface"),
            Self::Younger => f.write_str("it is younger than what is known of the node"),
            Self::Listed => f.write_str("the runtime's list names it"),
            Self::OtherNetwork => f.write_str("the runtime's list is about another network"),
            Self::NamespaceLives => f.write_str("its network namespace lives"),
            Self::NamespaceUnknown => f.write_str("nothing is known of its network namespace"),
            Self::InGrace { seconds } => {
                write!(f, "its network namespace is gone, it stays for {seconds} s more")
            }
        }
    }
}
