//! Neighbours that are known for good.

use cni_net::{Error, Neighbour as NeighbourOnLink, NeighbourEntry, Netlink};

use super::{Inverse, kept};
use crate::site::Site;
use crate::step::{Change, Neighbour, Place};

pub(super) fn put(
    place: Place,
    neighbour: &Neighbour,
    site: &mut Site<'_>,
    done: &mut Vec<Inverse>,
) -> Result<(), Error> {
    let Neighbour { address, mac, link } = neighbour;
    let index = site.index(place, link)?;
    let Some(netlink) = site.netlink(place) else { return Ok(()) };
    let mut entries = netlink.neighbours(Some(index))?.into_iter();
    let before = entries.find(|entry| entry.address == *address).and_then(|it| known_for_good(&it));
    let wanted = NeighbourOnLink { address: *address, mac: *mac, index };
    if before == Some(wanted) {
        return Ok(());
    }
    let delete = Change::DeleteNeighbour { address: *address, link: link.clone() };
    let inverse = before.map_or(Inverse::Change(delete), Inverse::Neighbour);
    kept(netlink.replace_neighbour(&wanted), inverse, done)
}

/// What was not known for good comes and goes by itself, and is not brought back.
pub(super) fn forget(
    netlink: &mut Netlink,
    entry: &NeighbourEntry,
    done: &mut Vec<Inverse>,
) -> Result<(), Error> {
    let outcome = netlink.delete_neighbour(entry.address, entry.index).map(drop);
    match known_for_good(entry) {
        Some(before) => kept(outcome, Inverse::Neighbour(before), done),
        None => outcome,
    }
}

fn known_for_good(entry: &NeighbourEntry) -> Option<NeighbourOnLink> {
    let NeighbourEntry { address, mac, index, permanent } = *entry;
    mac.filter(|_| permanent).map(|mac| NeighbourOnLink { address, mac, index })
}
