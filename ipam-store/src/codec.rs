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
    ReservedDocument, Rest, RestReason, Stamp, StickyKey,
};

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

pub(crate) fn decode_lease(address: IpAddr, bytes: &[u8]) -> Result<Lease, CodecError> {
    let record: LeaseRecord = open(LEASE_1, bytes)?;
    Ok(Lease {
        address,
        pool: record.pool.parse().map_err(content)?,
        attachment: Attachment {
            network: record.network.parse().map_err(content)?,
            container: record.container.parse().map_err(content)?,
            ifname: record.ifname.parse().map_err(content)?,
        },
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

/// A pool is kept as the JSON of its document: what was applied can be read back with any tool.
pub(crate) fn encode_pool(pool: &Pool) -> Vec<u8> {
    let document = PoolDocument::new(pool.name().to_string(), pool.spec());
    let json = serde_json::to_string(&document).expect("a document of strings is JSON");
    seal(POOL_1, &json)
}

pub(crate) fn decode_pool(bytes: &[u8]) -> Result<Pool, CodecError> {
    let json: String = open(POOL_1, bytes)?;
    let document: PoolDocument = serde_json::from_str(&json).map_err(content)?;
    Pool::new(&document.metadata.name, &document.spec).map_err(content)
}

/// Kept like a pool, as the JSON of its document.
pub(crate) fn encode_reserved(reserved: &Reserved) -> Vec<u8> {
    let document = ReservedDocument::new(reserved.name().to_string(), reserved.spec());
    let json = serde_json::to_string(&document).expect("a document of strings is JSON");
    seal(RESERVED_1, &json)
}

pub(crate) fn decode_reserved(bytes: &[u8]) -> Result<Reserved, CodecError> {
    let json: String = open(RESERVED_1, bytes)?;
    let document: ReservedDocument = serde_json::from_str(&json).map_err(content)?;
    Reserved::new(&document.metadata.name, &document.spec).map_err(content)
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use ipam_core::{PoolSpec, ReservedSpec};

    use super::*;

    fn lease() -> Lease {
        Lease {
            address: "172.31.199.187".parse().unwrap(),
            pool: "master-172".parse().unwrap(),
            attachment: Attachment {
                network: "ipvlan-eth0".parse().unwrap(),
                container: "c1".parse().unwrap(),
                ifname: "eth0".parse().unwrap(),
            },
            pod: Some(PodRef { namespace: "default".into(), name: "p".into(), uid: None }),
            netns: Some(NetnsRef { path: "/run/netns/p".into(), inode: Some(300) }),
            since: Stamp {
                boot: Some("b".parse().unwrap()),
                moment: Moment(77),
                unix_seconds: 1_700_000_000,
            },
        }
    }

    fn tally() -> Tally {
        let counts = Counts { held: 1, cooling: 2, quarantined: 3, sticky: 4 };
        Tally { counts, last_given: Some("10.0.0.1".parse().unwrap()) }
    }

    fn reserved_spec() -> ReservedSpec {
        ReservedSpec { ip_version: None, ips: vec!["10.0.0.1".into()] }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The bytes of a kind never change: a file written today opens for ever.
    #[test]
    fn every_kind_of_record() {
        assert_eq!(
            hex(&encode_lease(&lease())),
            concat!(
                "11",
                "2cb47fb0",
                "0a6d61737465722d313732",
                "0b6970766c616e2d65746830",
                "026331",
                "0465746830",
                "01",
                "0764656661756c74",
                "0170",
                "00",
                "01",
                "0c2f72756e2f6e65746e732f70",
                "01",
                "fb2c01",
                "01",
                "0162",
                "4d",
                "fc00f15365",
            )
        );
        let key = StickyKey {
            namespace: "d".into(),
            name: "w-0".into(),
            network: "n".parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        };
        for (rest, golden) in [
            (
                Rest::cooling(Moment(5), Moment(65)),
                concat!("41", "e94d30cc", "0170", "05", "41", "00"),
            ),
            (
                Rest::quarantine("x".into(), Moment(5), Moment(65)),
                concat!("41", "3f090f80", "0170", "05", "41", "01", "0178"),
            ),
            (
                Rest::sticky(key, Moment(5), Moment(300)),
                concat!(
                    "41",
                    "79c36468",
                    "0170",
                    "05",
                    "fb2c01",
                    "02",
                    "0164",
                    "03772d30",
                    "016e",
                    "0465746830"
                ),
            ),
        ] {
            assert_eq!(hex(&encode_rest(&"p".parse().unwrap(), &rest)), golden);
        }
        assert_eq!(
            hex(&encode_tally(&tally())),
            concat!("51", "17d0a5ba", "01", "02", "03", "04", "01", "00", "0a000001")
        );
        let reserved = Reserved::new("r", &reserved_spec()).unwrap();
        assert_eq!(
            std::str::from_utf8(&encode_reserved(&reserved)[HEADER + 1..]).unwrap(),
            r#"{"apiVersion":"spiderpool.spidernet.io/v2beta1","kind":"SpiderReservedIP","metadata":{"name":"r"},"spec":{"ipVersion":4,"ips":["10.0.0.1"]}}"#
        );
        let spec = PoolSpec {
            subnet: "10.0.0.0/24".into(),
            ips: vec!["10.0.0.1".into()],
            ..PoolSpec::default()
        };
        let bytes = encode_pool(&Pool::new("p", &spec).unwrap());
        assert_eq!(
            std::str::from_utf8(&bytes[HEADER + 1..]).unwrap(),
            r#"{"apiVersion":"spiderpool.spidernet.io/v2beta1","kind":"SpiderIPPool","metadata":{"name":"p"},"spec":{"ipVersion":4,"subnet":"10.0.0.0/24","ips":["10.0.0.1"],"default":false,"disable":false}}"#
        );
    }

    #[test]
    fn records_read_back() {
        let lease = lease();
        assert_eq!(decode_lease(lease.address, &encode_lease(&lease)).unwrap(), lease);
        let rest = Rest::quarantine("seen".into(), Moment(1), Moment(u64::MAX));
        let pool: PoolName = "p".parse().unwrap();
        assert_eq!(decode_rest(&encode_rest(&pool, &rest)).unwrap(), (pool, rest));
        assert_eq!(decode_tally(&encode_tally(&tally())).unwrap(), tally());
        let reserved = Reserved::new("r", &reserved_spec()).unwrap();
        assert_eq!(decode_reserved(&encode_reserved(&reserved)).unwrap(), reserved);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let lease = lease();
        let bytes = encode_lease(&lease);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_lease(lease.address, &damaged).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode_lease(lease.address, &bytes[..length]).is_err(), "cut at {length}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(decode_lease(lease.address, &longer).is_err(), "a byte too many");
    }

    /// A length that claims more than there is must not reserve memory for it.
    #[test]
    fn a_huge_claimed_length_is_refused() {
        let mut payload = vec![0xfd];
        payload.extend_from_slice(&u64::MAX.to_le_bytes());
        let mut bytes = vec![POOL_1];
        bytes.extend_from_slice(&checksum(POOL_1, &payload).to_le_bytes());
        bytes.extend_from_slice(&payload);
        assert!(matches!(decode_pool(&bytes), Err(CodecError::Content(_))));
    }

    #[test]
    fn a_record_of_another_kind_is_refused() {
        let error = decode_pool(&encode_tally(&tally())).unwrap_err();
        assert_eq!(error, CodecError::Kind { expected: POOL_1, found: TALLY_1 });
    }
}
