//! Everything that follows from pools, leases and rests: made anew, or compared with what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipam_core::{Lease, Pool, PoolName, RangeSet, Rest, RestReason};
use redb::{ReadableTable, Table};

use crate::codec;
use crate::fault::Outcome;
use crate::register::{Bytes, Register, disagreement, pod_of, queue_entry};
use crate::rows;
use crate::schema::{address_key, attachment_key, waiting_key, with_address};
use crate::tally::{Tally, resting};

/// The indexes as they have to be.
pub(crate) struct Indexes {
    holdings: BTreeSet<Vec<u8>>,
    pods: BTreeSet<Vec<u8>>,
    queues: BTreeSet<Vec<u8>>,
    waiting: BTreeSet<Vec<u8>>,
    free: BTreeMap<PoolName, RangeSet>,
    tallies: BTreeMap<PoolName, Tally>,
}

impl Indexes {
    fn of(pools: &[Pool], leases: &[Lease], rests: &[(IpAddr, PoolName, Rest)]) -> Self {
        let mut tallies: BTreeMap<PoolName, Tally> =
            pools.iter().map(|pool| (pool.name().clone(), Tally::default())).collect();
        let mut indexes = Self {
            holdings: BTreeSet::new(),
            pods: BTreeSet::new(),
            queues: BTreeSet::new(),
            waiting: BTreeSet::new(),
            free: BTreeMap::new(),
            tallies: BTreeMap::new(),
        };
        for lease in leases {
            let key = attachment_key(&lease.attachment);
            indexes.holdings.insert(with_address(key, lease.address));
            indexes.pods.extend(pod_of(lease).map(|pod| with_address(pod, lease.address)));
            tallies.entry(lease.pool.clone()).or_default().counts.held += 1;
        }
        for (address, pool, rest) in rests {
            indexes.queues.insert(queue_entry(pool, rest, *address));
            if let RestReason::Sticky { key } = &rest.reason {
                indexes.waiting.insert(with_address(waiting_key(key), *address));
            }
            *resting(&mut tallies.entry(pool.clone()).or_default().counts, rest.kind()) += 1;
        }
        let taken: RangeSet = leases
            .iter()
            .map(|lease| lease.address)
            .chain(rests.iter().map(|(address, ..)| *address))
            .collect();
        indexes.free = pools
            .iter()
            .map(|pool| (pool.name().clone(), pool.assignable().difference(&taken)))
            .collect();
        indexes.tallies = tallies;
        indexes
    }
}

impl Register<'_> {
    /// Makes all indexes anew, and gives each rest to the pool that claims its address now: another
    /// pool could not give it back.
    pub(crate) fn reindex(&mut self) -> Outcome<()> {
        self.decoded.take();
        let pools = self.pools()?;
        let (leases, mut rests) = (self.leases()?, rows::rests(&self.rests)?);
        for (address, owner, rest) in &mut rests {
            let claiming = pools.iter().find(|pool| pool.claims(*address));
            if let Some(pool) = claiming.filter(|pool| pool.name() != owner) {
                *owner = pool.name().clone();
                let record = codec::encode_rest(owner, rest);
                self.rests.insert(address_key(*address), record.as_slice())?;
            }
        }
        let mut expected = Indexes::of(&pools, &leases, &rests);
        for (name, tally) in &mut expected.tallies {
            // Damaged counters are what this may be called for.
            let stored = rows::tally(&self.tallies, name).unwrap_or_default();
            tally.last_given = stored.last_given;
        }
        refill(&mut self.holdings, &expected.holdings)?;
        refill(&mut self.pods, &expected.pods)?;
        refill(&mut self.queues, &expected.queues)?;
        refill(&mut self.waiting, &expected.waiting)?;
        self.free.clear()?;
        for (pool, free) in &expected.free {
            self.free.fill(pool, free)?;
        }
        self.tallies.retain(|_, _| false)?;
        for (pool, tally) in &expected.tallies {
            self.tallies.insert(pool.as_str(), codec::encode_tally(tally).as_slice())?;
        }
        Ok(())
    }

    /// What is wrong with the indexes, one line each; empty if nothing is.
    ///
    /// A lease or rest that a walk through its table comes by and a search for it does not is an
    /// error, since no index can be made from that: the pages above it were damaged, and written
    /// anew with the damage and a right checksum.
    pub(crate) fn check_indexes(&self) -> Outcome<Vec<String>> {
        let pools = self.pools()?;
        let (leases, rests) = (self.leases()?, rows::rests(&self.rests)?);
        for lease in &leases {
            if rows::lease(&self.leases, lease.address)?.as_ref() != Some(lease) {
                return Err(disagreement(lease.address, "is held, and a search does not find it"));
            }
        }
        for (address, ..) in &rests {
            if rows::rest(&self.rests, *address)?.is_none() {
                return Err(disagreement(*address, "rests, and a search does not find it"));
            }
        }
        let expected = Indexes::of(&pools, &leases, &rests);
        let mut faults = Vec::new();
        for (table, name, expected) in [
            (&self.holdings, "holdings", &expected.holdings),
            (&self.pods, "pods", &expected.pods),
            (&self.queues, "queues", &expected.queues),
            (&self.waiting, "waiting", &expected.waiting),
        ] {
            let found = keys(table)?;
            let lost = lost(table, &found)?;
            if lost > 0 {
                faults.push(format!("table {name}: a search does not find {lost} entries"));
            }
            let (more, fewer) =
                (found.difference(expected).count(), expected.difference(&found).count());
            if more + fewer > 0 {
                faults.push(format!("table {name}: {more} entries too many, {fewer} missing"));
            }
        }
        for (pool, free) in &expected.free {
            if !self.free.equal(pool, free)? {
                faults
                    .push(format!("table free: the free addresses of pool {pool} are not {free}"));
            }
            for run in free.ranges() {
                if !self.free.contains(pool, run.first())? {
                    faults.push(format!("table free: a search does not find {run} of pool {pool}"));
                }
            }
        }
        for (pool, tally) in &expected.tallies {
            match rows::tally(&self.tallies, pool) {
                Ok(stored) if stored.counts == tally.counts => {}
                Ok(stored) => faults.push(format!(
                    "table tallies: pool {pool} counts {:?}, there are {:?}",
                    stored.counts, tally.counts
                )),
                Err(fault) => faults.push(format!("table tallies: {fault:?}")),
            }
        }
        Ok(faults)
    }
}

fn keys(table: &Table<'_, Bytes, ()>) -> Outcome<BTreeSet<Vec<u8>>> {
    let mut keys = BTreeSet::new();
    for row in table.iter()? {
        keys.insert(row?.0.value().to_vec());
    }
    Ok(keys)
}

/// How many of the keys a search does not find.
fn lost(table: &Table<'_, Bytes, ()>, keys: &BTreeSet<Vec<u8>>) -> Outcome<usize> {
    let mut lost = 0;
    for key in keys {
        lost += usize::from(table.get(key.as_slice())?.is_none());
    }
    Ok(lost)
}

fn refill(table: &mut Table<'_, Bytes, ()>, keys: &BTreeSet<Vec<u8>>) -> Outcome<()> {
    table.retain(|_, ()| false)?;
    for key in keys {
        table.insert(key.as_slice(), ())?;
    }
    Ok(())
}
