//! A ledger in memory: for tests, dry runs and whoever keeps the state elsewhere.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::net::IpAddr;

use crate::decision::{Decision, Origin};
use crate::demand::Demand;
use crate::free_runs::FreeRuns;
use crate::lease::{Lease, Moment, NetnsRef, Stamp};
use crate::ledger::{Counts, Ledger};
use crate::owner::{Attachment, IfName, NetworkName, PoolName};
use crate::policy::Policy;
use crate::pool::Pool;
use crate::rest::{Rest, RestKind, RestReason};
use crate::sticky::StickyKey;

/// The leases and rests of a set of pools, in memory, with an index for every question of
/// [`Ledger`].
#[derive(Debug, Clone, Default)]
pub struct Book {
    pools: BTreeMap<PoolName, Page>,
    leases: BTreeMap<IpAddr, Lease>,
    attachments: BTreeMap<Attachment, BTreeSet<IpAddr>>,
    pods: BTreeMap<(String, NetworkName, IfName), BTreeSet<IpAddr>>,
    rests: BTreeMap<IpAddr, (PoolName, Rest)>,
    waiting: BTreeMap<StickyKey, BTreeSet<IpAddr>>,
}

/// What belongs to one pool.
#[derive(Debug, Clone)]
struct Page {
    pool: Pool,
    free: FreeRuns,
    last_given: Option<IpAddr>,
    queues: BTreeMap<RestKind, BTreeSet<(Moment, IpAddr)>>,
    held: u64,
}

impl Book {
    /// The book of these pools, with nothing held.
    pub fn new(pools: &[Pool]) -> Self {
        let mut book = Self::default();
        book.put_pools(pools);
        book
    }

    /// Adds pools, or takes over their changed contents. What is held or rests stays so; an address
    /// that rests belongs to the pool that claims it now.
    pub fn put_pools(&mut self, pools: &[Pool]) {
        for pool in pools {
            let mut free = FreeRuns::new(pool.family(), pool.assignable());
            for address in self.leases.keys().chain(self.rests.keys()) {
                if pool.assignable().contains(*address) {
                    free.remove(*address);
                }
            }
            if let Some(page) = self.pools.get_mut(pool.name()) {
                page.pool = pool.clone();
                page.free = free;
            } else {
                let held = self.leases.values().filter(|lease| lease.pool == *pool.name());
                let page = Page {
                    pool: pool.clone(),
                    free,
                    last_given: None,
                    queues: BTreeMap::new(),
                    held: held.count() as u64,
                };
                self.pools.insert(pool.name().clone(), page);
            }
            self.gather_rests(pool);
        }
    }

    /// Moves the rests of addresses that `pool` claims into its queues: another pool that had them
    /// could not give them back.
    fn gather_rests(&mut self, pool: &Pool) {
        for (address, (owner, rest)) in &mut self.rests {
            if owner == pool.name() || !pool.claims(*address) {
                continue;
            }
            let entry = (rest.until, *address);
            if let Some(queue) =
                self.pools.get_mut(owner).and_then(|page| page.queues.get_mut(&rest.kind()))
            {
                queue.remove(&entry);
            }
            if let Some(page) = self.pools.get_mut(pool.name()) {
                page.queues.entry(rest.kind()).or_default().insert(entry);
            }
            *owner = pool.name().clone();
        }
    }

    /// Writes a decision about `demands` down and answers the new leases, in the order of the
    /// grants.
    pub fn write(
        &mut self,
        demands: &[Demand],
        decision: &Decision<'_>,
        netns: Option<&NetnsRef>,
        since: &Stamp,
    ) -> Vec<Lease> {
        for address in &decision.woken {
            self.wake(*address);
        }
        let mut leases = Vec::new();
        for grant in &decision.grants {
            let Some(demand) = demands.get(grant.demand) else { continue };
            let lease = grant.lease(demand, netns, since);
            if let Origin::TakenOver { from } = &grant.origin {
                self.remove_lease(from.address);
            }
            self.hold(lease.clone());
            leases.push(lease);
        }
        leases
    }

    /// Writes a lease down, whatever its address did before.
    pub fn hold(&mut self, lease: Lease) {
        self.wake(lease.address);
        self.remove_lease(lease.address);
        if let Some(page) = self.pools.get_mut(&lease.pool) {
            page.free.remove(lease.address);
            page.last_given = Some(lease.address);
            page.held += 1;
        }
        self.attachments.entry(lease.attachment.clone()).or_default().insert(lease.address);
        if let Some(key) = pod_key(&lease) {
            self.pods.entry(key).or_default().insert(lease.address);
        }
        self.leases.insert(lease.address, lease);
    }

    /// Ends all leases of an attachment, as `policy` has it, and answers them.
    pub fn release(&mut self, attachment: &Attachment, policy: &Policy, now: Moment) -> Vec<Lease> {
        let addresses = self.attachments.get(attachment).cloned().unwrap_or_default();
        addresses.into_iter().filter_map(|address| self.end(address, policy, now)).collect()
    }

    /// Ends the lease of one address, as `policy` has it, and answers it: what to do with a lease
    /// that [`crate::reclaim`] frees.
    pub fn end(&mut self, address: IpAddr, policy: &Policy, now: Moment) -> Option<Lease> {
        let lease = self.remove_lease(address)?;
        let key = StickyKey::new(lease.pod.as_ref(), &lease.attachment);
        if let Some(rest) = policy.rest(key, now) {
            self.rest_for(address, &lease.pool, rest);
        }
        Some(lease)
    }

