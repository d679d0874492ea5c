//! The tables inside one transaction: records in, records out, and what is free.

use std::net::IpAddr;
use std::path::Path;

use ipam_core::{Attachment, Counts, Lease, Ledger, Pool};
use redb::{AccessGuard, ReadTransaction, ReadableTable, Table, WriteTransaction};

use crate::codec;
use crate::database::database_error;
use crate::error::Error;
use crate::schema::{
    ATTACHMENTS, AddressKey, LEASES, POOLS, address_key, address_of, attachment_key,
};
use crate::store::{Contents, corrupt};

/// The tables of one write transaction.
pub(crate) struct Tables<'a> {
    pools: Table<'a, &'static str, &'static [u8]>,
    leases: Table<'a, AddressKey, &'static [u8]>,
    attachments: Table<'a, &'static [u8], &'static [u8]>,
    path: &'a Path,
}

impl<'a> Tables<'a> {
    pub(crate) fn open(transaction: &'a WriteTransaction, path: &'a Path) -> Result<Self, Error> {
        let open = || -> Result<Self, redb::TableError> {
            Ok(Self {
                pools: transaction.open_table(POOLS)?,
                leases: transaction.open_table(LEASES)?,
                attachments: transaction.open_table(ATTACHMENTS)?,
                path,
            })
        };
        open().map_err(|error| database_error("open the tables of", path)(error.into()))
    }

    pub(crate) fn pools(&self) -> Result<Vec<Pool>, Error> {
        read_pools(&self.pools, self.path)
    }

    pub(crate) fn leases(&self) -> Result<Vec<Lease>, Error> {
        read_leases(&self.leases, self.path)
    }

    pub(crate) fn put_pool(&mut self, pool: &Pool) -> Result<(), Error> {
        let record = codec::encode_pool(pool);
        self.pools.insert(pool.name().as_str(), record.as_slice()).map_err(failed(self.path))?;
        Ok(())
    }

    pub(crate) fn put_leases<'l>(
        &mut self,
        attachment: &Attachment,
        leases: impl Iterator<Item = &'l Lease>,
    ) -> Result<(), Error> {
        let mut addresses = Vec::new();
        for lease in leases {
            let record = codec::encode_lease(lease);
            self.leases
                .insert(address_key(lease.address), record.as_slice())
                .map_err(failed(self.path))?;
            addresses.push(lease.address);
        }
        let (key, record) = (attachment_key(attachment), codec::encode_holdings(&addresses));
        self.attachments.insert(key.as_slice(), record.as_slice()).map_err(failed(self.path))?;
        Ok(())
    }

    /// Takes away all that the attachment holds and answers what that was. A damaged lease record
    /// is taken away too, without being in the answer: a DEL must end some time.
    pub(crate) fn remove_leases(mut self, attachment: &Attachment) -> Result<Removed, Error> {
        let key = attachment_key(attachment);
        let addresses = match self.attachments.remove(key.as_slice()).map_err(failed(self.path))? {
            Some(record) => decode_holdings(&record, attachment, self.path)?,
            None => return Ok(Removed::Nothing),
        };
        let mut leases = Vec::with_capacity(addresses.len());
        for address in addresses {
            let record = self.leases.remove(address_key(address)).map_err(failed(self.path))?;
            leases.extend(record.and_then(|r| codec::decode_lease(address, r.value()).ok()));
        }
        Ok(Removed::Leases(leases))
    }
}

/// What a release took away.
pub(crate) enum Removed {
    /// The attachment held nothing: there is nothing to commit.
    Nothing,
    /// Leases; a damaged one is gone without standing here.
    Leases(Vec<Lease>),
}

