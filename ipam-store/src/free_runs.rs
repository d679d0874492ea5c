//! The free addresses of each pool as disjoint runs, in a table.
//!
//! The same set as [`ipam_core::FreeRuns`], kept on disk so that a process that lives for one
//! decision need not build it: each question and each change costs a constant number of lookups,
//! whatever the size of the pool and however many of its addresses are held.

use std::net::IpAddr;

use ipam_core::{PoolName, RangeSet};
use redb::{ReadableTable, Table};

use crate::fault::{Fault, Outcome};
use crate::schema::{AddressKey, address_key, address_of, addresses_under, pool_key, with_address};

/// The free runs of all pools.
pub(crate) struct FreeRuns<'t> {
    table: Table<'t, &'static [u8], AddressKey>,
}

impl<'t> FreeRuns<'t> {
    pub(crate) fn new(table: Table<'t, &'static [u8], AddressKey>) -> Self {
        Self { table }
    }

    /// The lowest free address of `pool` that is not below `from`.
    pub(crate) fn first_from(&self, pool: &PoolName, from: IpAddr) -> Outcome<Option<IpAddr>> {
        if let Some((_, last)) = self.run_below(pool, from)?
            && last >= address_key(from)
        {
            return Ok(Some(from));
        }
        let key = pool_key(pool);
        let [_, end] = addresses_under(&key);
        let start = with_address(key, from);
        let mut runs = self.table.range(start.as_slice()..=end.as_slice())?;
        let Some(run) = runs.next().transpose()? else { return Ok(None) };
        let first = run.0.value().last_chunk().copied().and_then(address_of);
        first.map(Some).ok_or_else(|| no_address(pool, run.0.value()))
    }

    pub(crate) fn contains(&self, pool: &PoolName, address: IpAddr) -> Outcome<bool> {
        let run = self.run_below(pool, address)?;
        Ok(run.is_some_and(|(_, last)| last >= address_key(address)))
    }

    /// Takes an address out; `false` if it was not in.
    pub(crate) fn remove(&mut self, pool: &PoolName, address: IpAddr) -> Outcome<bool> {
        let key = address_key(address);
        let Some((first, last)) = self.run_below(pool, address)?.filter(|run| run.1 >= key) else {
            return Ok(false);
        };
        self.take(pool, &first)?;
        if first < key {
            self.put(pool, first, below(key))?;
        }
        if key < last {
            self.put(pool, above(key), last)?;
        }
        Ok(true)
    }

    /// Puts an address in; `false` if it was in already.
    pub(crate) fn insert(&mut self, pool: &PoolName, address: IpAddr) -> Outcome<bool> {
        let key = address_key(address);
        let run = self.run_below(pool, address)?;
        if run.is_some_and(|(_, last)| last >= key) {
            return Ok(false);
        }
        let first = run.filter(|(_, last)| above(*last) == key).map_or(key, |(first, _)| first);
        let joined = self.take(pool, &above(key))?;
        self.put(pool, first, joined.unwrap_or(key))?;
        Ok(true)
    }

    /// Takes all runs of all pools away.
    pub(crate) fn clear(&mut self) -> Outcome<()> {
        Ok(self.table.retain(|_, _| false)?)
    }

    /// Makes `free` the free addresses of `pool`, which has no runs yet.
    pub(crate) fn fill(&mut self, pool: &PoolName, free: &RangeSet) -> Outcome<()> {
        free.ranges().iter().try_for_each(|range| {
            self.put(pool, address_key(range.first()), address_key(range.last()))
        })
    }

    /// Whether the runs of `pool` are exactly `free`.
    pub(crate) fn equal(&self, pool: &PoolName, free: &RangeSet) -> Outcome<bool> {
        let key = pool_key(pool);
        let [start, end] = addresses_under(&key);
        let mut expected = free.ranges().iter();
        for run in self.table.range(start.as_slice()..=end.as_slice())? {
            let (first, last) = run?;
            let Some(range) = expected.next() else { return Ok(false) };
            if first.value().last_chunk() != Some(&address_key(range.first()))
                || last.value() != address_key(range.last())
            {
                return Ok(false);
            }
        }
        Ok(expected.next().is_none())
    }

    /// The run that begins at or below an address.
    fn run_below(
        &self,
        pool: &PoolName,
        address: IpAddr,
    ) -> Outcome<Option<(AddressKey, AddressKey)>> {
        let key = pool_key(pool);
        let [start, _] = addresses_under(&key);
        let end = with_address(key, address);
        let mut runs = self.table.range(start.as_slice()..=end.as_slice())?;
        let Some(run) = runs.next_back().transpose()? else { return Ok(None) };
        let first = run.0.value().last_chunk().copied();
        let first = first.ok_or_else(|| no_address(pool, run.0.value()))?;
        // A run of the other family ends below each address of this one.
        let is_of_family = first[0] == address_key(address)[0];
        Ok(is_of_family.then(|| (first, run.1.value())))
    }

