//! A set of addresses as disjoint, ordered ranges.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::addr::to_bits;
use crate::range::{AddressRange, RangeError};

/// A set of addresses of either family.
///
/// Always canonical: the ranges are sorted (IPv4 before IPv6), disjoint and not adjacent, so that
/// equal sets have equal ranges. No operation enumerates addresses: the cost depends on the
/// number of ranges only.
///
/// ```
/// use ipam_core::{AddressRange, RangeSet};
/// let texts = ["10.0.0.5", "10.0.0.1-10.0.0.4"];
/// let ips = texts.iter().map(|text| text.parse::<AddressRange>()).collect::<Result<RangeSet, _>>()?;
/// assert_eq!(ips.to_string(), "10.0.0.1-10.0.0.5");
/// # Ok::<(), ipam_core::RangeError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct RangeSet {
    ranges: Vec<AddressRange>,
}

impl RangeSet {
    /// The set without any address.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// The ranges in ascending order, disjoint and not adjacent.
    pub fn ranges(&self) -> &[AddressRange] {
        &self.ranges
    }

    /// Whether the set holds no address.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many addresses the set holds; saturates at `u128::MAX`.
    pub fn size(&self) -> u128 {
        self.ranges.iter().fold(0, |sum, range| sum.saturating_add(range.size()))
    }

    /// Whether `address` is in the set.
    pub fn contains(&self, address: IpAddr) -> bool {
        let at = self.ranges.partition_point(|range| range.last() < address);
        self.ranges.get(at).is_some_and(|range| range.contains(address))
    }

    /// The lowest address of the set that is above `address`.
    pub fn above(&self, address: IpAddr) -> Option<IpAddr> {
        let at = self.ranges.partition_point(|range| range.last() <= address);
        let range = self.ranges.get(at)?;
        if !range.contains(address) {
            return Some(range.first());
        }
        let next = to_bits(address) + 1;
        Some(AddressRange::from_integers(range.family(), next, next).first())
    }

    /// The address at a position, counted from 0 in ascending order.
    pub fn at(&self, position: u128) -> Option<IpAddr> {
        let mut left = position;
        for range in &self.ranges {
            // Not the size: that of 2^128 addresses is no integer.
            let farthest = range.last_integer() - range.first_integer();
            if left <= farthest {
                let bits = range.first_integer() + left;
                return Some(AddressRange::from_integers(range.family(), bits, bits).first());
            }
            left -= farthest + 1;
        }
        None
    }

    /// The addresses that are in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.ranges.iter().chain(&other.ranges).copied().collect()
    }

    /// The addresses that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        let mut ranges = Vec::new();
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            if a.family() == b.family() {
                let first = a.first_integer().max(b.first_integer());
                let last = a.last_integer().min(b.last_integer());
                if first <= last {
                    ranges.push(AddressRange::from_integers(a.family(), first, last));
                }
            }
            let behind = (a.family(), a.last_integer()) <= (b.family(), b.last_integer());
            if behind {
                left.next();
            } else {
                right.next();
            }
        }
        Self { ranges }
    }

    /// The addresses of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        for range in &self.ranges {
            let family = range.family();
            let (mut next, last) = (range.first_integer(), range.last_integer());
            let from = other.ranges.partition_point(|hole| hole.last() < range.first());
            let mut left_over = true;
            for hole in other.ranges[from..].iter().take_while(|hole| hole.first() <= range.last())
            {
                if hole.first_integer() > next {
                    let end = hole.first_integer() - 1;
                    ranges.push(AddressRange::from_integers(family, next, end));
                }
                if hole.last_integer() >= last {
                    left_over = false;
                    break;
                }
                next = hole.last_integer() + 1;
            }
            if left_over {
                ranges.push(AddressRange::from_integers(family, next, last));
            }
        }
        Self { ranges }
    }

    /// Whether every address of this set is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }
}

impl From<AddressRange> for RangeSet {
    fn from(range: AddressRange) -> Self {
        Self { ranges: alloc::vec![range] }
    }
}

impl FromIterator<AddressRange> for RangeSet {
    /// The union of all ranges, in any order, overlapping or not.
    fn from_iter<I: IntoIterator<Item = AddressRange>>(ranges: I) -> Self {
        let mut sorted: Vec<AddressRange> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<AddressRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(open)
                    if open.family() == range.family()
                        && range.first_integer() <= open.last_integer().saturating_add(1) =>
                {
                    let last = open.last_integer().max(range.last_integer());
                    *open = AddressRange::from_integers(open.family(), open.first_integer(), last);
                }
                _ => merged.push(range),
            }
        }
        Self { ranges: merged }
    }
}

impl FromIterator<IpAddr> for RangeSet {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Self {
        addresses.into_iter().map(AddressRange::from).collect()
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{range}")?;
        }
        Ok(())
    }
}

impl FromStr for RangeSet {
    type Err = RangeError;

    /// Ranges separated by commas; an empty text is the empty set.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        if text.trim().is_empty() {
            return Ok(Self::new());
        }
        text.split(',').map(str::parse::<AddressRange>).collect()
    }
}

impl Serialize for RangeSet {
    /// A list of strings, as `spec.ips` has it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.ranges.iter().map(alloc::string::ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for RangeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<alloc::string::String>::deserialize(deserializer)?;
        texts
            .iter()
            .map(|text| text.parse::<AddressRange>())
            .collect::<Result<_, _>>()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_reach_to_the_last_address_and_not_beyond() {
        let at = |set: &str, position: u128| {
            let set: RangeSet = set.parse().unwrap();
            set.at(position).map(|address| alloc::string::ToString::to_string(&address))
        };
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        for (set, position, expected) in [
            ("10.0.0.1,10.0.0.5-10.0.0.6", 0, Some("10.0.0.1")),
            ("10.0.0.1,10.0.0.5-10.0.0.6", 1, Some("10.0.0.5")),
            ("10.0.0.1,10.0.0.5-10.0.0.6", 2, Some("10.0.0.6")),
            ("10.0.0.1,10.0.0.5-10.0.0.6", 3, None),
            ("10.0.0.1,fd00::1", 1, Some("fd00::1")),
            ("::/0", u128::MAX, Some(last)),
            ("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", u128::MAX - 1, Some(last)),
            ("::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", u128::MAX, None),
            ("0.0.0.0/0,::/0", u128::MAX, Some("ffff:ffff:ffff:ffff:ffff:fffe:ffff:ffff")),
            ("", 0, None),
        ] {
            assert_eq!(at(set, position).as_deref(), expected, "{set} {position}");
        }
    }
}
