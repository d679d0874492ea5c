//! One inclusive range of addresses and its text form.

use alloc::string::{String, ToString};
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use ipnet::IpNet;

use crate::addr::{Family, from_bits, to_bits};

/// The longest text that is read, in bytes: two addresses and some spaces. Errors repeat the text.
const LONGEST_TEXT: usize = 256;

/// An inclusive range of addresses of one family, never empty.
///
/// # Text form
///
/// `FromStr` reads the grammar of `spec.ips`: a single address `a`, or `a-b` with `a` not above
/// `b`. Two extensions: spaces around the dash, and a CIDR `a/prefix` without host bits, which
/// means every address of the network. Addresses are as in RFC 4291 and dotted decimal: no zone,
/// no leading zeros. `Display` writes `a` or `a-b`.
///
/// ```
/// use ipam_core::AddressRange;
/// let range: AddressRange = "172.31.199.185-172.31.199.189".parse()?;
/// assert_eq!(range.size(), 5);
/// assert!("10.0.0.9-10.0.0.1".parse::<AddressRange>().is_err());
/// # Ok::<(), ipam_core::RangeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    family: Family,
    first: u128,
    last: u128,
}

impl AddressRange {
    /// The range from `first` to `last`, both included.
    ///
    /// # Errors
    ///
    /// [`RangeError::MixedFamilies`] or [`RangeError::Reversed`]: name the two ends in order.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, RangeError> {
        let text = || alloc::format!("{first}-{last}");
        if Family::of(first) != Family::of(last) {
            return Err(RangeError::MixedFamilies { text: text() });
        }
        if first > last {
            return Err(RangeError::Reversed { text: text() });
        }
        Ok(Self { family: Family::of(first), first: to_bits(first), last: to_bits(last) })
    }

    /// The range of integers `first..=last`; the caller has checked order and family.
    pub(crate) fn from_integers(family: Family, first: u128, last: u128) -> Self {
        debug_assert!(first <= last && last <= family.last());
        Self { family, first, last }
    }

    pub(crate) fn first_integer(&self) -> u128 {
        self.first
    }

    pub(crate) fn last_integer(&self) -> u128 {
        self.last
    }

    /// The family of both ends.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The lowest address.
    pub fn first(&self) -> IpAddr {
        from_bits(self.family, self.first)
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        from_bits(self.family, self.last)
    }

    /// How many addresses the range holds; `u128::MAX` for all 2^128 of IPv6, where it saturates.
    pub fn size(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// Every address in ascending order. For small ranges: 2^128 addresses end with nobody's
    /// patience.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let family = self.family;
        (self.first..=self.last).map(move |bits| from_bits(family, bits))
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family && (self.first..=self.last).contains(&to_bits(address))
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        let bits = to_bits(address);
        Self { family: Family::of(address), first: bits, last: bits }
    }
}

impl From<IpNet> for AddressRange {
    /// Every address of the network, whatever host bits `net` carries.
    fn from(net: IpNet) -> Self {
        Self {
            family: Family::of(net.addr()),
            first: to_bits(net.network()),
            last: to_bits(net.broadcast()),
        }
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let address = |part: &str| {
            part.parse::<IpAddr>().map_err(|_| RangeError::NotAnAddress {
                text: text.to_string(),
                part: part.to_string(),
            })
        };
        if text.trim().is_empty() {
            return Err(RangeError::Empty);
        }
        if text.len() > LONGEST_TEXT {
            return Err(RangeError::TooLong { length: text.len() });
        }
        if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address(first.trim())?, address(last.trim())?);
            return Self::new(first, last).map_err(|error| error.with_text(text));
        }
        if text.contains('/') {
            let net: IpNet = text.trim().parse().map_err(|_| RangeError::NotAnAddress {
                text: text.to_string(),
                part: text.trim().to_string(),
            })?;
            if net.addr() != net.network() {
                return Err(RangeError::HostBits { text: text.to_string(), network: net.trunc() });
            }
            return Ok(net.into());
        }
        address(text.trim()).map(Self::from)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first())
        } else {
            write!(f, "{}-{}", self.first(), self.last())
        }
    }
}

