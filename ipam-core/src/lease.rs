//! An address that is held: by whom, from which pool, since when.

use alloc::string::String;
use core::net::IpAddr;

use crate::owner::{Attachment, PodRef, PoolName};

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
    /// The path of the holder's network namespace as the runtime gave it.
    pub netns: Option<String>,
    /// When the address was handed out, in seconds since the Unix epoch by the node's clock.
    /// For people: no decision is taken by it.
    pub since_unix_seconds: u64,
}
