//! Everything that a store remembers, at one moment.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipam_core::{
    Attachment, BootId, Counts, Lease, Moment, Pool, PoolName, Reserved, Rest, reserve,
};
use redb::{ReadTransaction, TableDefinition, TableError};

use crate::codec;
use crate::declared::Declared;
use crate::fault::Outcome;
use crate::register::{Register, addresses};
use crate::rows;
use crate::schema::{
    HOLDINGS, LEASES, META, META_MOMENT, META_REVISION, NOTES, NOTES_BOOT, POOLS, RESERVED, RESTS,
    TALLIES, address_key, attachment_key,
};
use crate::tally::resting as resting_count;

/// Everything that a store remembers, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// The pools, by name.
    pub pools: Vec<Pool>,
    /// The addresses that no pool hands out.
    pub reserved: Vec<Reserved>,
    /// The leases, by address.
    pub leases: Vec<Lease>,
    /// The addresses that rest, by address.
    pub rests: Vec<Resting>,
    /// The boot that the moments of rests count in, where it is known.
    pub boot: Option<BootId>,
    /// The moment of the last change, in that boot.
    pub moment: Moment,
    /// How many changes there have been.
    pub revision: u64,
}

/// An address that rests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    /// The address.
    pub address: IpAddr,
    /// The pool that has it.
    pub pool: PoolName,
    /// Why, and until when.
    pub rest: Rest,
}

/// How the addresses of one pool divide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolCounters {
    /// The pool.
    pub pool: PoolName,
    /// How many addresses it hands out.
    pub size: u128,
    /// What became of them; the rest is free.
    pub counts: Counts,
}

/// The counters of all pools, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// How many changes there have been: equal means that nothing changed.
    pub revision: u64,
    /// One entry a pool, by name.
    pub pools: Vec<PoolCounters>,
}

impl From<Declared> for Contents {
    fn from(Declared { pools, reserved }: Declared) -> Self {
        Self { pools, reserved, ..Self::default() }
    }
}

impl Counters {
    pub(crate) fn read(transaction: &ReadTransaction) -> Outcome<Self> {
        // Format 1 counted nothing.
        let Some(tallies) = open(transaction, TALLIES)? else {
            return Ok(Contents::read(transaction)?.counters());
        };
        let pools =
            rows::pools_among(&transaction.open_table(POOLS)?, &transaction.open_table(RESERVED)?)?;
        let counters = |pool: &Pool| {
            let counts = rows::tally(&tallies, pool.name())?.counts;
            Ok(PoolCounters { pool: pool.name().clone(), size: pool.assignable().size(), counts })
        };
        let pools = pools.iter().map(counters).collect::<Outcome<Vec<_>>>()?;
        let revision = rows::number(&transaction.open_table(META)?, META_REVISION)?;
        Ok(Self { revision: revision.unwrap_or_default(), pools })
    }
}

impl Contents {
    pub(crate) fn read(transaction: &ReadTransaction) -> Outcome<Self> {
        let pools = rows::pools(&transaction.open_table(POOLS)?)?;
        let leases = rows::leases(&transaction.open_table(LEASES)?)?;
        let meta = transaction.open_table(META)?;
        let moment = Moment(rows::number(&meta, META_MOMENT)?.unwrap_or_default());
        let revision = rows::number(&meta, META_REVISION)?.unwrap_or_default();
        let mut contents = Self { pools, leases, moment, revision, ..Self::default() };
        // Format 1 has none of these tables.
        if let Some(table) = open(transaction, RESERVED)? {
            contents.reserved = rows::reserved(&table)?;
        }
        if let Some(table) = open(transaction, RESTS)? {
            let resting = |(address, pool, rest)| Resting { address, pool, rest };
            contents.rests = rows::rests(&table)?.into_iter().map(resting).collect();
        }
        if let Some(table) = open(transaction, NOTES)? {
            contents.boot = rows::text(&table, NOTES_BOOT)?.and_then(|boot| boot.parse().ok());
        }
        Ok(contents)
    }

    /// What was applied to have these pools and reserved addresses.
    pub(crate) fn declared(&self) -> Declared {
        Declared { pools: self.pools.clone(), reserved: self.reserved.clone() }
    }

    /// The same with further leases, each of the pool that claims its address. One that no pool
    /// claims, or whose address is held already, is left out.
    #[must_use]
    pub fn holding(mut self, leases: &[Lease]) -> Self {
        let mut held: BTreeMap<IpAddr, Lease> =
            self.leases.drain(..).map(|lease| (lease.address, lease)).collect();
        for lease in leases {
            if let Some(pool) = self.pools.iter().find(|pool| pool.claims(lease.address)) {
                let pool = pool.name().clone();
                held.entry(lease.address).or_insert_with(|| Lease { pool, ..lease.clone() });
            }
        }
        self.leases = held.into_values().collect();
        self
    }

    /// The pools as decisions see them: without what is reserved.
    pub fn effective_pools(&self) -> Vec<Pool> {
        reserve(&self.pools, &self.reserved)
    }

    /// The counters of each pool.
    pub fn counters(&self) -> Counters {
        let counters = |pool: &Pool| {
            let name = pool.name();
            let mut counts = Counts {
                held: self.leases.iter().filter(|lease| lease.pool == *name).count() as u64,
                ..Counts::default()
            };
            for resting in self.rests.iter().filter(|resting| resting.pool == *name) {
                *resting_count(&mut counts, resting.rest.kind()) += 1;
            }
            PoolCounters { pool: name.clone(), size: pool.assignable().size(), counts }
        };
        let pools = self.effective_pools().iter().map(counters).collect();
        Counters { revision: self.revision, pools }
    }

    /// Writes everything into empty tables, and the indexes that follow from it.
    pub(crate) fn write(&self, register: &mut Register<'_>) -> Outcome<()> {
        for lease in &self.leases {
            let record = codec::encode_lease(lease);
            register.leases.insert(address_key(lease.address), record.as_slice())?;
        }
        let held = |address| self.leases.iter().any(|lease| lease.address == address);
        for Resting { address, pool, rest } in &self.rests {
            if !held(*address) {
                let record = codec::encode_rest(pool, rest);
                register.rests.insert(address_key(*address), record.as_slice())?;
            }
        }
        if let Some(boot) = &self.boot {
            register.notes.insert(NOTES_BOOT, boot.as_str())?;
        }
        register.meta.insert(META_MOMENT, self.moment.0)?;
        register.declare(&self.declared())
    }
}

/// What an attachment holds.
pub(crate) fn held_by(
    transaction: &ReadTransaction,
    attachment: &Attachment,
) -> Outcome<Vec<Lease>> {
    let is_holder = |lease: &Lease| lease.attachment == *attachment;
    // Format 1 has another index.
    let Some(holdings) = open(transaction, HOLDINGS)? else {
        let leases = Contents::read(transaction)?.leases;
        return Ok(leases.into_iter().filter(is_holder).collect());
    };
    let leases = transaction.open_table(LEASES)?;
    let mut held = Vec::new();
    for address in addresses(&holdings, &attachment_key(attachment))? {
        held.extend(rows::lease(&leases, address)?.filter(is_holder));
    }
    Ok(held)
}

type Found<K, V> = Option<redb::ReadOnlyTable<K, V>>;

/// The table, if the file has it.
fn open<K: redb::Key + 'static, V: redb::Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Outcome<Found<K, V>> {
    match transaction.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        other => Ok(Some(other?)),
    }
}
