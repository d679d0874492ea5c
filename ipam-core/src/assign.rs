//! The decision: candidates and what is held in, an address out. The only place that chooses one.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::addr::Family;
use crate::owner::PoolName;
use crate::pool::Pool;
use crate::range::AddressRange;
use crate::select::{Asker, NoPool, Selection};

/// What is held already, as the store sees it inside the transaction of the decision.
pub trait Occupancy {
    /// Why looking failed.
    type Error;

    /// The lowest address of `range` that nobody holds; `None` if all are held.
    ///
    /// # Errors
    ///
    /// The store's own; the decision ends with it.
    fn lowest_free(&self, range: &AddressRange) -> Result<Option<IpAddr>, Self::Error>;
}

/// One chosen address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The address; free at the time of the decision.
    pub address: IpAddr,
    /// The pool it belongs to.
    pub pool: &'a Pool,
}

impl Assignment<'_> {
    /// The address with the prefix length of the pool's subnet, as the pod's interface gets it.
    pub fn network_address(&self) -> IpNet {
        IpNet::new(self.address, self.pool.subnet().prefix_len())
            .unwrap_or_else(|_| IpNet::from(self.address))
    }
}

/// Why no address was given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// No pool may be used: correct pools or configuration.
    NoPool(NoPool),
    /// The pools that may be used hold no free address: wait for a release or enlarge one.
    Exhausted {
        /// The family that has no address left.
        family: Family,
        /// Each candidate of that family with the number of its addresses, all held.
        pools: Vec<(PoolName, u128)>,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool(reason) => reason.fmt(f),
            Self::Exhausted { family, pools } => {
                let pools: Vec<String> = pools
                    .iter()
                    .map(|(pool, total)| alloc::format!("{pool} ({total} of {total} held)"))
                    .collect();
                let pools = pools.join(", ");
                write!(
                    f,
                    "no free {family} address in pool {pools}: wait for a release or add addresses"
                )
            }
        }
    }
}

impl core::error::Error for Refused {}

/// The addresses for one attachment: for each family that has a candidate one address, from the
/// first candidate that has a free one, the lowest of it. All families or none.
///
/// # Errors
///
/// `Ok(Err(_))` is a refusal, for the user; `Err(_)` is the store's own failure.
pub fn assign<'a, O: Occupancy>(
    selection: &Selection<'a>,
    asker: &Asker,
    occupancy: &O,
) -> Result<Result<Vec<Assignment<'a>>, Refused>, O::Error> {
    let mut assignments = Vec::new();
    for family in [Family::V4, Family::V6] {
        let candidates: Vec<&'a Pool> =
            selection.candidates.iter().copied().filter(|pool| pool.family() == family).collect();
        if candidates.is_empty() {
            continue;
        }
        let Some(assignment) = first_free(&candidates, occupancy)? else {
            let pools = candidates
                .iter()
                .map(|pool| (pool.name().clone(), pool.assignable().size()))
                .collect();
            return Ok(Err(Refused::Exhausted { family, pools }));
        };
        assignments.push(assignment);
    }
    if assignments.is_empty() {
        return Ok(Err(Refused::NoPool(NoPool {
            node: asker.node.clone(),
            network: asker.network.clone(),
            refusals: selection.refusals.clone(),
        })));
    }
    Ok(Ok(assignments))
}

fn first_free<'a, O: Occupancy>(
    candidates: &[&'a Pool],
    occupancy: &O,
) -> Result<Option<Assignment<'a>>, O::Error> {
    for &pool in candidates {
        for range in pool.assignable().ranges() {
            if let Some(address) = occupancy.lowest_free(range)? {
                return Ok(Some(Assignment { address, pool }));
            }
        }
    }
    Ok(None)
}
