//! Why no address was given: what a user reads when an ADD fails.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::addr::Family;
use crate::lease::Lease;
use crate::ledger::Counts;
use crate::owner::{Attachment, NetworkRef, NodeName, PoolName};
use crate::pin::Pin;
use crate::rest::Rest;
use crate::select::Refusal;

/// Why no address was given. Nothing was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// No pool may be used: correct pools or configuration.
    NoPool(NoPool),
    /// The pools that may be used have no free address: wait for a release or enlarge one.
    Exhausted {
        /// The family that has no address left.
        family: Family,
        /// Each candidate of that family.
        pools: Vec<PoolState>,
    },
    /// The attachment holds addresses already: release it first.
    AlreadyHeld {
        /// Who asked.
        attachment: Box<Attachment>,
        /// What it holds.
        leases: Vec<Lease>,
    },
    /// A requested address cannot be had.
    Request {
        /// The address.
        address: IpAddr,
        /// Why.
        reason: RequestReason,
    },
}

/// No pool may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoPool {
    /// The family that was required; `None` if any would have done.
    pub family: Option<Family>,
    /// The asking node.
    pub node: NodeName,
    /// The asking network.
    pub network: NetworkRef,
    /// Every pool with the rule that refused it.
    pub refusals: Vec<Refusal<'static>>,
}

/// A pool that has no free address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolState {
    /// Its name.
    pub pool: PoolName,
    /// How many addresses it has.
    pub total: u128,
    /// How they divide.
    pub counts: Counts,
    /// How many more are kept for pods of a name, held or not.
    pub pinned: u128,
    /// In how many seconds the next one has cooled down.
    pub next_in_seconds: Option<u64>,
}

/// Why a requested address cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestReason {
    /// No pool of those that may be used has it.
    NoPool {
        /// The pool that has it and may not be used, if there is one.
        refused: Option<Box<Refusal<'static>>>,
    },
    /// Its pool's `excludeIPs` has it.
    Excluded {
        /// The pool.
        pool: PoolName,
    },
    /// It is reserved on all nodes.
    Reserved,
    /// It is kept for a pod of another name.
    Pinned {
        /// Which.
        pin: Box<Pin>,
    },
    /// Somebody holds it.
    Held {
        /// Who.
        lease: Box<Lease>,
    },
    /// It rests.
    Resting {
        /// Why.
        rest: Rest,
        /// For how many more seconds.
        seconds: u64,
    },
    /// Another address of its family is requested too.
    SecondOfFamily,
    /// Another attachment of the same decision gets it.
    TakenBefore,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool(reason) => reason.fmt(f),
            Self::Exhausted { family, pools } => write!(
                f,
                "no free {family} address in pool {}: wait for a release or add addresses",
                joined(pools)
            ),
            Self::AlreadyHeld { attachment, leases } => {
                let held: Vec<_> = leases.iter().map(|lease| lease.address).collect();
                write!(f, "{attachment} already holds {}: release it first (DEL)", joined(&held))
            }
            Self::Request { address, reason } => {
                write!(f, "requested address {address} cannot be had: {reason}")
            }
        }
    }
}

impl fmt::Display for NoPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no ")?;
        if let Some(family) = self.family {
            write!(f, "{family} ")?;
        }
        write!(f, "pool for node {} and network {}", self.node, self.network)?;
        if self.refusals.is_empty() {
            return f.write_str(": no pool is stored, apply one");
        }
        let refusals: Vec<String> = self.refusals.iter().map(ToString::to_string).collect();
        write!(f, ": {}", refusals.join("; "))
    }
}

impl fmt::Display for PoolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, total, counts, pinned, next_in_seconds } = self;
        write!(f, "{pool} ({} of {total} held", counts.held)?;
        if counts.cooling > 0 {
            write!(f, ", {} cooling down", counts.cooling)?;
        }
        if let Some(seconds) = next_in_seconds {
            write!(f, " and the next free in {seconds} s")?;
        }
        if counts.quarantined > 0 {
            write!(f, ", {} in quarantine", counts.quarantined)?;
        }
        if counts.sticky > 0 {
            write!(f, ", {} kept for pods", counts.sticky)?;
        }
        if *pinned > 0 {
            write!(f, ", {pinned} more pinned")?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for RequestReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool { refused: None } => f.write_str("no pool has it"),
            Self::NoPool { refused: Some(refusal) } => {
                write!(f, "its pool may not be used here, {refusal}")
            }
            Self::Excluded { pool } => write!(f, "excludeIPs of pool {pool} has it"),
            Self::Reserved => f.write_str("it is reserved on all nodes"),
            Self::Pinned { pin } => write!(f, "it is pinned to pod {pin}"),
            Self::Held { lease } => match &lease.pod {
                Some(pod) => write!(f, "pod {pod} holds it ({})", lease.attachment),
                None => write!(f, "{} holds it", lease.attachment),
            },
            Self::Resting { rest, seconds } => write!(f, "{rest}, for {seconds} s more"),
            Self::SecondOfFamily => f.write_str("one address per family can be requested"),
            Self::TakenBefore => f.write_str("another interface of the same decision gets it"),
        }
    }
}

impl core::error::Error for Refused {}
impl core::error::Error for NoPool {}

fn joined<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}
