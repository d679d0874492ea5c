//! What a decision asks, answered from the tables of its transaction.

use std::net::IpAddr;

use ipam_core::{
    Attachment, Counts, IfName, Lease, Ledger, Moment, NetworkName, Pool, Rest, RestKind, StickyKey,
};
use redb::ReadableTable;

use crate::fault::{Fault, Outcome};
use crate::register::{Register, addresses, disagreement, pod_of};
use crate::rows;
use crate::schema::{address_at_end, pod_key, queue_key, waiting_key, with_address};

impl Ledger for Register<'_> {
    type Error = Fault;

    fn first_free(&self, pool: &Pool, from: IpAddr) -> Outcome<Option<IpAddr>> {
        self.free.first_from(pool.name(), from)
    }

    fn lease(&self, address: IpAddr) -> Outcome<Option<Lease>> {
        rows::lease(&self.leases, address)
    }

    fn held_by(&self, attachment: &Attachment) -> Outcome<Vec<Lease>> {
        let leases = self.leases_at(&self.addresses_of(attachment)?)?;
        match leases.iter().find(|lease| lease.attachment != *attachment) {
            None => Ok(leases),
            Some(lease) => Err(disagreement(lease.address, "is indexed for another holder")),
        }
    }

    fn held_by_pod(
        &self,
        uid: &str,
        network: &NetworkName,
        ifname: &IfName,
    ) -> Outcome<Vec<Lease>> {
        let key = pod_key(uid, network, ifname);
        let leases = self.leases_at(&addresses(&self.pods, &key)?)?;
        match leases.iter().find(|lease| pod_of(lease).as_ref() != Some(&key)) {
            None => Ok(leases),
            Some(lease) => Err(disagreement(lease.address, "is indexed for another pod")),
        }
    }

    fn rest(&self, address: IpAddr) -> Outcome<Option<Rest>> {
        Ok(rows::rest(&self.rests, address)?.map(|(_, rest)| rest))
    }

    fn next_resting(
        &self,
        pool: &Pool,
        kind: RestKind,
        after: Option<(Moment, IpAddr)>,
    ) -> Outcome<Option<(IpAddr, Rest)>> {
        let queue = queue_key(pool.name(), kind);
        let mut from = queue.clone();
        if let Some((until, address)) = after {
            from.extend_from_slice(&until.0.to_be_bytes());
            // No address is longer: the first key behind that of the address itself.
            from = with_address(from, address);
            from.push(0);
        }
        let to = [queue.as_slice(), &[0xff; 26]].concat();
        let mut entries = self.queues.range(from.as_slice()..to.as_slice())?;
        let Some(entry) = entries.next().transpose()? else { return Ok(None) };
        let address = address_at_end(entry.0.value());
        let rest = match address {
            Some(address) => rows::rest(&self.rests, address)?.map(|(_, rest)| (address, rest)),
            None => None,
        };
        rest.filter(|(_, rest)| rest.kind() == kind).map(Some).ok_or_else(|| {
            let pool = pool.name();
            Fault::Disagreement(format!("an entry in a queue of pool {pool} does not rest"))
        })
    }

    fn waiting_for(&self, key: &StickyKey) -> Outcome<Vec<IpAddr>> {
        addresses(&self.waiting, &waiting_key(key))
    }

    fn last_given(&self, pool: &Pool) -> Outcome<Option<IpAddr>> {
        Ok(rows::tally(&self.tallies, pool.name())?.last_given)
    }

    fn counts(&self, pool: &Pool) -> Outcome<Counts> {
        Ok(rows::tally(&self.tallies, pool.name())?.counts)
    }
}

impl Register<'_> {
    /// The leases of addresses that an index names.
    fn leases_at(&self, addresses: &[IpAddr]) -> Outcome<Vec<Lease>> {
        let lease = |address: &IpAddr| {
            let lease = rows::lease(&self.leases, *address)?;
            lease.ok_or_else(|| disagreement(*address, "is indexed and nobody holds it"))
        };
        addresses.iter().map(lease).collect()
    }
}
