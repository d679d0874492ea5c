//! What is free, held and resting: the questions that a decision asks.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::lease::{Lease, Moment};
use crate::owner::{Attachment, IfName, NetworkName};
use crate::pool::Pool;
use crate::rest::{Rest, RestKind};
use crate::sticky::StickyKey;

/// The state of the addresses of all pools, as a store sees it inside the transaction of a
/// decision.
///
/// An address of a pool is held, or it rests, or it is free. One whose rest is over still counts
/// as resting until the ledger is told otherwise, which a decision does ([`Decision::woken`]).
/// Answer in at most logarithmic time: a decision asks a constant number of questions per
/// candidate pool. Only the first two methods are needed; without the others nothing rests, waits
/// for a pod or is taken over.
///
/// [`Decision::woken`]: crate::Decision::woken
pub trait Ledger {
    /// Why looking failed. A decision ends with it.
    type Error;

    /// The lowest free address of `pool` that is not below `from`. Only addresses of
    /// [`Pool::assignable`] count.
    ///
    /// # Errors
    ///
    /// The ledger's own, here and below.
    fn first_free(&self, pool: &Pool, from: IpAddr) -> Result<Option<IpAddr>, Self::Error>;

    /// Who holds the address.
    ///
    /// # Errors
    ///
    /// The ledger's own.
    fn lease(&self, address: IpAddr) -> Result<Option<Lease>, Self::Error>;

    /// What an attachment holds, in the order of addresses.
    ///
    /// # Errors
    ///
    /// The ledger's own.
    fn held_by(&self, attachment: &Attachment) -> Result<Vec<Lease>, Self::Error> {
        let _ = attachment;
        Ok(Vec::new())
    }

    /// What the sandboxes of a pod hold on an interface in a network, in the order of addresses.
    ///
    /// # Errors
    ///
    /// The ledger's own.
    fn held_by_pod(
        &self,
        uid: &str,
        network: &NetworkName,
        ifname: &IfName,
    ) -> Result<Vec<Lease>, Self::Error> {
        let _ = (uid, network, ifname);
        Ok(Vec::new())
    }

    /// Why the address rests.
    ///
    /// # Errors
    ///
    /// The ledger's own.
    fn rest(&self, address: IpAddr) -> Result<Option<Rest>, Self::Error> {
        let _ = address;
        Ok(None)
    }

    /// The resting address of `pool` that follows `after` in the order of [`Rest::until`] and,
    /// where that is equal, of addresses; the first if `after` is `None`. Only rests of this kind.
    ///
    /// # Errors
    ///
    /// The ledger's own.
    fn next_resting(
        &self,
        pool: &Pool,
        kind: RestKind,
        after: Option<(Moment, IpAddr)>,
    ) -> Result<Option<(IpAddr, Rest)>, Self::Error> {
        let _ = (pool, kind, after);
        Ok(None)
    }

    /// The addresses that wait for a pod, in their order.
    ///
    /// # Errors
    ///
    /// The ledger's own.
    fn waiting_for(&self, key: &StickyKey) -> Result<Vec<IpAddr>, Self::Error> {
        let _ = key;
        Ok(Vec::new())
    }

    /// The address that was given last from `pool`.
    ///
    /// # Errors
    ///
    /// The ledger's own.
    fn last_given(&self, pool: &Pool) -> Result<Option<IpAddr>, Self::Error> {
        let _ = pool;
        Ok(None)
    }

    /// How the addresses of `pool` divide. Asked for an error's text only.
    ///
    /// # Errors
    ///
    /// The ledger's own.
    fn counts(&self, pool: &Pool) -> Result<Counts, Self::Error>;
}

/// How the addresses of a pool divide. What is in none of these is free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Held by an attachment.
    pub held: u64,
    /// Released a short while ago.
    pub cooling: u64,
    /// Used by somebody outside.
    pub quarantined: u64,
    /// Kept for a pod.
    pub sticky: u64,
}
