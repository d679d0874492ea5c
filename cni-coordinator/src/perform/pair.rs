//! The pair of links that joins a pod with its node.

use cni_net::{Error, Link, MacAddr, NewVeth};

use super::{Inverse, kept};
use crate::site::Site;
use crate::step::{Place, Veth};
use crate::veth::{VETH, is_same_container};

/// Whether a link is a container's: its alias says so, or, before it has one, its MAC, which follows
/// from the container's id.
pub(super) fn is_of_container(link: &Link, alias: &str, mac: MacAddr) -> bool {
    match &link.alias {
        Some(found) => is_same_container(found, alias),
        None => link.kind.as_deref() == Some(VETH) && link.mac == Some(mac),
    }
}

/// What is not as planned about a pair, of which these links have the names; `None` if it is whole.
/// Both ends are looked at: what a killed ADD left may be anything.
pub(crate) fn pair_difference(
    veth: &Veth,
    inside: Option<&Link>,
    outside: Option<&Link>,
) -> Option<String> {
    let no_link = |name: &str| Some(format!("there is no link {name}"));
    let Some(inside) = inside else { return no_link(&veth.pod) };
    let Some(outside) = outside else { return no_link(&veth.node) };
    let shown = |mac: Option<MacAddr>| mac.map_or_else(|| "no MAC".to_owned(), |it| it.to_string());
    if inside.kind.as_deref() != Some(VETH) {
        let kind = inside.kind.as_deref().unwrap_or("no kind");
        Some(format!("{} is of {kind} and not of {VETH}", veth.pod))
    } else if inside.parent != Some(outside.index) || outside.parent != Some(inside.index) {
        Some(format!("{} is not the other end of {}", veth.node, veth.pod))
    } else if inside.mac != Some(veth.pod_mac) {
        Some(format!("{} has {}", veth.pod, shown(inside.mac)))
    } else if outside.mac != Some(veth.node_mac) {
        Some(format!("{} has {}", veth.node, shown(outside.mac)))
    } else {
        None
    }
}

pub(super) fn put(veth: &Veth, site: &mut Site<'_>, done: &mut Vec<Inverse>) -> Result<(), Error> {
    let inside = site.link(Place::Pod, &veth.pod)?;
    let outside = site.link(Place::Node, &veth.node)?;
    if pair_difference(veth, inside.as_ref(), outside.as_ref()).is_none() {
        return Ok(());
    }
    for (place, found) in [(Place::Node, outside), (Place::Pod, inside)] {
        if let (Some(netlink), Some(found)) = (site.netlink(place), found) {
            netlink.delete_link(found.index)?;
        }
    }
    let own = cni_net::Netns::current()?;
    let Some(netlink) = site.netlink(Place::Pod) else { return Ok(()) };
    let outcome = netlink.add_veth(&NewVeth {
        name: &veth.pod,
        peer_name: &veth.node,
        peer_netns: &own,
        mac: veth.pod_mac,
        peer_mac: veth.node_mac,
        mtu: veth.mtu,
        tx_queue_len: None,
    });
    kept(outcome, Inverse::DeletePair(veth.pod.clone()), done)
}
