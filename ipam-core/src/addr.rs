//! Address families and the integer view of an address.
//!
//! Nothing else in the crate looks at the bits of an address: an address of either family is a
//! `u128` here (an IPv4 address uses the low 32 bits), so that one arithmetic serves both.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which of the two address families an address, range or pool belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 (32 bits).
    V4,
    /// IPv6 (128 bits).
    V6,
}

impl Family {
    /// The family that `address` belongs to. An IPv4-mapped IPv6 address is IPv6.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The number that Kubernetes and the pool documents use: 4 or 6.
    pub fn version(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    /// The width of an address in bits, which is also the longest prefix length: 32 or 128.
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The integer of the family's last address.
    pub(crate) fn last(self) -> u128 {
        match self {
            Self::V4 => u128::from(u32::MAX),
            Self::V6 => u128::MAX,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IPv{}", self.version())
    }
}

/// The integer of `address` within its family: an IPv4 address has the low 32 bits.
pub fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of `family` with the integer `bits`, which must be within [`Family::bits`].
pub fn from_bits(family: Family, bits: u128) -> IpAddr {
    match family {
        Family::V4 => {
            debug_assert!(bits <= family.last());
            #[allow(clippy::cast_possible_truncation)] // ranges never exceed their family
            let low = bits as u32;
            IpAddr::V4(Ipv4Addr::from_bits(low))
        }
        Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    }
}
