//! Records to bytes and back. The only file that knows the encoding.
//!
//! A record is: 1 byte kind and version, 4 bytes CRC-32 (IEEE, little-endian) of that byte and of
//! the payload, then the payload in bincode 2's standard configuration. Decoding is bounded by
//! the record's own length and refuses trailing bytes, so that no damaged length can ask for
//! memory.

use std::net::IpAddr;

use bincode::config::{Configuration, standard};
use bincode::{Decode, Encode};
use ipam_core::{Attachment, Lease, Moment, NetnsRef, PodRef, Pool, PoolDocument, Stamp};

/// The longest record in bytes that is read; a pool with 100,000 ranges stays far below.
const LONGEST_RECORD: usize = 16 << 20;
const HEADER: usize = 5;

const LEASE_1: u8 = 0x11;
const POOL_1: u8 = 0x21;
const HOLDINGS_1: u8 = 0x31;

/// Why bytes are not the record they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
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

/// The addresses of one attachment.
pub(crate) fn encode_holdings(addresses: &[IpAddr]) -> Vec<u8> {
    seal(HOLDINGS_1, &addresses.to_vec())
}

pub(crate) fn decode_holdings(bytes: &[u8]) -> Result<Vec<IpAddr>, CodecError> {
    open(HOLDINGS_1, bytes)
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

    use ipam_core::PoolSpec;

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

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The bytes of format 1 never change: a file written today opens for ever.
    #[test]
    fn bytes_of_format_1() {
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
        let addresses = ["10.0.0.1", "fd00::1"].map(|text| text.parse().unwrap());
        assert_eq!(
            hex(&encode_holdings(&addresses)),
            concat!("31", "22a4db1a", "02", "000a000001", "01fd000000000000000000000000000001")
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
        let addresses: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(decode_holdings(&encode_holdings(&addresses)).unwrap(), addresses);
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
        let mut bytes = vec![HOLDINGS_1];
        bytes.extend_from_slice(&checksum(HOLDINGS_1, &payload).to_le_bytes());
        bytes.extend_from_slice(&payload);
        assert!(matches!(decode_holdings(&bytes), Err(CodecError::Content(_))));
    }

    #[test]
    fn a_record_of_another_kind_is_refused() {
        let bytes = encode_holdings(&[]);
        let error = decode_pool(&bytes).unwrap_err();
        assert_eq!(error, CodecError::Kind { expected: POOL_1, found: HOLDINGS_1 });
    }
}
