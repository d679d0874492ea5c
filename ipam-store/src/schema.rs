//! The tables and their keys. The only file that names a table.
//!
//! [`META`], [`LEASES`], [`HOLDINGS`] and [`DEPARTED`] keep name, key and meaning in every later
//! format: a program that knows only an older one can still write down that an attachment is gone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipam_core::{Attachment, ContainerId, IfName, NetworkName, PoolName, RestKind, StickyKey};
use redb::TableDefinition;

/// Version of the tables, keys and records below. A file of a newer version is refused, one of an
/// older version is migrated.
pub(crate) const FORMAT: u64 = 2;

/// Numbers about the file itself.
pub(crate) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// The row of [`META`] with the file's format version.
pub(crate) const META_FORMAT: &str = "format";
/// The row of [`META`] that counts commits.
pub(crate) const META_REVISION: &str = "revision";
/// The row of [`META`] with the moment of the last commit, on the clock of the boot in [`NOTES`].
pub(crate) const META_MOMENT: &str = "moment";

/// Texts about the file itself.
pub(crate) const NOTES: TableDefinition<'_, &str, &str> = TableDefinition::new("notes");
/// The row of [`NOTES`] with the boot that all moments of rests count in.
pub(crate) const NOTES_BOOT: &str = "boot";
/// The row of [`NOTES`] with the group that was committed last (see [`crate::group`]), as 32
/// hexadecimal digits.
pub(crate) const NOTES_GROUP: &str = "group";

/// Pool name to pool record.
pub(crate) const POOLS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("pools");

/// Name to the record of addresses that no pool hands out.
pub(crate) const RESERVED: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("reserved");

/// Held address to lease record. This table is the truth about who holds what.
pub(crate) const LEASES: TableDefinition<'_, AddressKey, &[u8]> = TableDefinition::new("leases");

/// Resting address to rest record. This table is the truth about what rests.
pub(crate) const RESTS: TableDefinition<'_, AddressKey, &[u8]> = TableDefinition::new("rests");

/// Attachment and address: an index of [`LEASES`].
pub(crate) const HOLDINGS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("holdings");

/// Pod uid, network, interface and address: an index of [`LEASES`].
pub(crate) const PODS: TableDefinition<'_, &[u8], ()> = TableDefinition::new("pods");

/// Pool, kind, end of the rest and address: an index of [`RESTS`].
pub(crate) const QUEUES: TableDefinition<'_, &[u8], ()> = TableDefinition::new("queues");

/// Pod name, network, interface and address: an index of [`RESTS`].
pub(crate) const WAITING: TableDefinition<'_, &[u8], ()> = TableDefinition::new("waiting");

/// Pool and first address of a free run to its last one: what [`LEASES`] and [`RESTS`] leave of
/// the pools.
pub(crate) const FREE: TableDefinition<'_, &[u8], AddressKey> = TableDefinition::new("free");

/// Pool name to the record of its counters.
pub(crate) const TALLIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tallies");

/// Address and place in its history to the record of who held it. Not every file has the table: the
/// first release makes it.
pub(crate) const HISTORY: TableDefinition<'_, HistoryKey, &[u8]> = TableDefinition::new("history");

/// Attachments that a program of an older format released, to the time, in seconds since the Unix
/// epoch. Whoever knows the format frees what they hold.
pub(crate) const DEPARTED: TableDefinition<'_, &[u8], u64> = TableDefinition::new("departed");

/// Container, interface and network to the record of what was made for them in the boot of
/// [`NOTES`]: in the database of [`crate::Wirings`], which has these two tables and no other.
pub(crate) const WIRINGS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("wirings");

/// Of format 1: attachment to the record of its addresses.
pub(crate) const ATTACHMENTS_1: TableDefinition<'_, &[u8], &[u8]> =
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

/// An address and a place in its history as a key.
pub(crate) type HistoryKey = [u8; 18];

pub(crate) fn history_key(address: IpAddr, place: u8) -> HistoryKey {
    let mut key = [place; 18];
    key[..17].copy_from_slice(&address_key(address));
    key
}

/// The address of a key made by [`history_key`].
pub(crate) fn history_of(key: HistoryKey) -> Option<IpAddr> {
    key.first_chunk().copied().and_then(address_of)
}

/// The address at the end of a key of one of the indexes.
pub(crate) fn address_at_end(key: &[u8]) -> Option<IpAddr> {
    key.last_chunk().copied().and_then(address_of)
}

/// `prefix` with an address behind it: a key of one of the indexes.
pub(crate) fn with_address(mut prefix: Vec<u8>, address: IpAddr) -> Vec<u8> {
    prefix.extend_from_slice(&address_key(address));
    prefix
}

/// The bounds of all keys that are `prefix` and an address.
pub(crate) fn addresses_under(prefix: &[u8]) -> [Vec<u8>; 2] {
    [[0x00; 17], [0xff; 17]].map(|address| [prefix, &address].concat())
}

