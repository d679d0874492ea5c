//! The tables and their keys. The only file that names a table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipam_core::Attachment;
use redb::TableDefinition;

/// Version of the tables, keys and records below. A file of a newer version is refused.
pub(crate) const FORMAT: u64 = 1;

/// Facts about the file itself.
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The row of [`META`] with the file's format version.
pub(crate) const META_FORMAT: &str = "format";

/// Pool name to pool record.
pub(crate) const POOLS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("pools");

/// Held address to lease record. This table is the truth about who holds what.
pub(crate) const LEASES: TableDefinition<'_, AddressKey, &[u8]> = TableDefinition::new("leases");

/// Attachment to the addresses it holds: an index of [`LEASES`], in the same transaction.
pub(crate) const ATTACHMENTS: TableDefinition<'_, &[u8], &[u8]> =
    TableDefinition::new("attachments");

/// An address as a key: 4 or 6, then the address big-endian in 16 bytes, so that keys sort as
/// addresses do and one family lies together.
pub(crate) type AddressKey = [u8; 17];

pub(crate) fn address_key(address: IpAddr) -> AddressKey {
    let mut key = [0; 17];
    match address {
        IpAddr::V4(v4) => {
            key[0] = 4;
            key[13..].copy_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            key[0] = 6;
            key[1..].copy_from_slice(&v6.octets());
        }
    }
    key
}

/// The address of a key; `None` if these bytes are no key.
pub(crate) fn address_of(key: AddressKey) -> Option<IpAddr> {
    let (family, bytes) = key.split_first_chunk::<1>()?;
    let bits = u128::from_be_bytes(bytes.try_into().ok()?);
    match family {
        [4] => u32::try_from(bits).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
        [6] => Some(Ipv6Addr::from_bits(bits).into()),
        _ => None,
    }
}

/// The three names of an attachment, each ended by a NUL, which no name can contain.
pub(crate) fn attachment_key(attachment: &Attachment) -> Vec<u8> {
    let Attachment { network, container, ifname } = attachment;
    let mut key = Vec::new();
    for name in [network.as_str(), container.as_str(), ifname.as_str()] {
        key.extend_from_slice(name.as_bytes());
        key.push(0);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_keys_sort_as_addresses_and_read_back() {
        let addresses = ["0.0.0.0", "10.0.0.1", "255.255.255.255", "::", "::1", "fd00::"]
            .map(|text| text.parse::<IpAddr>().unwrap());
        assert!(addresses.map(address_key).is_sorted());
        for address in addresses {
            assert_eq!(address_of(address_key(address)), Some(address));
        }
        assert_eq!(address_of([5; 17]), None);
        assert_eq!(address_of([4; 17]), None, "an IPv4 key has nothing above 32 bits");
    }
}
