//! What a decision answers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::demand::Demand;
use crate::lease::{Lease, NetnsRef, Stamp};
use crate::pool::Pool;
use crate::refused::Refused;

/// What was decided. The caller writes it down, all of it in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'a> {
    /// Resting addresses whose time is over: they are free from now on.
    pub woken: Vec<IpAddr>,
    /// The addresses given, in the order of the demands.
    pub grants: Vec<Grant<'a>>,
}

/// One address given to one demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant<'a> {
    /// Which demand, counted from 0.
    pub demand: usize,
    /// The address.
    pub address: IpAddr,
    /// The pool it belongs to.
    pub pool: &'a Pool,
    /// Why this one.
    pub origin: Origin,
}

/// Why an address was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// By the strategy.
    Chosen,
    /// It was requested.
    Requested,
    /// An earlier sandbox of the same pod held it; its lease ends.
    TakenOver {
        /// The lease that ends.
        from: Box<Lease>,
    },
    /// It waited for this pod.
    Returned,
    /// It is kept for this pod.
    Pinned,
    /// It was still cooling down and nothing else was left.
    Early,
}

impl Grant<'_> {
    /// The address with the prefix length of the pool's subnet, as the pod's interface gets it.
    pub fn network_address(&self) -> IpNet {
        self.pool.network_address(self.address)
    }

    /// The lease that the grant becomes when it is written down for the demand it answers.
    pub fn lease(&self, demand: &Demand, netns: Option<&NetnsRef>, since: &Stamp) -> Lease {
        Lease {
            address: self.address,
            pool: self.pool.name().clone(),
            attachment: demand.attachment.clone(),
            pod: demand.pod.clone(),
            netns: netns.cloned(),
            since: since.clone(),
        }
    }
}

/// A decision that was not made. Nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotDecided<E> {
    /// The demands cannot be met: for the user.
    Refused(Box<Refused>),
    /// The ledger failed.
    Ledger(E),
}

impl<E: fmt::Display> fmt::Display for NotDecided<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Ledger(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for NotDecided<E> {}

impl<E> From<E> for NotDecided<E> {
    fn from(error: E) -> Self {
        Self::Ledger(error)
    }
}