/// What is in front of the addresses of an attachment in [`HOLDINGS`], and its key in
/// [`DEPARTED`].
pub(crate) fn attachment_key(attachment: &Attachment) -> Vec<u8> {
    let Attachment { network, container, ifname } = attachment;
    names([network.as_str(), container.as_str(), ifname.as_str()])
}

/// The attachment of a key made by [`attachment_key`].
pub(crate) fn attachment_of(key: &[u8]) -> Option<Attachment> {
    let [network, container, ifname] = parts(key)?;
    Some(Attachment {
        network: network.parse().ok()?,
        container: container.parse().ok()?,
        ifname: ifname.parse().ok()?,
    })
}

/// The names of a key made by [`names`], if it is of so many.
fn parts<const N: usize>(key: &[u8]) -> Option<[&str; N]> {
    let text = std::str::from_utf8(key).ok()?.strip_suffix('\0')?;
    text.split('\0').collect::<Vec<_>>().try_into().ok()
}

/// What is in front of the interfaces of a container in [`WIRINGS`].
pub(crate) fn container_key(container: &ContainerId) -> Vec<u8> {
    names([container.as_str()])
}

/// The key of an attachment in [`WIRINGS`].
pub(crate) fn wiring_key(attachment: &Attachment) -> Vec<u8> {
    let Attachment { network, container, ifname } = attachment;
    names([container.as_str(), ifname.as_str(), network.as_str()])
}

/// The attachment of a key made by [`wiring_key`].
pub(crate) fn wiring_of(key: &[u8]) -> Option<Attachment> {
    let [container, ifname, network] = parts(key)?;
    Some(Attachment {
        network: network.parse().ok()?,
        container: container.parse().ok()?,
        ifname: ifname.parse().ok()?,
    })
}

/// What is in front of the addresses of a pod's interface in [`PODS`].
pub(crate) fn pod_key(uid: &str, network: &NetworkName, ifname: &IfName) -> Vec<u8> {
    names([uid, network.as_str(), ifname.as_str()])
}

/// What is in front of the addresses that wait for a pod in [`WAITING`].
pub(crate) fn waiting_key(key: &StickyKey) -> Vec<u8> {
    names([&key.namespace, &key.name, key.network.as_str(), key.ifname.as_str()])
}

/// What is in front of the runs of a pool in [`FREE`].
pub(crate) fn pool_key(pool: &PoolName) -> Vec<u8> {
    names([pool.as_str()])
}

/// What is in front of the entries of a pool's queue in [`QUEUES`]: the end of the rest in
/// seconds, big-endian, and the address.
pub(crate) fn queue_key(pool: &PoolName, kind: RestKind) -> Vec<u8> {
    let mut key = pool_key(pool);
    key.push(match kind {
        RestKind::Cooldown => b'c',
        RestKind::Quarantine => b'q',
        RestKind::Sticky => b's',
    });
    key
}

/// The names one after the other, each ended by a NUL. A name with a NUL in it, which only a pod
/// that is none can have, would make two keys equal; the records behind them tell them apart.
fn names<const N: usize>(names: [&str; N]) -> Vec<u8> {
    let mut key = Vec::new();
    for name in names {
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
            assert_eq!(history_of(history_key(address, 3)), Some(address));
            assert_eq!(address_at_end(&with_address(b"n\0".to_vec(), address)), Some(address));
        }
        assert_eq!(address_of([5; 17]), None);
        assert_eq!(address_of([4; 17]), None, "an IPv4 key has nothing above 32 bits");
        assert_eq!(address_at_end(&[4; 16]), None);
    }

    #[test]
    fn attachment_keys_read_back_and_do_not_run_into_each_other() {
        let attachment = |network: &str, container: &str| Attachment {
            network: network.parse().unwrap(),
            container: container.parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        };
        let key = attachment_key(&attachment("n", "c1"));
        assert_eq!(attachment_of(&key), Some(attachment("n", "c1")));
        assert_eq!(attachment_of(&key[..key.len() - 1]), None);
        assert_eq!(attachment_of(b"n\0c1\0"), None);
        assert_eq!(attachment_of(b"n\0c1\0eth0\0x\0"), None);
        let key_of_wiring = wiring_key(&attachment("n", "c1"));
        assert_eq!(wiring_of(&key_of_wiring), Some(attachment("n", "c1")));
        let container = container_key(&"c".parse().unwrap());
        assert!(!key_of_wiring.starts_with(&container), "c is not c1");
        let [from, to] = addresses_under(&key);
        let other =
            with_address(attachment_key(&attachment("n", "c10")), "10.0.0.1".parse().unwrap());
        let own = with_address(key, "10.0.0.1".parse().unwrap());
        assert!(from < own && own < to && !(from < other && other < to));
    }
}
