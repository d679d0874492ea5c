//! An address that is held: by whom, from which pool, since when.

use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

use crate::owner::{Attachment, BootId, PodRef, PoolName};

/// One held address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address; held by this lease only.
    pub address: IpAddr,
    /// The pool it came from.
    pub pool: PoolName,
    /// The holder.
    pub attachment: Attachment,
    /// The pod behind the holder, where the runtime told.
    pub pod: Option<PodRef>,
    /// The holder's network namespace, where the runtime told.
    pub netns: Option<NetnsRef>,
    /// When the address was handed out.
    pub since: Stamp,
}

/// A network namespace, as far as it can be recognised later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetnsRef {
    /// The path that the runtime gave.
    pub path: String,
    /// The inode of the namespace (`stat` of the path, or `/proc/PID/ns/net`), where it was read.
    pub inode: Option<u64>,
}

/// When something happened, by the node's clocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    /// The boot that `moment` counts in, where it is known.
    pub boot: Option<BootId>,
    /// On the clock that decisions use.
    pub moment: Moment,
    /// In seconds since the Unix epoch. For people: that clock can jump.
    pub unix_seconds: u64,
}

impl Stamp {
    /// Whether it is of another boot of the node than `boot`. An unknown boot is no other one.
    pub fn is_of_other_boot(&self, boot: Option<&BootId>) -> bool {
        self.boot.as_ref().zip(boot).is_some_and(|(own, other)| own != other)
    }
}

/// A point in time in whole seconds on a clock that never goes back while the node is up
/// (`CLOCK_BOOTTIME`). Only moments of one boot can be compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// So many seconds later.
    #[must_use]
    pub fn after(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The seconds from `earlier` to this moment; 0 if that is later.
    pub fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.0)
    }
}
