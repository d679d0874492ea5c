//! A MAC address: what the cloud knows a NIC by.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, ensure};

/// A 48-bit Ethernet address, written `00:16:3e:00:01:83`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The one address that answers every ARP request in an Alibaba Cloud VPC.
    pub const VPC: Self = Self([0xee, 0xff, 0xff, 0xff, 0xff, 0xff]);
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|octet| write!(f, ":{octet:02x}"))
    }
}

impl FromStr for Mac {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let octets: Vec<&str> = text.split(':').collect();
        ensure!(octets.len() == 6, "mac address {text:?} has {} octets, not 6", octets.len());
        let mut mac = [0; 6];
        for (to, octet) in mac.iter_mut().zip(octets) {
            *to = u8::from_str_radix(octet, 16)
                .with_context(|| format!("mac address {text:?}: {octet:?} is not a hex octet"))?;
        }
        Ok(Self(mac))
    }
}

#[cfg(test)]
mod tests {
    use super::Mac;

    #[test]
    fn text_and_back() {
        assert_eq!("EE:ff:ff:ff:ff:ff".parse::<Mac>().unwrap(), Mac::VPC);
        assert_eq!(Mac::VPC.to_string(), "ee:ff:ff:ff:ff:ff");
        for wrong in ["", "ee:ff", "ee:ff:ff:ff:ff:fg", "ee:ff:ff:ff:ff:ff:00"] {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }
}