    fn put(&mut self, pool: &PoolName, first: AddressKey, last: AddressKey) -> Outcome<()> {
        let key = [pool_key(pool), first.to_vec()].concat();
        self.table.insert(key.as_slice(), last)?;
        Ok(())
    }

    fn take(&mut self, pool: &PoolName, first: &AddressKey) -> Outcome<Option<AddressKey>> {
        let key = [pool_key(pool).as_slice(), first].concat();
        Ok(self.table.remove(key.as_slice())?.map(|last| last.value()))
    }
}

fn no_address(pool: &PoolName, key: &[u8]) -> Fault {
    Fault::Disagreement(format!("the free run {key:02x?} of pool {pool} begins at no address"))
}

/// The key after this one. Above the last address of a family it is no address's, and no run
/// begins there.
fn above(key: AddressKey) -> AddressKey {
    shifted(key, u128::checked_add)
}

fn below(key: AddressKey) -> AddressKey {
    shifted(key, u128::checked_sub)
}

fn shifted(mut key: AddressKey, by: impl Fn(u128, u128) -> Option<u128>) -> AddressKey {
    if let Some((_, bytes)) = key.split_first_chunk_mut::<1>()
        && let Ok(bits) = <[u8; 16]>::try_from(&*bytes)
    {
        match by(u128::from_be_bytes(bits), 1) {
            Some(next) => bytes.copy_from_slice(&next.to_be_bytes()),
            None => key[0] = 0xff,
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use ipam_core::Family;
    use proptest::prelude::*;

    use super::*;
    use crate::schema::FREE;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        /// At both ends of both families, beside other pools: as the runs in memory.
        #[test]
        fn the_table_does_what_the_runs_in_memory_do(
            steps in prop::collection::vec((any::<bool>(), 0..12_u8), 0..40),
            high in any::<bool>(),
            v6 in any::<bool>(),
        ) {
            let address = |offset: u8| -> IpAddr {
                let low = u32::from(offset);
                match (v6, high) {
                    (false, false) => std::net::Ipv4Addr::from_bits(low).into(),
                    (false, true) => std::net::Ipv4Addr::from_bits(u32::MAX - 11 + low).into(),
                    (true, false) => std::net::Ipv6Addr::from_bits(low.into()).into(),
                    (true, true) => {
                        std::net::Ipv6Addr::from_bits(u128::MAX - 11 + u128::from(low)).into()
                    }
                }
            };
            let database = redb::Builder::new()
                .create_with_backend(redb::backends::InMemoryBackend::new())
                .unwrap();
            let transaction = database.begin_write().unwrap();
            let mut runs = FreeRuns::new(transaction.open_table(FREE).unwrap());
            let [before, pool, behind] = ["o", "p", "q"].map(|name| name.parse().unwrap());
            let all = RangeSet::from_iter([
                "0.0.0.0-255.255.255.255".parse::<ipam_core::AddressRange>().unwrap(),
                "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
            ]);
            runs.fill(&before, &all).unwrap();
            runs.fill(&behind, &all).unwrap();
            let family = Family::of(address(0));
            let mut oracle = ipam_core::FreeRuns::new(family, &RangeSet::new());
            for (put_in, offset) in steps {
                let address_there = address(offset);
                if put_in {
                    prop_assert_eq!(
                        runs.insert(&pool, address_there).unwrap(),
                        oracle.insert(address_there)
                    );
                } else {
                    prop_assert_eq!(
                        runs.remove(&pool, address_there).unwrap(),
                        oracle.remove(address_there)
                    );
                }
                for from in 0..12 {
                    let expected = oracle.first_from(address(from));
                    prop_assert_eq!(runs.first_from(&pool, address(from)).unwrap(), expected);
                    prop_assert_eq!(
                        runs.contains(&pool, address(from)).unwrap(),
                        expected == Some(address(from))
                    );
                }
                let set: RangeSet = (0..12)
                    .map(&address)
                    .filter(|a| oracle.first_from(*a) == Some(*a))
                    .collect();
                prop_assert!(runs.equal(&pool, &set).unwrap(), "runs are joined");
            }
            prop_assert!(runs.equal(&before, &all).unwrap() && runs.equal(&behind, &all).unwrap());
        }
    }
}
