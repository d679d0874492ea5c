//! The laws of set algebra, in small universes at both ends of both families, against a set of
//! single addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipam_core::{AddressRange, RangeSet};
use proptest::prelude::*;

/// 64 addresses: the first and the last 16 of each family.
fn address(index: u8) -> IpAddr {
    let offset = u32::from(index % 16);
    match index / 16 {
        0 => Ipv4Addr::from_bits(offset).into(),
        1 => Ipv4Addr::from_bits(u32::MAX - 15 + offset).into(),
        2 => Ipv6Addr::from_bits(offset.into()).into(),
        _ => Ipv6Addr::from_bits(u128::MAX - 15 + u128::from(offset)).into(),
    }
}

fn ranges() -> impl Strategy<Value = Vec<AddressRange>> {
    let range = (0..4_u8, 0..16_u8, 0..16_u8).prop_map(|(block, a, b)| {
        AddressRange::new(address(block * 16 + a.min(b)), address(block * 16 + a.max(b))).unwrap()
    });
    prop::collection::vec(range, 0..8)
}

fn naive(ranges: &[AddressRange]) -> BTreeSet<IpAddr> {
    (0..64).map(address).filter(|a| ranges.iter().any(|range| range.contains(*a))).collect()
}

fn members(set: &RangeSet) -> BTreeSet<IpAddr> {
    set.ranges().iter().flat_map(AddressRange::addresses).collect()
}

fn assert_canonical(set: &RangeSet) {
    for pair in set.ranges().windows(2) {
        assert!(pair[0].last() < pair[1].first(), "{set} is not sorted and disjoint");
        let joined: RangeSet = pair.iter().copied().collect();
        assert_eq!(joined.ranges().len(), 2, "{set} has adjacent ranges");
    }
}

proptest! {
    #[test]
    fn operations_equal_those_on_single_addresses(a in ranges(), b in ranges()) {
        let (left, right): (BTreeSet<_>, BTreeSet<_>) = (naive(&a), naive(&b));
        let a: RangeSet = a.into_iter().collect();
        let b: RangeSet = b.into_iter().collect();
        for (set, expected) in [
            (a.clone(), left.clone()),
            (a.union(&b), &left | &right),
            (a.intersection(&b), &left & &right),
            (a.difference(&b), &left - &right),
        ] {
            assert_canonical(&set);
            prop_assert_eq!(set.size(), expected.len() as u128);
            prop_assert_eq!(members(&set), expected);
        }
        prop_assert_eq!(a.is_subset(&b), left.is_subset(&right));
        for index in 0..64 {
            prop_assert_eq!(a.contains(address(index)), left.contains(&address(index)));
        }
    }

    #[test]
    fn equal_sets_have_equal_ranges_whatever_the_order(mut a in ranges()) {
        let forwards: RangeSet = a.iter().copied().collect();
        a.reverse();
        prop_assert_eq!(forwards, a.into_iter().collect::<RangeSet>());
    }

    #[test]
    fn text_and_json_read_back(a in ranges()) {
        let set: RangeSet = a.into_iter().collect();
        let json = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(&serde_json::from_str::<RangeSet>(&json).unwrap(), &set);
        for range in set.ranges() {
            prop_assert_eq!(range.to_string().parse::<AddressRange>(), Ok(*range));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9a-f:./%-]{0,24}|\\PC{0,24}") {
        let _ = text.parse::<AddressRange>();
    }
}

#[test]
fn whole_families_need_no_enumeration() {
    let all: RangeSet =
        ["0.0.0.0/0", "::/0"].iter().map(|t| t.parse::<AddressRange>().unwrap()).collect();
    assert_eq!(all.size(), u128::MAX, "2^32 + 2^128 saturates");
    let hole: RangeSet = RangeSet::from("::ffff".parse::<AddressRange>().unwrap());
    assert_eq!(all.difference(&hole).ranges().len(), 3);
    assert_eq!(all.difference(&all), RangeSet::new());
}
