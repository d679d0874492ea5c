//! Who held an address before.
//!
//! A row is written when a lease ends, in whose place it comes, so that it needs no more room than
//! that had: a release has to work on a full disk. Nothing is decided by it, and damage in it keeps
//! nobody from an address.

use std::fmt;
use std::net::IpAddr;

use ipam_core::{Attachment, Lease, PodRef, PoolName, Stamp, WhyFreed};
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableError};

use crate::codec;
use crate::fault::Outcome;
use crate::register::{Bytes, Register};
use crate::schema::{HISTORY, HistoryKey, history_key, history_of};

/// How many former holders of an address are remembered.
const KEPT: u64 = 4;

/// How many rows there are at most. An IPv6 pool has no end of addresses that were held once.
const MOST_ROWS: u64 = 8192;

/// Who held an address, and how that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormerHolder {
    /// The address.
    pub address: IpAddr,
    /// The pool that it was of.
    pub pool: PoolName,
    /// Who held it.
    pub attachment: Attachment,
    /// The pod behind the holder, where the runtime told.
    pub pod: Option<PodRef>,
    /// When it was handed out, by the wall clock, in seconds since the Unix epoch.
    pub since_unix_seconds: u64,
    /// When that ended, or was noticed to have ended, in seconds since the Unix epoch.
    pub until_unix_seconds: u64,
    /// How it ended.
    pub ended: Ended,
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// By its holder's DEL.
    Released,
    /// By a person: [`Store::release_by_hand`](crate::Store::release_by_hand).
    ReleasedByHand,
    /// By a later sandbox of the same pod, which has it now.
    TakenOver,
    /// By a lease that was adopted in its place.
    Replaced,
    /// By what [`ipam_core::reclaim`] found.
    Freed(WhyFreed),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Released => f.write_str("released"),
            Self::ReleasedByHand => f.write_str("released by hand"),
            Self::TakenOver => f.write_str("taken over by a later sandbox of the pod"),
            Self::Replaced => f.write_str("replaced by an imported lease"),
            Self::Freed(why) => write!(f, "freed: {why}"),
        }
    }
}

/// A row: the holder, and which of the address it is, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) holder: FormerHolder,
}

impl Entry {
    fn key(&self) -> HistoryKey {
        history_key(self.holder.address, slot(self.number))
    }
}

fn slot(number: u64) -> u8 {
    u8::try_from(number % KEPT).unwrap_or_default()
}

impl Register<'_> {
    /// Writes down that a lease has ended, in the place of the oldest row of its address.
    pub(crate) fn remember(&mut self, lease: &Lease, ended: Ended, now: &Stamp) -> Outcome<()> {
        let newest = entries(&self.history, lease.address)?.into_iter().next();
        let entry = Entry {
            number: newest.map_or(0, |entry| entry.number.wrapping_add(1)),
            holder: FormerHolder {
                address: lease.address,
                pool: lease.pool.clone(),
                attachment: lease.attachment.clone(),
                pod: lease.pod.clone(),
                since_unix_seconds: lease.since.unix_seconds,
                until_unix_seconds: now.unix_seconds,
                ended,
            },
        };
        let key = entry.key();
        if self.history.len()? >= MOST_ROWS && self.history.get(key)?.is_none() {
            self.forget_one(lease.address)?;
        }
        self.history.insert(key, codec::encode_former(&entry).as_slice())?;
        Ok(())
    }

    /// Makes room for a row: the next address in their order, round and round, loses one. Where
    /// addresses are given in their order, that is the oldest.
    fn forget_one(&mut self, address: IpAddr) -> Outcome<()> {
        let next = {
            let mut behind = self.history.range(history_key(address, u8::MAX)..)?;
            let next = behind.next().transpose()?.map(|(key, _)| key.value());
            match next {
                None => self.history.first()?.map(|(key, _)| key.value()),
                next => next,
            }
        };
        if let Some(key) = next {
            self.history.remove(key)?;
        }
        Ok(())
    }

    /// How many rows are of nobody.
    pub(crate) fn unsound_history(&self) -> Outcome<usize> {
        let mut unsound = 0;
        for row in self.history.iter()? {
            let (key, record) = row?;
            unsound += usize::from(entry(key.value(), record.value()).is_none());
        }
        Ok(unsound)
    }

    /// Removes the rows that are of nobody.
    pub(crate) fn mend_history(&mut self) -> Outcome<()> {
        Ok(self.history.retain(|key, record| entry(key, record).is_some())?)
    }
}

/// The row, if it is what was written there.
fn entry(key: HistoryKey, record: &[u8]) -> Option<Entry> {
    let entry = codec::decode_former(history_of(key)?, record).ok()?;
    (entry.key() == key).then_some(entry)
}

/// The rows of an address that can be read, the newest first.
fn entries(table: &impl ReadableTable<HistoryKey, Bytes>, address: IpAddr) -> Outcome<Vec<Entry>> {
    let mut entries = Vec::new();
    for row in table.range(history_key(address, 0)..=history_key(address, u8::MAX))? {
        let (key, record) = row?;
        entries.extend(entry(key.value(), record.value()));
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.number));
    Ok(entries)
}

