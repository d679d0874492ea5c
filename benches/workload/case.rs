//! Pools by size and fill, and where their free addresses lie.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipam_core::{AddressRange, Family, FreeRuns, Pool, RangeSet};

use crate::random::{Random, SEED};

/// Most pieces that the free space of a pool is cut into.
const MOST_HOLES: u128 = 16_384;

/// A pool's size and how much of it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The whole of which is the pool.
    pub subnet: &'static str,
    /// How many of 1000 addresses are held.
    pub held_permille: u16,
}

const fn case(subnet: &'static str, held_permille: u16) -> Case {
    Case { subnet, held_permille }
}

/// The sizes and fills where only what is free is kept.
pub const CASES: [Case; 12] = [
    case("10.0.0.0/24", 0),
    case("10.0.0.0/24", 500),
    case("10.0.0.0/24", 999),
    case("10.0.0.0/16", 0),
    case("10.0.0.0/16", 500),
    case("10.0.0.0/16", 999),
    case("10.0.0.0/8", 0),
    case("10.0.0.0/8", 500),
    case("10.0.0.0/8", 999),
    case("fd00::/64", 0),
    case("fd00::/64", 500),
    case("fd00::/64", 999),
];

/// The sizes and fills where every lease is kept.
pub const LISTED_CASES: [Case; 6] = [CASES[0], CASES[1], CASES[2], CASES[3], CASES[4], CASES[5]];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, tenth) = (self.held_permille / 10, self.held_permille % 10);
        write!(f, "{} {whole}.{tenth} % held", self.subnet)
    }
}

impl Case {
    /// The free addresses of `pool`: equal pieces, at most 16384 of them and as many as there are
    /// free addresses, one at a random place in each of as many equal parts of the pool, where
    /// neighbours may join. At least one address is free.
    pub(crate) fn free_space(self, pool: &Pool) -> RangeSet {
        let range = only_range(pool);
        let size = range.size();
        let free = (size * u128::from(1000 - self.held_permille) / 1000).max(1);
        let holes = if self.held_permille == 0 { 1 } else { free.min(MOST_HOLES) };
        let mut random = Random(SEED);
        let hole = |hole: u128| {
            let share = |of: u128| (hole * of / holes, (hole + 1) * of / holes);
            let (part, part_end) = share(size);
            let (free_before, free_after) = share(free);
            let length = free_after - free_before;
            let first = part + random.below(part_end - part - length + 1);
            let ends = (moved(range.first(), first), moved(range.first(), first + length - 1));
            AddressRange::new(ends.0, ends.1).expect("the first is not above the last")
        };
        (0..holes).map(hole).collect()
    }
}

/// What is free of an IPv4 subnet once every second address has been taken, one after the other:
/// the most runs there can be, in the emptiest tree. Answers with it how many are held.
///
/// # Panics
///
/// If `subnet` is no IPv4 network.
pub fn every_second_free(subnet: &str) -> (FreeRuns, usize) {
    let whole: AddressRange = subnet.parse().expect("a network");
    let mut free = FreeRuns::new(Family::V4, &RangeSet::from(whole));
    for address in whole.addresses().step_by(2) {
        assert!(free.remove(address), "{address} is held already");
    }
    let held = free.run_count();
    (free, held)
}

/// Every pool here is a whole subnet, which leaves one range.
fn only_range(pool: &Pool) -> AddressRange {
    let [range] = pool.assignable().ranges() else {
        panic!("{} is not one range", pool.assignable());
    };
    *range
}

/// The address `steps` above; every address here lies far from the end of its family.
fn moved(address: IpAddr, steps: u128) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let steps = u32::try_from(steps).expect("no wider than the family");
            Ipv4Addr::from_bits(v4.to_bits() + steps).into()
        }
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() + steps).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MEASURED, pools};

    #[test]
    fn every_case_holds_what_it_says() {
        for case in CASES {
            let pool = &pools(case.subnet)[MEASURED];
            let free = case.free_space(pool);
            assert!(free.is_subset(pool.assignable()));
            let wanted = pool.assignable().size() * u128::from(1000 - case.held_permille) / 1000;
            assert_eq!(free.size(), wanted.max(1), "{case}");
        }
    }

    #[test]
    fn every_second_address_is_the_worst_case() {
        let (free, held) = every_second_free("10.0.0.0/24");
        assert_eq!((free.run_count(), held), (128, 128));
    }
}