/// Why a text is not an [`AddressRange`]. Each message carries the offending text and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeError {
    /// The text is empty.
    #[error("a range must not be empty: write an address, first-last, or a CIDR")]
    Empty,
    /// The text is longer than any range.
    #[error("a range of {length} bytes is too long: at most {LONGEST_TEXT}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A part of the text is no address.
    #[error("{part:?} in {text:?} is not an address: no zone, no leading zeros, no abbreviations")]
    NotAnAddress {
        /// The whole text.
        text: String,
        /// The part that does not parse.
        part: String,
    },
    /// The ends belong to different families.
    #[error("{text:?} mixes IPv4 and IPv6: both ends must be of one family")]
    MixedFamilies {
        /// The whole text.
        text: String,
    },
    /// The first end lies above the last.
    #[error("{text:?} is reversed: write the lower address first")]
    Reversed {
        /// The whole text.
        text: String,
    },
    /// A CIDR with bits set behind its prefix.
    #[error("{text:?} has bits set behind its prefix: write {network} for the whole network")]
    HostBits {
        /// The whole text.
        text: String,
        /// The network that was probably meant.
        network: IpNet,
    },
}

impl RangeError {
    /// The same error about the text as the user wrote it.
    fn with_text(self, user: &str) -> Self {
        match self {
            Self::MixedFamilies { .. } => Self::MixedFamilies { text: user.to_string() },
            Self::Reversed { .. } => Self::Reversed { text: user.to_string() },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_grammar_and_its_extensions() {
        for (text, shown, size) in [
            ("10.6.0.1", "10.6.0.1", 1),
            ("10.6.0.1-10.6.0.9", "10.6.0.1-10.6.0.9", 9),
            ("10.6.0.1-10.6.0.1", "10.6.0.1", 1),
            (" 10.6.0.1 - 10.6.0.2 ", "10.6.0.1-10.6.0.2", 2),
            ("10.6.0.0/24", "10.6.0.0-10.6.0.255", 256),
            ("fd00::a-fd00::ff", "fd00::a-fd00::ff", 246),
            ("fd00:0::1", "fd00::1", 1),
            ("0.0.0.0/0", "0.0.0.0-255.255.255.255", 1 << 32),
            ("::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", u128::MAX),
        ] {
            let range: AddressRange = text.parse().unwrap();
            assert_eq!((range.to_string().as_str(), range.size()), (shown, size), "{text}");
            assert_eq!(range.to_string().parse(), Ok(range), "round trip of {text}");
        }
    }

    #[test]
    fn a_text_has_a_longest_length() {
        let padded = |length: usize| alloc::format!("{:<length$}", "10.6.0.1-10.6.0.2");
        assert!(padded(LONGEST_TEXT).parse::<AddressRange>().is_ok());
        let error = padded(LONGEST_TEXT + 1).parse::<AddressRange>();
        assert_eq!(error, Err(RangeError::TooLong { length: 257 }));
    }

    #[test]
    fn refuses_what_is_no_range_and_says_why() {
        for (text, rule) in [
            ("", "must not be empty"),
            ("  ", "must not be empty"),
            ("10.6.0.9-10.6.0.1", "reversed"),
            ("10.6.0.1-fd00::1", "mixes IPv4 and IPv6"),
            ("10.6.0.1-9", "is not an address"),
            ("10.6.0.1-", "is not an address"),
            ("-10.6.0.1", "is not an address"),
            ("10.6.0.1-10.6.0.2-10.6.0.3", "is not an address"),
            ("10.6.0.300", "is not an address"),
            ("010.6.0.1", "is not an address"),
            ("fe80::1%eth0", "is not an address"),
            ("10.6.0.1/24", "write 10.6.0.0/24"),
            ("10.6.0.0/33", "is not an address"),
            ("host", "is not an address"),
        ] {
            let error = text.parse::<AddressRange>().unwrap_err().to_string();
            assert!(error.contains(rule), "{text:?}: {error}");
            assert!(text.trim().is_empty() || error.contains(text), "{text:?}: {error}");
        }
    }
}