/// The former holders of an address, the latest first. A file that nobody has released from since
/// there is a history has none.
pub(crate) fn read(transaction: &ReadTransaction, address: IpAddr) -> Outcome<Vec<FormerHolder>> {
    let table = match transaction.open_table(HISTORY) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        other => other?,
    };
    Ok(entries(&table, address)?.into_iter().map(|entry| entry.holder).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::create_tables;
    use crate::schema::{address_key, attachment_key, with_address};

    fn address(last: u16) -> IpAddr {
        let [high, low] = last.to_be_bytes();
        IpAddr::from([10, 0, high, low])
    }

    fn lease(last: u16, container: u64) -> Lease {
        Lease {
            address: address(last),
            pool: "p".parse().unwrap(),
            attachment: Attachment {
                network: "n".parse().unwrap(),
                container: format!("c{container}").parse().unwrap(),
                ifname: "eth0".parse().unwrap(),
            },
            pod: None,
            netns: None,
            since: Stamp { unix_seconds: container, ..Stamp::default() },
        }
    }

    fn with_register<T>(work: impl FnOnce(&mut Register<'_>) -> T) -> T {
        let database = redb::Builder::new()
            .create_with_backend(redb::backends::InMemoryBackend::new())
            .unwrap();
        let mut answer = None;
        create_tables(&database, 0, |register| {
            answer = Some(work(register));
            Ok(())
        })
        .unwrap();
        answer.unwrap()
    }

    fn containers(register: &Register<'_>, last: u16) -> Vec<String> {
        let entries = entries(&register.history, address(last)).unwrap();
        let container = |entry: Entry| entry.holder.attachment.container.to_string();
        entries.into_iter().map(container).collect()
    }

    #[test]
    fn the_last_four_are_kept_and_no_more_rows_than_the_most() {
        with_register(|register| {
            let mut end = |last, container| {
                let now = Stamp { unix_seconds: container + 1, ..Stamp::default() };
                register.remember(&lease(last, container), Ended::Released, &now).unwrap();
            };
            (0..7).for_each(|container| end(1, container));
            (10..13).for_each(|container| end(2, container));
            assert_eq!(containers(register, 1), ["c6", "c5", "c4", "c3"]);
            assert_eq!(containers(register, 2), ["c12", "c11", "c10"]);
            // Each address once: the oldest in their order makes room.
            let most = u16::try_from(MOST_ROWS).unwrap();
            for last in 3..most - 4 {
                register.remember(&lease(last, 50), Ended::Released, &Stamp::default()).unwrap();
            }
            assert_eq!(register.history.len().unwrap(), MOST_ROWS);
            assert_eq!(containers(register, 1).len(), 4);
            for last in most - 4..most {
                register.remember(&lease(last, 50), Ended::Released, &Stamp::default()).unwrap();
                assert_eq!(register.history.len().unwrap(), MOST_ROWS);
                assert_eq!(containers(register, last), ["c50"]);
            }
            assert_eq!(containers(register, 1), [""; 0]);
            assert_eq!(containers(register, 2).len(), 3);
        });
    }

    /// A release has to work where the file cannot grow.
    #[test]
    fn a_row_is_shorter_than_what_the_end_of_its_lease_leaves() {
        let lease = lease(1, 1);
        let holder = FormerHolder {
            address: lease.address,
            pool: lease.pool.clone(),
            attachment: lease.attachment.clone(),
            pod: lease.pod.clone(),
            since_unix_seconds: u32::MAX.into(),
            until_unix_seconds: u32::MAX.into(),
            ended: Ended::Released,
        };
        let entry = Entry { number: u32::MAX.into(), holder };
        let row = entry.key().len() + codec::encode_former(&entry).len();
        let holding = with_address(attachment_key(&lease.attachment), lease.address);
        let left = address_key(lease.address).len() + codec::encode_lease(&lease).len();
        assert!(row < left + holding.len(), "{row} bytes in the place of {left} and the index");
    }

    #[test]
    fn a_damaged_row_is_found_and_keeps_nobody_from_an_address() {
        with_register(|register| {
            for container in 0..3 {
                let ended = Ended::Freed(WhyFreed::NamespaceGone);
                register.remember(&lease(1, container), ended, &Stamp::default()).unwrap();
            }
            assert_eq!(register.unsound_history().unwrap(), 0);
            let key = history_key(address(1), 2);
            register.history.insert(key, &b"damaged"[..]).unwrap();
            // Right, but in another's place.
            let misplaced = history_key(address(2), 0);
            let other = Entry {
                number: 1,
                holder: entries(&register.history, address(1)).unwrap().remove(0).holder,
            };
            register.history.insert(misplaced, codec::encode_former(&other).as_slice()).unwrap();
            assert_eq!(register.unsound_history().unwrap(), 2);
            register.remember(&lease(1, 9), Ended::Released, &Stamp::default()).unwrap();
            assert_eq!(containers(register, 1), ["c9", "c1", "c0"]);
            register.mend_history().unwrap();
            assert_eq!(register.unsound_history().unwrap(), 0);
            assert_eq!(address_key(address(1))[..], key[..17]);
        });
    }
}
