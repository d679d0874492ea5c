//! The decision of an ADD upon a copy of what is stored.

use std::net::IpAddr;

use ipam_core::{Book, Demand, Lease, NotDecided, Origin, Policy, Pool, Refused, Stamp, decide};
use ipam_store::Contents;

use crate::inventory::left_of_rests;

/// An address that an ADD would get.
#[derive(Debug)]
pub(super) struct WouldGet<'a> {
    pub(super) address: IpAddr,
    pub(super) pool: &'a Pool,
    pub(super) origin: Origin,
}

/// Decides about `demand` as the store would now, but that what `without` are the leases of counts
/// as free. With the strategy `roundRobin` the pool goes on behind the youngest lease, which need
/// not be what was given last.
pub(super) fn decide_upon<'a>(
    demand: &Demand,
    pools: &'a [Pool],
    policy: &Policy,
    contents: &Contents,
    without: &[Lease],
    now: &Stamp,
) -> Result<Vec<WouldGet<'a>>, Box<Refused>> {
    let mut book = Book::new(pools);
    for resting in left_of_rests(contents, now) {
        book.rest_for(resting.address, &resting.pool, resting.rest);
    }
    let mut leases: Vec<&Lease> = contents.leases.iter().collect();
    leases.sort_by_key(|lease| lease.since.moment);
    for lease in leases.into_iter().filter(|lease| !without.contains(lease)) {
        book.hold(lease.clone());
        // The first decision of a boot ends what is of an earlier one.
        if lease.since.is_of_other_boot(now.boot.as_ref()) {
            book.end(lease.address, policy, now.moment);
        }
    }
    match decide(std::slice::from_ref(demand), pools, policy, now.moment, &book) {
        Ok(decision) => Ok(decision
            .grants
            .into_iter()
            .map(|grant| WouldGet {
                address: grant.address,
                pool: grant.pool,
                origin: grant.origin,
            })
            .collect()),
        Err(NotDecided::Refused(refused)) => Err(refused),
        Err(NotDecided::Ledger(never)) => match never {},
    }
}
