use std::fmt::Write as _;

use ipam_core::{
    Asker, Demand, Family, NamedPools, Policy, PoolSpec, ReservedSpec, Source, StickyNames,
    Strategy, WhenOnlyCooling,
};
use proptest::prelude::*;

use super::*;
use crate::ask::{Answer, Ask, What};

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

fn former() -> Entry {
    let Lease { address, pool, attachment, pod, since, .. } = lease();
    let holder = FormerHolder {
        address,
        pool,
        attachment,
        pod,
        since_unix_seconds: since.unix_seconds,
        until_unix_seconds: since.unix_seconds + 60,
        ended: Ended::Freed(WhyFreed::NamespaceGone),
    };
    Entry { number: 5, holder }
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
        (Rest::cooling(Moment(5), Moment(65)), concat!("41", "e94d30cc", "0170", "05", "41", "00")),
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
        hex(&encode_former(&former())),
        concat!(
            "71",
            "306d2d4f",
            "05",
            "0a6d61737465722d313732",
            "0b6970766c616e2d65746830",
            "026331",
            "0465746830",
            "01",
            "0764656661756c74",
            "0170",
            "00",
            "fc00f15365",
            "fc3cf15365",
            "06",
        )
    );
    assert_eq!(hex(&encode_wiring("{}")), "61a8362543027b7d");
    assert_eq!(decode_wiring(&encode_wiring("{}")).as_deref(), Ok("{}"));
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

fn ask() -> Ask {
    let lease = lease();
    let asker = Asker {
        namespace: Some("default".parse().unwrap()),
        ..Asker::new("n".parse().unwrap(), "kube-system/net".parse().unwrap())
    };
    let demand = Demand {
        pod: lease.pod,
        source: Source::Named(NamedPools { v4: vec!["p*".parse().unwrap()], v6: Vec::new() }),
        required: vec![Family::V4, Family::V6],
        requested: vec![lease.address],
        ..Demand::new(lease.attachment, asker)
    };
    let pools = Some(vec![vec![1, 2]]);
    let what = What::Allocate { demands: vec![demand], netns: lease.netns, pools };
    let policy = Policy { strategy: Strategy::Random { seed: 7 }, ..Policy::default() };
    Ask { policy, what }
}

/// These live as long as a waiting process. Two builds on one node must not take one for another:
/// a change of these bytes needs another kind.
#[test]
fn slips() {
    assert_eq!(
        hex(&slip::encode_ask(&ask())),
        concat!(
            "61",
            "52091d08",
            "02073c0100fc803a090000010b6970766c616e2d657468300263310465746830016e0f6b7562",
            "652d73797374656d2f6e6574010764656661756c74000000010764656661756c740170000101",
            "02702a0001010100ac1fc7bb010c2f72756e2f6e65746e732f7001fb2c010101020102"
        )
    );
    let released = slip::Outcome::released(&[]);
    assert_eq!(hex(&slip::encode_answer(7, released)), "6250c73fac070100");
}

#[test]
fn slips_read_back() {
    let asked = ask();
    assert_eq!(slip::decode_ask(&slip::encode_ask(&asked)).unwrap(), asked);
    let release = Ask { what: What::Release(lease().attachment), policy: Policy::default() };
    assert_eq!(slip::decode_ask(&slip::encode_ask(&release)).unwrap(), release);
    let policies = [
        Policy {
            strategy: Strategy::RoundRobin,
            sticky: StickyNames::Ordinal,
            ..asked.policy.clone()
        },
        Policy { strategy: Strategy::OldestReleased, sticky: StickyNames::All, ..asked.policy },
        Policy { when_only_cooling: WhenOnlyCooling::Refuse, ..Policy::default() },
    ];
    for policy in policies {
        let ask = Ask { policy, what: release.what.clone() };
        assert_eq!(slip::decode_ask(&slip::encode_ask(&ask)).unwrap(), ask);
    }
    let answer = slip::encode_answer(u128::MAX, slip::Outcome::released(&[lease()]));
    assert_eq!(slip::decode_answer(&answer).unwrap(), (u128::MAX, Answer::Released(vec![lease()])));
}

#[test]
fn records_read_back() {
    let lease = lease();
    assert_eq!(decode_lease(lease.address, &encode_lease(&lease)).unwrap(), lease);
    for ended in [
        Ended::Released,
        Ended::ReleasedByHand,
        Ended::TakenOver,
        Ended::Replaced,
        Ended::Freed(WhyFreed::EarlierBoot),
        Ended::Freed(WhyFreed::NotListed),
        Ended::Freed(WhyFreed::NamespaceGone),
    ] {
        let former = Entry { holder: FormerHolder { ended, ..former().holder }, ..former() };
        assert_eq!(decode_former(lease.address, &encode_former(&former)).unwrap(), former);
    }
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

proptest! {
    /// Whatever stands in the file, reading it ends, in a record or in an error.
    #[test]
    fn any_bytes_are_a_record_or_an_error(
        kind in prop::sample::select(vec![
            LEASE_1, POOL_1, RESERVED_1, REST_1, TALLY_1, FORMER_1, slip::ASK_1,
            slip::ANSWER_1,
        ]),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        is_sealed in any::<bool>(),
    ) {
        let checksum = if is_sealed { checksum(kind, &payload) } else { 0 };
        let bytes = [&[kind][..], &checksum.to_le_bytes(), &payload].concat();
        let address = IpAddr::from([10, 0, 0, 1]);
        let _ = (
            decode_lease(address, &bytes),
            decode_pool(&bytes),
            decode_reserved(&bytes),
            decode_rest(&bytes),
            decode_former(address, &bytes),
            decode_tally(&bytes),
            slip::decode_ask(&bytes).is_ok(),
            slip::decode_answer(&bytes).is_ok(),
        );
    }
}
