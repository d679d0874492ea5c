//! Free addresses of one family as disjoint runs, in memory.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

use crate::addr::{Family, from_bits, to_bits};
use crate::range::AddressRange;
use crate::range_set::RangeSet;

/// A set of addresses of one family that changes one address at a time.
///
/// Kept as runs, first to last, so that memory and cost follow how scattered the set is and never
/// how large: finding, taking and giving back cost the logarithm of the number of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeRuns {
    family: Family,
    runs: BTreeMap<u128, u128>,
}

impl FreeRuns {
    /// The addresses of `set` that are of `family`.
    pub fn new(family: Family, set: &RangeSet) -> Self {
        let ranges = set.ranges().iter().filter(|range| range.family() == family);
        let bounds = |range: &AddressRange| (range.first_integer(), range.last_integer());
        Self { family, runs: ranges.map(bounds).collect() }
    }

    /// The lowest address that is not below `from`.
    pub fn first_from(&self, from: IpAddr) -> Option<IpAddr> {
        let from = to_bits(from);
        if let Some((_, last)) = self.runs.range(..=from).next_back()
            && *last >= from
        {
            return Some(from_bits(self.family, from));
        }
        self.runs.range(from..).next().map(|(first, _)| from_bits(self.family, *first))
    }

    /// Takes an address out; `false` if it was not in.
    pub fn remove(&mut self, address: IpAddr) -> bool {
        let bits = to_bits(address);
        let run = self.runs.range(..=bits).next_back().map(|(first, last)| (*first, *last));
        let Some((first, last)) = run.filter(|(_, last)| *last >= bits) else {
            return false;
        };
        if first < bits {
            self.runs.insert(first, bits - 1);
        } else {
            self.runs.remove(&first);
        }
        if bits < last {
            self.runs.insert(bits + 1, last);
        }
        true
    }

    /// Puts an address in; `false` if it was in already.
    pub fn insert(&mut self, address: IpAddr) -> bool {
        let bits = to_bits(address);
        let below = self.runs.range(..=bits).next_back().map(|(first, last)| (*first, *last));
        if below.is_some_and(|(_, last)| last >= bits) {
            return false;
        }
        let joins_below = below.filter(|(_, last)| bits - last == 1);
        let above = bits.checked_add(1).and_then(|next| self.runs.remove(&next));
        let first = joins_below.map_or(bits, |(first, _)| first);
        self.runs.insert(first, above.unwrap_or(bits));
        true
    }

    /// Whether no address is in.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many runs there are: what memory and cost follow.
    pub fn run_count(&self) -> usize {
        self.runs.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// At both ends of both families.
        #[test]
        fn runs_equal_a_set_of_single_addresses(
            steps in prop::collection::vec((any::<bool>(), 0..12_u8), 0..60),
            high in any::<bool>(),
            v6 in any::<bool>(),
        ) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            let base = if high { family.last() - 11 } else { 0 };
            let address = |offset: u8| from_bits(family, base + u128::from(offset));
            let mut runs = FreeRuns::new(family, &RangeSet::new());
            let mut oracle = BTreeSet::new();
            for (put_in, offset) in steps {
                if put_in {
                    prop_assert_eq!(runs.insert(address(offset)), oracle.insert(address(offset)));
                } else {
                    prop_assert_eq!(runs.remove(address(offset)), oracle.remove(&address(offset)));
                }
                prop_assert_eq!(runs.is_empty(), oracle.is_empty());
                for from in 0..12 {
                    let expected = oracle.range(address(from)..).next().copied();
                    prop_assert_eq!(runs.first_from(address(from)), expected);
                }
                let set: RangeSet = oracle.iter().copied().collect();
                prop_assert_eq!(&runs, &FreeRuns::new(family, &set), "runs are joined");
            }
        }
    }
}
