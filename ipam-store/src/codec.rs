//! Records to bytes and back. The only file that knows the encoding.
//!
//! A record is: 1 byte kind and version, 4 bytes CRC-32 (IEEE, little-endian) of that byte and of
//! the payload, then the payload in bincode 2's standard configuration. Decoding is bounded by
//! the record's own length and refuses trailing bytes, so that no damaged length can ask for
//! memory.

use std::net::IpAddr;

use bincode::config::{Configuration, standard};
use bincode::{Decode, Encode};
use ipam_core::{
    Attachment, Counts, Lease, Moment, NetnsRef, PodRef, Pool, PoolDocument, PoolName, Reserved,
    ReservedDocument, Rest, RestReason, Stamp, StickyKey, WhyFreed,
};

use crate::history::{Ended, Entry, FormerHolder};
use crate::tally::Tally;

/// The longest record in bytes that is read; a pool with 100,000 ranges stays far below.
const LONGEST_RECORD: usize = 16 << 20;
const HEADER: usize = 5;

const LEASE_1: u8 = 0x11;
const POOL_1: u8 = 0x21;
const RESERVED_1: u8 = 0x22;
// 0x31 was an index of format 1.
const REST_1: u8 = 0x41;
const TALLY_1: u8 = 0x51;
const WIRING_1: u8 = 0x61;
const FORMER_1: u8 = 0x71;

/// Why bytes are not the record they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// Shorter than a header or longer than any record.
    #[error("a record of {length} bytes cannot be right")]
    Length {
        /// The length in bytes.
        length: usize,
    },
    /// Another kind of record, or one of a newer version.
    #[error("record kind {found:#04x} where {expected:#04x} belongs")]
    Kind {
        /// The kind that belongs here.
        expected: u8,
        /// The kind that stands here.
        found: u8,
    },
    /// The bytes changed after they were written.
    #[error("checksum {computed:08x} where {stored:08x} was written")]
    Checksum {
        /// As written.
        stored: u32,
        /// Over the bytes as they are.
        computed: u32,
    },
    /// The checksum holds and the content does not: written by a faulty program.
    #[error("content: {0}")]
    Content(String),
}

#[derive(Encode, Decode)]
struct LeaseRecord {
    pool: String,
    network: String,
    container: String,
    ifname: String,
    pod: Option<PodRecord>,
    netns: Option<NetnsRecord>,
    boot: Option<String>,
    moment_seconds: u64,
    unix_seconds: u64,
}

#[derive(Encode, Decode)]
struct NetnsRecord {
    path: String,
    inode: Option<u64>,
}

#[derive(Encode, Decode)]
struct PodRecord {
    namespace: String,
    name: String,
    uid: Option<String>,
}

#[derive(Encode, Decode)]
struct RestRecord {
    pool: String,
    since_seconds: u64,
    until_seconds: u64,
    reason: ReasonRecord,
}

#[derive(Encode, Decode)]
enum ReasonRecord {
    Cooldown,
    Quarantine { seen: String },
    Sticky { namespace: String, name: String, network: String, ifname: String },
}

#[derive(Encode, Decode)]
struct TallyRecord {
    held: u64,
    cooling: u64,
    quarantined: u64,
    sticky: u64,
    last_given: Option<IpAddr>,
}

#[derive(Encode, Decode)]
struct FormerRecord {
    number: u64,
    pool: String,
    network: String,
    container: String,
    ifname: String,
    pod: Option<PodRecord>,
    since_unix_seconds: u64,
    until_unix_seconds: u64,
    ended: EndedRecord,
}

#[derive(Encode, Decode)]
enum EndedRecord {
    Released,
    ReleasedByHand,
    TakenOver,
    Replaced,
    EarlierBoot,
    NotListed,
    NamespaceGone,
}

pub(crate) fn encode_lease(lease: &Lease) -> Vec<u8> {
    let Attachment { network, container, ifname } = &lease.attachment;
    seal(
        LEASE_1,
        &LeaseRecord {
            pool: lease.pool.to_string(),
            network: network.to_string(),
            container: container.to_string(),
            ifname: ifname.to_string(),
            pod: lease.pod.clone().map(|pod| {
                let PodRef { namespace, name, uid } = pod;
                PodRecord { namespace, name, uid }
            }),
            netns: lease.netns.clone().map(|NetnsRef { path, inode }| NetnsRecord { path, inode }),
            boot: lease.since.boot.as_ref().map(ToString::to_string),
            moment_seconds: lease.since.moment.0,
            unix_seconds: lease.since.unix_seconds,
        },
    )
}

