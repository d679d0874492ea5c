//! Texts of ranges, and the algebra of those that parse.
//!
//! The input is two lists, `|` between them, each with commas or line ends between its ranges.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipam_core::{AddressRange, Family, RangeError, RangeSet};
use libfuzzer_sys::fuzz_target;

/// More ranges find nothing new, and the naive check is quadratic in them.
const MOST_RANGES: usize = 24;

/// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255` in bytes.
const LONGEST_ADDRESS: usize = 45;

fuzz_target!(|text: &str| {
    let (left, right) = text.split_once('|').unwrap_or((text, ""));
    let (left, right) = (parse(left), parse(right));
    let (a, b): (RangeSet, RangeSet) =
        (left.iter().copied().collect(), right.iter().copied().collect());
    let naive = Naive::new(&left, &right);
    naive.check(&a, |in_left, _| in_left);
    naive.check(&b, |_, in_right| in_right);
    naive.check(&a.union(&b), |in_left, in_right| in_left || in_right);
    naive.check(&a.intersection(&b), |in_left, in_right| in_left && in_right);
    naive.check(&a.difference(&b), |in_left, in_right| in_left && !in_right);
    let subset = naive.segments.iter().all(|s| !naive.left(s.first) || naive.right(s.first));
    assert_eq!(a.is_subset(&b), subset, "{a} in {b}");

    let json = serde_json::to_string(&a).expect("a set has a JSON form");
    assert_eq!(serde_json::from_str::<RangeSet>(&json).expect("it is read again"), a);
});

fn parse(list: &str) -> Vec<AddressRange> {
    list.split([',', '\n']).filter_map(parse_one).take(MOST_RANGES).collect()
}

fn parse_one(text: &str) -> Option<AddressRange> {
    match text.parse::<AddressRange>() {
        Ok(range) => {
            assert!(range.first() <= range.last(), "{text:?} became {range}");
            assert!(range.contains(range.first()) && range.contains(range.last()));
            assert_eq!(range.to_string().parse().as_ref(), Ok(&range), "{text:?}");
            Some(range)
        }
        Err(RangeError::Empty) => {
            assert!(text.trim().is_empty(), "{text:?} is not empty");
            None
        }
        Err(RangeError::TooLong { length }) => {
            assert_eq!(length, text.len());
            assert!(length > 2 * LONGEST_ADDRESS, "{text:?} could be a range");
            None
        }
        Err(error) => {
            assert!(error.to_string().contains(&format!("{text:?}")), "{error} lacks {text:?}");
            None
        }
    }
}

/// The two lists, and the pieces of both families in which no range of either begins or ends.
struct Naive<'a> {
    left: &'a [AddressRange],
    right: &'a [AddressRange],
    segments: Vec<Segment>,
}

/// Addresses that are all in the same ranges.
struct Segment {
    first: IpAddr,
    last: IpAddr,
}

impl<'a> Naive<'a> {
    fn new(left: &'a [AddressRange], right: &'a [AddressRange]) -> Self {
        let mut segments = Vec::new();
        for family in [Family::V4, Family::V6] {
            let mut starts = vec![0];
            for range in left.iter().chain(right).filter(|range| range.family() == family) {
                starts.push(integer(range.first()));
                starts.extend(integer(range.last()).checked_add(1));
            }
            let end = if family == Family::V4 { u32::MAX.into() } else { u128::MAX };
            starts.retain(|start| *start <= end);
            starts.sort_unstable();
            starts.dedup();
            let ends = starts.iter().skip(1).map(|next| next - 1).chain([end]);
            segments.extend(starts.iter().zip(ends).map(|(first, last)| Segment {
                first: address(family, *first),
                last: address(family, last),
            }));
        }
        Self { left, right, segments }
    }

    fn left(&self, address: IpAddr) -> bool {
        lies_in(address, self.left)
    }

    fn right(&self, address: IpAddr) -> bool {
        lies_in(address, self.right)
    }

    /// Holds `set` against membership as `rule` has it: address by address at both ends of each
    /// segment, in number, and in form.
    fn check(&self, set: &RangeSet, rule: impl Fn(bool, bool) -> bool) {
        let mut size = 0_u128;
        for Segment { first, last } in &self.segments {
            let expected = rule(self.left(*first), self.right(*first));
            assert_eq!(set.contains(*first), expected, "{first} in {set}");
            assert_eq!(set.contains(*last), expected, "{last} in {set}");
            if expected {
                let length = (integer(*last) - integer(*first)).saturating_add(1);
                size = size.saturating_add(length);
            }
        }
        assert_eq!(set.size(), size, "size of {set}");
        assert_eq!(set.is_empty(), size == 0, "{set}");
        for pair in set.ranges().windows(2) {
            let apart = pair[0].family() < pair[1].family()
                || integer(pair[0].last()).checked_add(1) < Some(integer(pair[1].first()));
            assert!(apart, "{} and {} of {set} touch", pair[0], pair[1]);
        }
    }
}

fn lies_in(address: IpAddr, ranges: &[AddressRange]) -> bool {
    ranges.iter().any(|range| range.first() <= address && address <= range.last())
}

fn integer(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn address(family: Family, integer: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(integer).expect("32 bits")).into(),
        Family::V6 => Ipv6Addr::from_bits(integer).into(),
    }
}