impl Ledger for Tables<'_> {
    type Error = Error;

    /// Walks the held addresses of the pool up to the first gap.
    fn first_free(&self, pool: &Pool, from: IpAddr) -> Result<Option<IpAddr>, Error> {
        for range in pool.assignable().ranges().iter().filter(|range| range.last() >= from) {
            let first = range.first().max(from);
            let held = self
                .leases
                .range(address_key(first)..=address_key(range.last()))
                .map_err(failed(self.path))?;
            let mut next = Some(first);
            for row in held {
                let (key, _) = row.map_err(failed(self.path))?;
                match next {
                    Some(candidate) if address_key(candidate) == key.value() => {
                        next = pool.assignable().above(candidate).filter(|a| range.contains(*a));
                    }
                    _ => break,
                }
            }
            if next.is_some() {
                return Ok(next);
            }
        }
        Ok(None)
    }

    fn lease(&self, address: IpAddr) -> Result<Option<Lease>, Error> {
        let record = self.leases.get(address_key(address)).map_err(failed(self.path))?;
        record.map(|record| decode_lease(address, &record, self.path)).transpose()
    }

    fn held_by(&self, attachment: &Attachment) -> Result<Vec<Lease>, Error> {
        let key = attachment_key(attachment);
        let Some(record) = self.attachments.get(key.as_slice()).map_err(failed(self.path))? else {
            return Ok(Vec::new());
        };
        let addresses = decode_holdings(&record, attachment, self.path)?;
        let leases = addresses.into_iter().map(|address| self.lease(address));
        leases.filter_map(Result::transpose).collect()
    }

    fn counts(&self, pool: &Pool) -> Result<Counts, Error> {
        let mut counts = Counts::default();
        for range in pool.claimed().ranges() {
            let keys = address_key(range.first())..=address_key(range.last());
            counts.held += self.leases.range(keys).map_err(failed(self.path))?.count() as u64;
        }
        Ok(counts)
    }
}

/// Everything, through a transaction that only reads.
pub(crate) fn contents(transaction: &ReadTransaction, path: &Path) -> Result<Contents, Error> {
    let failed = |error: redb::TableError| database_error("open the tables of", path)(error.into());
    let pools = transaction.open_table(POOLS).map_err(failed)?;
    let leases = transaction.open_table(LEASES).map_err(failed)?;
    Ok(Contents { pools: read_pools(&pools, path)?, leases: read_leases(&leases, path)? })
}

fn read_pools(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    path: &Path,
) -> Result<Vec<Pool>, Error> {
    let mut pools = Vec::new();
    for row in table.iter().map_err(failed(path))? {
        let (name, record) = row.map_err(failed(path))?;
        let what = format!("pool {}", name.value());
        pools.push(codec::decode_pool(record.value()).map_err(corrupt(path, what))?);
    }
    Ok(pools)
}

fn read_leases(
    table: &impl ReadableTable<AddressKey, &'static [u8]>,
    path: &Path,
) -> Result<Vec<Lease>, Error> {
    let mut leases = Vec::new();
    for row in table.iter().map_err(failed(path))? {
        let (key, record) = row.map_err(failed(path))?;
        let Some(address) = address_of(key.value()) else {
            let source = codec::CodecError::Content("the key is no address".into());
            let what = format!("lease {:02x?}", key.value());
            return Err(corrupt(path, what)(source));
        };
        leases.push(decode_lease(address, &record, path)?);
    }
    Ok(leases)
}

fn decode_lease(
    address: IpAddr,
    record: &AccessGuard<'_, &'static [u8]>,
    path: &Path,
) -> Result<Lease, Error> {
    codec::decode_lease(address, record.value())
        .map_err(corrupt(path, format!("the lease of {address}")))
}

fn decode_holdings(
    record: &AccessGuard<'_, &'static [u8]>,
    attachment: &Attachment,
    path: &Path,
) -> Result<Vec<IpAddr>, Error> {
    codec::decode_holdings(record.value())
        .map_err(corrupt(path, format!("the addresses of {attachment}")))
}

fn failed(path: &Path) -> impl Fn(redb::StorageError) -> Error + use<> {
    let failed = database_error("use", path);
    move |error| failed(error.into())
}
