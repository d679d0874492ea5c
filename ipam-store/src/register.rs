//! The tables of one write transaction, kept in agreement with each other.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::rc::Rc;

use ipam_core::{
    Attachment, Grant, Lease, Moment, Origin, Policy, Pool, PoolName, Rest, RestReason, Stamp,
    StickyKey,
};
use redb::{ReadableTable, Table, WriteTransaction};

use crate::codec;
use crate::contents::{Contents, Resting};
use crate::declared::Declared;
use crate::fault::{Fault, Outcome};
use crate::free_runs::FreeRuns;
use crate::history::Ended;
use crate::rows;
use crate::schema::{
    AddressKey, FREE, HISTORY, HOLDINGS, HistoryKey, LEASES, META, META_MOMENT, META_REVISION,
    NOTES, NOTES_BOOT, PODS, POOLS, QUEUES, RESERVED, RESTS, TALLIES, WAITING, address_at_end,
    address_key, addresses_under, attachment_key, pod_key, queue_key, waiting_key, with_address,
};
use crate::tally::{Tally, resting};
use crate::transaction::PolicyOf;

pub(crate) type Bytes = &'static [u8];

/// What a node remembers, inside one write transaction. Each method leaves the indexes in
/// agreement with leases and rests.
pub(crate) struct Register<'t> {
    pub(crate) meta: Table<'t, &'static str, u64>,
    pub(crate) notes: Table<'t, &'static str, &'static str>,
    pub(crate) pools: Table<'t, &'static str, Bytes>,
    pub(crate) reserved: Table<'t, &'static str, Bytes>,
    pub(crate) leases: Table<'t, AddressKey, Bytes>,
    pub(crate) rests: Table<'t, AddressKey, Bytes>,
    pub(crate) holdings: Table<'t, Bytes, ()>,
    pub(crate) pods: Table<'t, Bytes, ()>,
    pub(crate) queues: Table<'t, Bytes, ()>,
    pub(crate) waiting: Table<'t, Bytes, ()>,
    pub(crate) free: FreeRuns<'t>,
    pub(crate) tallies: Table<'t, &'static str, Bytes>,
    pub(crate) history: Table<'t, HistoryKey, Bytes>,
    /// What [`Self::pools`] answers, once it was asked. Whoever changes pools empties it.
    pub(crate) decoded: OnceCell<Rc<[Pool]>>,
}

