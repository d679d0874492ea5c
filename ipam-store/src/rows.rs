//! Rows of any open table, decoded: of a transaction that writes and of one that only reads.

use std::net::IpAddr;

use ipam_core::{Lease, Pool, PoolName, Reserved, Rest, reserve};
use redb::ReadableTable;

use crate::codec;
use crate::fault::{Fault, Outcome};
use crate::schema::{AddressKey, address_key, address_of};
use crate::tally::Tally;

type Bytes = &'static [u8];

pub(crate) fn number(
    table: &impl ReadableTable<&'static str, u64>,
    row: &str,
) -> Outcome<Option<u64>> {
    Ok(table.get(row)?.map(|value| value.value()))
}

pub(crate) fn text(
    table: &impl ReadableTable<&'static str, &'static str>,
    row: &str,
) -> Outcome<Option<String>> {
    Ok(table.get(row)?.map(|value| value.value().to_owned()))
}

pub(crate) fn pools(table: &impl ReadableTable<&'static str, Bytes>) -> Outcome<Vec<Pool>> {
    let mut pools = Vec::new();
    for row in table.iter()? {
        let (name, record) = row?;
        let decoded = codec::decode_pool(record.value());
        pools.push(decoded.map_err(Fault::record(format!("pool {}", name.value())))?);
    }
    Ok(pools)
}

pub(crate) fn reserved(table: &impl ReadableTable<&'static str, Bytes>) -> Outcome<Vec<Reserved>> {
    let mut reserved = Vec::new();
    for row in table.iter()? {
        let (name, record) = row?;
        let decoded = codec::decode_reserved(record.value());
        reserved.push(decoded.map_err(Fault::record(format!("reserved {}", name.value())))?);
    }
    Ok(reserved)
}

/// The pools without what is reserved: as decisions see them.
pub(crate) fn pools_among(
    pool_table: &impl ReadableTable<&'static str, Bytes>,
    reserved_table: &impl ReadableTable<&'static str, Bytes>,
) -> Outcome<Vec<Pool>> {
    let (pools, reserved) = (pools(pool_table)?, reserved(reserved_table)?);
    Ok(reserve(&pools, &reserved))
}

pub(crate) fn lease(
    table: &impl ReadableTable<AddressKey, Bytes>,
    address: IpAddr,
) -> Outcome<Option<Lease>> {
    let record = table.get(address_key(address))?;
    record.map(|record| decode_lease(address, record.value())).transpose()
}

pub(crate) fn leases(table: &impl ReadableTable<AddressKey, Bytes>) -> Outcome<Vec<Lease>> {
    let mut leases = Vec::new();
    for row in table.iter()? {
        let (key, record) = row?;
        leases.push(decode_lease(address(key.value(), "lease")?, record.value())?);
    }
    Ok(leases)
}

pub(crate) fn rest(
    table: &impl ReadableTable<AddressKey, Bytes>,
    address: IpAddr,
) -> Outcome<Option<(PoolName, Rest)>> {
    let record = table.get(address_key(address))?;
    record.map(|record| decode_rest(address, record.value())).transpose()
}

pub(crate) fn rests(
    table: &impl ReadableTable<AddressKey, Bytes>,
) -> Outcome<Vec<(IpAddr, PoolName, Rest)>> {
    let mut rests = Vec::new();
    for row in table.iter()? {
        let (key, record) = row?;
        let address = address(key.value(), "rest")?;
        let (pool, rest) = decode_rest(address, record.value())?;
        rests.push((address, pool, rest));
    }
    Ok(rests)
}

/// The counters of a pool; zeros if it has none yet.
pub(crate) fn tally(
    table: &impl ReadableTable<&'static str, Bytes>,
    pool: &PoolName,
) -> Outcome<Tally> {
    let Some(record) = table.get(pool.as_str())? else { return Ok(Tally::default()) };
    codec::decode_tally(record.value())
        .map_err(Fault::record(format!("the counters of pool {pool}")))
}

fn decode_lease(address: IpAddr, record: &[u8]) -> Outcome<Lease> {
    codec::decode_lease(address, record).map_err(Fault::record(format!("the lease of {address}")))
}

fn decode_rest(address: IpAddr, record: &[u8]) -> Outcome<(PoolName, Rest)> {
    codec::decode_rest(record).map_err(Fault::record(format!("the rest of {address}")))
}

fn address(key: AddressKey, what: &str) -> Outcome<IpAddr> {
    let no_address = || Fault::Disagreement(format!("the {what} {key:02x?} is of no address"));
    address_of(key).ok_or_else(no_address)
}