fn attachment(network: &str, container: &str, ifname: &str) -> Result<Attachment, CodecError> {
    Ok(Attachment {
        network: network.parse().map_err(content)?,
        container: container.parse().map_err(content)?,
        ifname: ifname.parse().map_err(content)?,
    })
}

pub(crate) fn decode_lease(address: IpAddr, bytes: &[u8]) -> Result<Lease, CodecError> {
    let record: LeaseRecord = open(LEASE_1, bytes)?;
    Ok(Lease {
        address,
        pool: record.pool.parse().map_err(content)?,
        attachment: attachment(&record.network, &record.container, &record.ifname)?,
        pod: record.pod.map(|PodRecord { namespace, name, uid }| PodRef { namespace, name, uid }),
        netns: record.netns.map(|NetnsRecord { path, inode }| NetnsRef { path, inode }),
        since: Stamp {
            boot: record.boot.map(|boot| boot.parse()).transpose().map_err(content)?,
            moment: Moment(record.moment_seconds),
            unix_seconds: record.unix_seconds,
        },
    })
}

pub(crate) fn encode_rest(pool: &PoolName, rest: &Rest) -> Vec<u8> {
    let reason = match &rest.reason {
        RestReason::Quarantine { seen } => ReasonRecord::Quarantine { seen: seen.clone() },
        RestReason::Sticky { key } => ReasonRecord::Sticky {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            network: key.network.to_string(),
            ifname: key.ifname.to_string(),
        },
        // A reason that this format does not know is kept as the one that only waits.
        _ => ReasonRecord::Cooldown,
    };
    let (since_seconds, until_seconds) = (rest.since.0, rest.until.0);
    let pool = pool.to_string();
    seal(REST_1, &RestRecord { pool, since_seconds, until_seconds, reason })
}

pub(crate) fn decode_rest(bytes: &[u8]) -> Result<(PoolName, Rest), CodecError> {
    let record: RestRecord = open(REST_1, bytes)?;
    let reason = match record.reason {
        ReasonRecord::Cooldown => RestReason::Cooldown,
        ReasonRecord::Quarantine { seen } => RestReason::Quarantine { seen },
        ReasonRecord::Sticky { namespace, name, network, ifname } => RestReason::Sticky {
            key: StickyKey {
                namespace,
                name,
                network: network.parse().map_err(content)?,
                ifname: ifname.parse().map_err(content)?,
            },
        },
    };
    let (since, until) = (Moment(record.since_seconds), Moment(record.until_seconds));
    Ok((record.pool.parse().map_err(content)?, Rest { reason, since, until }))
}

pub(crate) fn encode_tally(tally: &Tally) -> Vec<u8> {
    let Counts { held, cooling, quarantined, sticky } = tally.counts;
    let last_given = tally.last_given;
    seal(TALLY_1, &TallyRecord { held, cooling, quarantined, sticky, last_given })
}

pub(crate) fn decode_tally(bytes: &[u8]) -> Result<Tally, CodecError> {
    let TallyRecord { held, cooling, quarantined, sticky, last_given } = open(TALLY_1, bytes)?;
    Ok(Tally { counts: Counts { held, cooling, quarantined, sticky }, last_given })
}

pub(crate) fn encode_former(Entry { number, holder }: &Entry) -> Vec<u8> {
    let Attachment { network, container, ifname } = &holder.attachment;
    seal(
        FORMER_1,
        &FormerRecord {
            number: *number,
            pool: holder.pool.to_string(),
            network: network.to_string(),
            container: container.to_string(),
            ifname: ifname.to_string(),
            pod: holder.pod.clone().map(|pod| {
                let PodRef { namespace, name, uid } = pod;
                PodRecord { namespace, name, uid }
            }),
            since_unix_seconds: holder.since_unix_seconds,
            until_unix_seconds: holder.until_unix_seconds,
            ended: match holder.ended {
                Ended::ReleasedByHand => EndedRecord::ReleasedByHand,
                Ended::TakenOver => EndedRecord::TakenOver,
                Ended::Replaced => EndedRecord::Replaced,
                Ended::Freed(WhyFreed::EarlierBoot) => EndedRecord::EarlierBoot,
                Ended::Freed(WhyFreed::NotListed) => EndedRecord::NotListed,
                Ended::Freed(WhyFreed::NamespaceGone) => EndedRecord::NamespaceGone,
                // A reason that this format does not know is kept as the plainest.
                Ended::Released | Ended::Freed(_) => EndedRecord::Released,
            },
        },
    )
}

