//! Any payload as any record: what can be decoded is encoded as itself.

use std::fmt::Debug;
use std::net::IpAddr;

use super::slip::{decode_answer, decode_ask, encode_ask};
use super::{
    CodecError, FORMER_1, LEASE_1, LONGEST_RECORD, POOL_1, RESERVED_1, REST_1, TALLY_1, WIRING_1,
    checksum, decode_former, decode_lease, decode_pool, decode_reserved, decode_rest, decode_tally,
    decode_wiring, encode_former, encode_lease, encode_pool, encode_reserved, encode_rest,
    encode_tally, encode_wiring, slip,
};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

/// How many kinds of records there are.
pub const KINDS: u8 = 9;

/// Decodes the payload as a record of the kind of this number, sealed as it should be. Answers
/// whether it is one.
pub fn record(kind: u8, payload: &[u8]) -> bool {
    let sealed = |kind: u8| {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&checksum(kind, payload).to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    };
    match kind % KINDS {
        0 => same(&sealed(LEASE_1), |it| decode_lease(ADDRESS, it), encode_lease),
        1 => same(&sealed(POOL_1), decode_pool, encode_pool),
        2 => same(&sealed(RESERVED_1), decode_reserved, encode_reserved),
        3 => same(&sealed(REST_1), decode_rest, |(pool, rest)| encode_rest(pool, rest)),
        4 => same(&sealed(TALLY_1), decode_tally, encode_tally),
        5 => same(&sealed(WIRING_1), decode_wiring, |text| encode_wiring(text)),
        6 => same(&sealed(FORMER_1), |it| decode_former(ADDRESS, it), encode_former),
        7 => same(&sealed(slip::ASK_1), decode_ask, encode_ask),
        _ => decode_answer(&sealed(slip::ANSWER_1)).is_ok(),
    }
}

/// Bytes as they are as any record: without the right checksum they are none.
pub fn unsealed(bytes: &[u8]) {
    let found = decode_lease(ADDRESS, bytes).is_ok() || decode_pool(bytes).is_ok();
    let holds = bytes.split_first_chunk::<5>().is_some_and(|(head, payload)| {
        checksum(head[0], payload).to_le_bytes() == head[1..] && bytes.len() <= LONGEST_RECORD
    });
    assert!(holds || !found, "a record without its checksum was taken");
}

fn same<T: Debug + PartialEq>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, CodecError>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> bool {
    let value = match decode(bytes) {
        Ok(value) => value,
        Err(CodecError::Content(_)) => return false,
        Err(error) => panic!("it was sealed: {error}"),
    };
    let again = encode(&value);
    assert_eq!(decode(&again).as_ref(), Ok(&value));
    // One bit of it changed is no record any more.
    let mut damaged = again.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(decode(&damaged).is_err());
    true
}