    /// Lets an address of a pool rest, held or not. A lease on it ends.
    pub fn rest_for(&mut self, address: IpAddr, pool: &PoolName, rest: Rest) {
        self.remove_lease(address);
        self.wake(address);
        let Some(page) = self.pools.get_mut(pool) else { return };
        page.free.remove(address);
        page.queues.entry(rest.kind()).or_default().insert((rest.until, address));
        if let RestReason::Sticky { key } = &rest.reason {
            self.waiting.entry(key.clone()).or_default().insert(address);
        }
        self.rests.insert(address, (pool.clone(), rest));
    }

    /// Ends a rest: the address is free. Without a rest nothing changes.
    pub fn wake(&mut self, address: IpAddr) {
        let Some((pool, rest)) = self.rests.remove(&address) else { return };
        if let Some(page) = self.pools.get_mut(&pool) {
            if let Some(queue) = page.queues.get_mut(&rest.kind()) {
                queue.remove(&(rest.until, address));
            }
            page.give_back(address);
        }
        if let RestReason::Sticky { key } = &rest.reason {
            forget(&mut self.waiting, key, address);
        }
    }

    /// All leases, by address.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    fn remove_lease(&mut self, address: IpAddr) -> Option<Lease> {
        let lease = self.leases.remove(&address)?;
        if let Some(page) = self.pools.get_mut(&lease.pool) {
            page.held -= 1;
            page.give_back(address);
        }
        forget(&mut self.attachments, &lease.attachment, address);
        if let Some(key) = pod_key(&lease) {
            forget(&mut self.pods, &key, address);
        }
        Some(lease)
    }
}

impl Page {
    /// Puts an address among the free ones, if the pool still hands it out.
    fn give_back(&mut self, address: IpAddr) {
        if self.pool.assignable().contains(address) {
            self.free.insert(address);
        }
    }
}

impl Ledger for Book {
    type Error = Infallible;

    fn first_free(&self, pool: &Pool, from: IpAddr) -> Result<Option<IpAddr>, Infallible> {
        Ok(self.pools.get(pool.name()).and_then(|page| page.free.first_from(from)))
    }

    fn lease(&self, address: IpAddr) -> Result<Option<Lease>, Infallible> {
        Ok(self.leases.get(&address).cloned())
    }

    fn held_by(&self, attachment: &Attachment) -> Result<Vec<Lease>, Infallible> {
        let addresses = self.attachments.get(attachment).into_iter().flatten();
        Ok(addresses.filter_map(|address| self.leases.get(address).cloned()).collect())
    }

    fn held_by_pod(
        &self,
        uid: &str,
        network: &NetworkName,
        ifname: &IfName,
    ) -> Result<Vec<Lease>, Infallible> {
        let key = (String::from(uid), network.clone(), ifname.clone());
        let addresses = self.pods.get(&key).into_iter().flatten();
        Ok(addresses.filter_map(|address| self.leases.get(address).cloned()).collect())
    }

    fn rest(&self, address: IpAddr) -> Result<Option<Rest>, Infallible> {
        Ok(self.rests.get(&address).map(|(_, rest)| rest.clone()))
    }

    fn next_resting(
        &self,
        pool: &Pool,
        kind: RestKind,
        after: Option<(Moment, IpAddr)>,
    ) -> Result<Option<(IpAddr, Rest)>, Infallible> {
        let queue = self.pools.get(pool.name()).and_then(|page| page.queues.get(&kind));
        let next = queue.and_then(|queue| match after {
            None => queue.first(),
            Some(after) => {
                use core::ops::Bound::{Excluded, Unbounded};
                queue.range((Excluded(after), Unbounded)).next()
            }
        });
        let rest = next.and_then(|(_, address)| self.rests.get(address).map(|r| (*address, r)));
        Ok(rest.map(|(address, (_, rest))| (address, rest.clone())))
    }

    fn waiting_for(&self, key: &StickyKey) -> Result<Vec<IpAddr>, Infallible> {
        Ok(self.waiting.get(key).into_iter().flatten().copied().collect())
    }

    fn last_given(&self, pool: &Pool) -> Result<Option<IpAddr>, Infallible> {
        Ok(self.pools.get(pool.name()).and_then(|page| page.last_given))
    }

    fn counts(&self, pool: &Pool) -> Result<Counts, Infallible> {
        let Some(page) = self.pools.get(pool.name()) else { return Ok(Counts::default()) };
        let length = |kind| page.queues.get(&kind).map_or(0, |queue| queue.len() as u64);
        Ok(Counts {
            held: page.held,
            cooling: length(RestKind::Cooldown),
            quarantined: length(RestKind::Quarantine),
            sticky: length(RestKind::Sticky),
        })
    }
}

fn pod_key(lease: &Lease) -> Option<(String, NetworkName, IfName)> {
    let uid = lease.pod.as_ref()?.uid.clone()?;
    Some((uid, lease.attachment.network.clone(), lease.attachment.ifname.clone()))
}

/// Takes an address off a list, and the list away with its last address.
fn forget<K: Ord + Clone>(map: &mut BTreeMap<K, BTreeSet<IpAddr>>, key: &K, address: IpAddr) {
    if let Some(addresses) = map.get_mut(key) {
        addresses.remove(&address);
        if addresses.is_empty() {
            map.remove(key);
        }
    }
}