impl<'t> Register<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Outcome<Self> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            notes: transaction.open_table(NOTES)?,
            pools: transaction.open_table(POOLS)?,
            reserved: transaction.open_table(RESERVED)?,
            leases: transaction.open_table(LEASES)?,
            rests: transaction.open_table(RESTS)?,
            holdings: transaction.open_table(HOLDINGS)?,
            pods: transaction.open_table(PODS)?,
            queues: transaction.open_table(QUEUES)?,
            waiting: transaction.open_table(WAITING)?,
            free: FreeRuns::new(transaction.open_table(FREE)?),
            tallies: transaction.open_table(TALLIES)?,
            history: transaction.open_table(HISTORY)?,
            decoded: OnceCell::new(),
        })
    }

    /// The pools as decisions see them: without what is reserved.
    pub(crate) fn pools(&self) -> Outcome<Rc<[Pool]>> {
        if let Some(pools) = self.decoded.get() {
            return Ok(Rc::clone(pools));
        }
        let pools: Rc<[Pool]> = rows::pools_among(&self.pools, &self.reserved)?.into();
        Ok(Rc::clone(self.decoded.get_or_init(|| pools)))
    }

    pub(crate) fn leases(&self) -> Outcome<Vec<Lease>> {
        rows::leases(&self.leases)
    }

    /// Everything, decoded.
    pub(crate) fn contents(&self) -> Outcome<Contents> {
        let resting = |(address, pool, rest)| Resting { address, pool, rest };
        Ok(Contents {
            pools: rows::pools(&self.pools)?,
            reserved: rows::reserved(&self.reserved)?,
            leases: self.leases()?,
            rests: rows::rests(&self.rests)?.into_iter().map(resting).collect(),
            boot: rows::text(&self.notes, NOTES_BOOT)?.and_then(|boot| boot.parse().ok()),
            moment: Moment(rows::number(&self.meta, META_MOMENT)?.unwrap_or_default()),
            revision: rows::number(&self.meta, META_REVISION)?.unwrap_or_default(),
        })
    }

    /// Stores pools and reserved addresses, and what follows from them.
    pub(crate) fn declare(&mut self, declared: &Declared) -> Outcome<()> {
        for pool in &declared.pools {
            self.pools.insert(pool.name().as_str(), codec::encode_pool(pool).as_slice())?;
        }
        for reserved in &declared.reserved {
            let record = codec::encode_reserved(reserved);
            self.reserved.insert(reserved.name().as_str(), record.as_slice())?;
        }
        self.reindex()
    }

    /// How many transactions have been committed, this one included, once it is closed.
    pub(crate) fn close(mut self, now: Moment) -> Outcome<u64> {
        let revision = rows::number(&self.meta, META_REVISION)?.unwrap_or_default() + 1;
        self.meta.insert(META_REVISION, revision)?;
        self.meta.insert(META_MOMENT, now.0)?;
        Ok(revision)
    }

    /// Writes one grant of a decision down.
    ///
    /// The address has to be free by every table that knows it: damage in one of them must not
    /// give it to two attachments.
    pub(crate) fn give(&mut self, grant: &Grant<'_>, lease: &Lease) -> Outcome<()> {
        let (pool, address) = (grant.pool.name(), grant.address);
        match &grant.origin {
            Origin::TakenOver { from } => {
                if let Some(from) = self.remove_lease(from.address)? {
                    self.remember(&from, Ended::TakenOver, &lease.since)?;
                }
            }
            _ if self.leases.get(address_key(address))?.is_some() => {
                return Err(disagreement(address, "is held, though an index says that it is not"));
            }
            Origin::Returned | Origin::Early | Origin::Pinned => {}
            _ => {
                let rest = rows::rest(&self.rests, address)?.map(|(_, rest)| rest);
                let is_early = |rest: &Rest| !rest.is_over(lease.since.moment);
                if grant.origin == Origin::Chosen && rest.as_ref().is_some_and(is_early) {
                    return Err(disagreement(
                        address,
                        "rests, though an index says that it is free",
                    ));
                }
                let is_assignable = grant.pool.assignable().contains(address);
                if is_assignable && rest.is_none() && !self.free.contains(pool, address)? {
                    return Err(disagreement(address, "is neither held nor resting nor free"));
                }
            }
        }
        self.hold(lease)
    }

    /// Writes a lease down, whatever its address did before.
    pub(crate) fn hold(&mut self, lease: &Lease) -> Outcome<()> {
        let (address, key) = (lease.address, address_key(lease.address));
        self.wake(address)?;
        let earlier = self.remove_lease(address)?;
        if let Some(earlier) = earlier.filter(|other| other.attachment != lease.attachment) {
            self.remember(&earlier, Ended::Replaced, &lease.since)?;
        }
        self.free.remove(&lease.pool, address)?;
        self.leases.insert(key, codec::encode_lease(lease).as_slice())?;
        let holding = with_address(attachment_key(&lease.attachment), address);
        self.holdings.insert(holding.as_slice(), ())?;
        if let Some(pod) = pod_of(lease) {
            self.pods.insert(with_address(pod, address).as_slice(), ())?;
        }
        self.count(&lease.pool, |tally| {
            tally.counts.held += 1;
            tally.last_given = Some(address);
        })
    }

    /// Writes down a lease that others made, as one of the pool that claims its address; `false` if
    /// none does, or if somebody holds the address whom `may_replace` does not give up.
    pub(crate) fn adopt(
        &mut self,
        lease: &Lease,
        may_replace: impl Fn(&Lease) -> bool,
    ) -> Outcome<bool> {
        let pools = self.pools()?;
        let pool = pools.iter().find(|pool| pool.claims(lease.address));
        let held = rows::lease(&self.leases, lease.address)?;
        let Some(pool) = pool.filter(|_| held.as_ref().is_none_or(may_replace)) else {
            return Ok(false);
        };
        self.hold(&Lease { pool: pool.name().clone(), ..lease.clone() })?;
        Ok(true)
    }

    /// Ends all leases of an attachment, each as its policy has it, and answers them; `None` if the index
    /// had nothing for it, so that nothing changed.
    ///
    /// A damaged lease record goes too, without being in the answer: a DEL must end some time.
    pub(crate) fn release(
        &mut self,
        attachment: &Attachment,
        ended: Ended,
        policy_of: &PolicyOf<'_>,
        now: &Stamp,
    ) -> Outcome<Option<Vec<Lease>>> {
        let addresses = self.addresses_of(attachment)?;
        if addresses.is_empty() {
            return Ok(None);
        }
        let mut leases = Vec::new();
        for address in addresses {
            let lease = rows::lease(&self.leases, address);
            match lease {
                Ok(Some(lease)) if lease.attachment == *attachment => {
                    self.end(&lease, ended, policy_of(&lease), now)?;
                    leases.push(lease);
                }
                Ok(_) => self.forget_holding(attachment, address)?,
                Err(Fault::Record { .. }) => {
                    self.leases.remove(address_key(address))?;
                    self.forget_holding(attachment, address)?;
                    self.give_back(address)?;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(Some(leases))
    }

    /// Ends one lease, as `policy` has it.
    pub(crate) fn end(
        &mut self,
        lease: &Lease,
        ended: Ended,
        policy: &Policy,
        now: &Stamp,
    ) -> Outcome<()> {
        self.remove_lease(lease.address)?;
        self.remember(lease, ended, now)?;
        let key = StickyKey::new(lease.pod.as_ref(), &lease.attachment);
        match policy.rest(key, now.moment) {
            Some(rest) => self.rest_for(lease.address, &lease.pool, &rest),
            None => Ok(()),
        }
    }

    /// Lets a free address of a pool rest.
    pub(crate) fn rest_for(
        &mut self,
        address: IpAddr,
        pool: &PoolName,
        rest: &Rest,
    ) -> Outcome<()> {
        self.wake(address)?;
        self.free.remove(pool, address)?;
        let record = codec::encode_rest(pool, rest);
        self.rests.insert(address_key(address), record.as_slice())?;
        self.queues.insert(queue_entry(pool, rest, address).as_slice(), ())?;
        if let RestReason::Sticky { key } = &rest.reason {
            self.waiting.insert(with_address(waiting_key(key), address).as_slice(), ())?;
        }
        self.count(pool, |tally| *resting(&mut tally.counts, rest.kind()) += 1)
    }

    /// Ends a rest: the address is free. Without a rest nothing changes.
    pub(crate) fn wake(&mut self, address: IpAddr) -> Outcome<()> {
        let Some((pool, rest)) = rows::rest(&self.rests, address)? else { return Ok(()) };
        self.rests.remove(address_key(address))?;
        self.queues.remove(queue_entry(&pool, &rest, address).as_slice())?;
        if let RestReason::Sticky { key } = &rest.reason {
            self.waiting.remove(with_address(waiting_key(key), address).as_slice())?;
        }
        self.count(&pool, |tally| {
            let count = resting(&mut tally.counts, rest.kind());
            *count = count.saturating_sub(1);
        })?;
        self.give_back(address)
    }

    /// The addresses that the index has for an attachment.
    pub(crate) fn addresses_of(&self, attachment: &Attachment) -> Outcome<Vec<IpAddr>> {
        addresses(&self.holdings, &attachment_key(attachment))
    }

    fn remove_lease(&mut self, address: IpAddr) -> Outcome<Option<Lease>> {
        let Some(lease) = rows::lease(&self.leases, address)? else { return Ok(None) };
        self.leases.remove(address_key(address))?;
        self.forget_holding(&lease.attachment, address)?;
        if let Some(pod) = pod_of(&lease) {
            self.pods.remove(with_address(pod, address).as_slice())?;
        }
        self.count(&lease.pool, |tally| {
            tally.counts.held = tally.counts.held.saturating_sub(1);
        })?;
        self.give_back(address)?;
        Ok(Some(lease))
    }

    fn forget_holding(&mut self, attachment: &Attachment, address: IpAddr) -> Outcome<()> {
        let key = with_address(attachment_key(attachment), address);
        self.holdings.remove(key.as_slice())?;
        Ok(())
    }

    /// Puts an address among the free ones of the pool that hands it out, if there is one.
    fn give_back(&mut self, address: IpAddr) -> Outcome<()> {
        let pools = self.pools()?;
        match pools.iter().find(|pool| pool.assignable().contains(address)) {
            Some(pool) => self.free.insert(pool.name(), address).map(drop),
            None => Ok(()),
        }
    }

    fn count(&mut self, pool: &PoolName, change: impl FnOnce(&mut Tally)) -> Outcome<()> {
        let mut tally = rows::tally(&self.tallies, pool)?;
        change(&mut tally);
        self.tallies.insert(pool.as_str(), codec::encode_tally(&tally).as_slice())?;
        Ok(())
    }
}

/// The addresses of an index that stand behind `prefix`.
pub(crate) fn addresses(
    index: &impl ReadableTable<Bytes, ()>,
    prefix: &[u8],
) -> Outcome<Vec<IpAddr>> {
    let [from, to] = addresses_under(prefix);
    let mut addresses = Vec::new();
    for row in index.range(from.as_slice()..=to.as_slice())? {
        let (key, ()) = row.map(|(key, _)| (key, ()))?;
        let address = address_at_end(key.value());
        addresses.push(address.ok_or_else(|| {
            Fault::Disagreement(format!(
                "the index entry {:02x?} ends with no address",
                key.value()
            ))
        })?);
    }
    Ok(addresses)
}

pub(crate) fn queue_entry(pool: &PoolName, rest: &Rest, address: IpAddr) -> Vec<u8> {
    let mut key = queue_key(pool, rest.kind());
    key.extend_from_slice(&rest.until.0.to_be_bytes());
    with_address(key, address)
}

pub(crate) fn pod_of(lease: &Lease) -> Option<Vec<u8>> {
    let uid = lease.pod.as_ref()?.uid.as_ref()?;
    Some(pod_key(uid, &lease.attachment.network, &lease.attachment.ifname))
}

pub(crate) fn disagreement(address: IpAddr, what: &str) -> Fault {
    Fault::Disagreement(format!("{address} {what}"))
}