pub(crate) fn decode_former(address: IpAddr, bytes: &[u8]) -> Result<Entry, CodecError> {
    let record: FormerRecord = open(FORMER_1, bytes)?;
    let holder = FormerHolder {
        address,
        pool: record.pool.parse().map_err(content)?,
        attachment: attachment(&record.network, &record.container, &record.ifname)?,
        pod: record.pod.map(|PodRecord { namespace, name, uid }| PodRef { namespace, name, uid }),
        since_unix_seconds: record.since_unix_seconds,
        until_unix_seconds: record.until_unix_seconds,
        ended: match record.ended {
            EndedRecord::Released => Ended::Released,
            EndedRecord::ReleasedByHand => Ended::ReleasedByHand,
            EndedRecord::TakenOver => Ended::TakenOver,
            EndedRecord::Replaced => Ended::Replaced,
            EndedRecord::EarlierBoot => Ended::Freed(WhyFreed::EarlierBoot),
            EndedRecord::NotListed => Ended::Freed(WhyFreed::NotListed),
            EndedRecord::NamespaceGone => Ended::Freed(WhyFreed::NamespaceGone),
        },
    };
    Ok(Entry { number: record.number, holder })
}

/// What was made for an attachment is kept as the JSON of who made it.
pub(crate) fn encode_wiring(document: &str) -> Vec<u8> {
    seal(WIRING_1, &document)
}

pub(crate) fn decode_wiring(bytes: &[u8]) -> Result<String, CodecError> {
    open(WIRING_1, bytes)
}

/// A pool is kept as the JSON of its document: what was applied can be read back with any tool.
pub(crate) fn encode_pool(pool: &Pool) -> Vec<u8> {
    let json =
        serde_json::to_string(&PoolDocument::from(pool)).expect("a document of strings is JSON");
    seal(POOL_1, &json)
}

pub(crate) fn decode_pool(bytes: &[u8]) -> Result<Pool, CodecError> {
    let json: String = open(POOL_1, bytes)?;
    let document: PoolDocument = serde_json::from_str(&json).map_err(content)?;
    Pool::try_from(&document).map_err(content)
}

/// Kept like a pool, as the JSON of its document.
pub(crate) fn encode_reserved(reserved: &Reserved) -> Vec<u8> {
    let json = serde_json::to_string(&ReservedDocument::from(reserved))
        .expect("a document of strings is JSON");
    seal(RESERVED_1, &json)
}

pub(crate) fn decode_reserved(bytes: &[u8]) -> Result<Reserved, CodecError> {
    let json: String = open(RESERVED_1, bytes)?;
    let document: ReservedDocument = serde_json::from_str(&json).map_err(content)?;
    Reserved::try_from(&document).map_err(content)
}

fn seal<R: Encode>(kind: u8, record: &R) -> Vec<u8> {
    let payload =
        bincode::encode_to_vec(record, bounds()).expect("memory is the only limit of a record");
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&checksum(kind, &payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

fn open<R: Decode<()>>(expected: u8, bytes: &[u8]) -> Result<R, CodecError> {
    let Some((&[found, ref stored @ ..], payload)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(CodecError::Length { length: bytes.len() });
    };
    if bytes.len() > LONGEST_RECORD {
        return Err(CodecError::Length { length: bytes.len() });
    }
    if found != expected {
        return Err(CodecError::Kind { expected, found });
    }
    let (stored, computed) = (u32::from_le_bytes(*stored), checksum(found, payload));
    if stored != computed {
        return Err(CodecError::Checksum { stored, computed });
    }
    let (record, read) = bincode::decode_from_slice(payload, bounds()).map_err(content)?;
    if read != payload.len() {
        return Err(CodecError::Content(format!("{} bytes too many", payload.len() - read)));
    }
    Ok(record)
}

/// The limit makes bincode check each claimed length before it reserves memory for it.
fn bounds() -> Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<LONGEST_RECORD>,
> {
    standard().with_limit::<LONGEST_RECORD>()
}

fn checksum(kind: u8, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(payload);
    hasher.finalize()
}

fn content(error: impl std::fmt::Display) -> CodecError {
    CodecError::Content(error.to_string())
}

#[cfg(fuzzing)]
pub(crate) mod fuzzing;
pub(crate) mod slip;
#[cfg(test)]
mod tests;
