//! Carries out one change in the kernel, and answers how to take it back.

use cni_net::sysctl;
use cni_net::{
    AddressOptions, Error, Neighbour as NeighbourOnLink, NewVeth, ReplyMarks, RouteScope,
};
use ipam_core::Family;
use ipnet::IpNet;
use rustix::io::Errno;

use crate::site::Site;
use crate::step::{Change, Marks, Neighbour, Place, Route, Rule, Veth};
use crate::veth::{VETH, is_same_container};

/// The packet filter's table in the pod; of family inet.
pub(crate) const MARKS_TABLE: &str = "cni_coordinator";

/// What takes a change back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inverse {
    /// Another change of the same place.
    Change(Change),
    /// A setting has its value again.
    Setting { key: String, value: String },
    /// The packet filter's table in the pod goes.
    RemoveMarks,
    /// The route that another took the place of is there again.
    Route(cni_net::Route),
    /// The link in the pod goes, and its other end with it.
    DeletePair(String),
}

/// Carries out a change, unless it is there already. `None`: there is nothing to take back.
///
/// Settings are not for here: see [`crate::apply`], which sets many at once.
pub(crate) fn perform(
    place: Place,
    change: &Change,
    site: &mut Site<'_>,
) -> Result<Option<Inverse>, Error> {
    let Some(netlink) = site.netlink(place) else { return Ok(None) };
    match change {
        Change::PutVeth(veth) => return put_veth(veth, site),
        Change::SetAlias { link, alias } => {
            let index = site.index(place, link)?;
            if let Some(netlink) = site.netlink(place) {
                netlink.set_link_alias(index, alias)?;
            }
        }
        Change::SetUp { link } => {
            let index = site.index(place, link)?;
            if let Some(netlink) = site.netlink(place) {
                netlink.set_link_up(index)?;
            }
        }
        Change::SetTxQueueLen { link, packets } => {
            let Some(found) = netlink.link(link)? else { return Ok(None) };
            if found.tx_queue_len != *packets {
                netlink.set_tx_queue_len(found.index, *packets)?;
                let (link, packets) = (link.clone(), found.tx_queue_len);
                return Ok(Some(Inverse::Change(Change::SetTxQueueLen { link, packets })));
            }
        }
        Change::PutAddress { link, address } => {
            let index = site.index(place, link)?;
            let Some(netlink) = site.netlink(place) else { return Ok(None) };
            match netlink.add_address(index, *address, AddressOptions { nodad: true }) {
                Err(error) if is(&error, Errno::EXIST) => {}
                outcome => outcome?,
            }
        }
        Change::SetSysctl { .. } => {}
        Change::ForgetNeighbours { address, link } => {
            let keep = netlink.link(link)?.map(|link| link.index);
            for entry in netlink.neighbours(None)? {
                if entry.address == *address && Some(entry.index) != keep {
                    netlink.delete_neighbour(*address, entry.index)?;
                }
            }
        }
        Change::PutNeighbour(neighbour) => return put_neighbour(place, neighbour, site),
        Change::DeleteNeighbour { address, link } => {
            if let Some(link) = netlink.link(link)? {
                netlink.delete_neighbour(*address, link.index)?;
            }
        }
        Change::ForgetRoutes { dst, table, link } => {
            let keep = netlink.link(link)?.map(|link| link.index);
            for route in netlink.routes(Some(*table))? {
                if route.dst == *dst && Some(route.index) != keep {
                    netlink.delete_route(&route)?;
                }
            }
        }
        Change::PutRoute(route) => return put_route(place, route, site),
        Change::DeleteRoute(route) => {
            let Some(link) = netlink.link(&route.link)? else { return Ok(None) };
            if netlink.delete_route(&on(route, link.index))? {
                return Ok(Some(Inverse::Change(Change::PutRoute(route.clone()))));
            }
        }
        Change::FlushTable { family, table } => {
            for route in netlink.routes(Some(*table))? {
                if Family::of(route.dst.addr()) == *family {
                    netlink.delete_route(&route)?;
                }
            }
        }
        Change::PutRule(rule) => {
            if netlink.add_rule(&kernel_rule(rule))? {
                return Ok(Some(Inverse::Change(Change::DeleteRule(rule.clone()))));
            }
        }
        Change::DeleteRule(rule) => return delete_rule(place, rule, site),
        Change::PutMarks(marks) => return put_marks(marks, site),
        Change::DeleteLink { link, alias } => {
            if let Some(found) = netlink.link(link)?
                && found.alias.is_some_and(|found| is_same_container(&found, alias))
            {
                netlink.delete_link(found.index)?;
            }
        }
    }
    Ok(None)
}

/// Takes a change back.
pub(crate) fn take_back(place: Place, inverse: &Inverse, site: &mut Site<'_>) -> Result<(), Error> {
    match inverse {
        Inverse::Change(change) => perform(place, change, site).map(drop),
        Inverse::Setting { key, value } => {
            site.within(place, || sysctl::write(key, value).map(drop))?.unwrap_or(Ok(()))
        }
        Inverse::RemoveMarks => match site.pod() {
            Some(pod) => pod.nftables()?.delete_table(MARKS_TABLE).map(drop),
            None => Ok(()),
        },
        Inverse::Route(route) => match site.netlink(place) {
            Some(netlink) => netlink.replace_route(route),
            None => Ok(()),
        },
        Inverse::DeletePair(pod) => match (site.link(Place::Pod, pod)?, site.netlink(Place::Pod)) {
            (Some(link), Some(netlink)) => netlink.delete_link(link.index).map(drop),
            _ => Ok(()),
        },
    }
}

/// The pair is taken for whole only if both ends are what they should be: what a killed ADD left
/// may be anything.
fn put_veth(veth: &Veth, site: &mut Site<'_>) -> Result<Option<Inverse>, Error> {
    let inside = site.link(Place::Pod, &veth.pod)?;
    let outside = site.link(Place::Node, &veth.node)?;
    if let (Some(inside), Some(outside)) = (&inside, &outside) {
        let is_pair = inside.parent == Some(outside.index) && outside.parent == Some(inside.index);
        let is_as_planned = inside.mac == Some(veth.pod_mac) && outside.mac == Some(veth.node_mac);
        if is_pair && is_as_planned && inside.kind.as_deref() == Some(VETH) {
            return Ok(None);
        }
    }
    for (place, found) in [(Place::Node, outside), (Place::Pod, inside)] {
        if let (Some(netlink), Some(found)) = (site.netlink(place), found) {
            netlink.delete_link(found.index)?;
        }
    }
    let own = cni_net::Netns::current()?;
    let Some(netlink) = site.netlink(Place::Pod) else { return Ok(None) };
    netlink.add_veth(&NewVeth {
        name: &veth.pod,
        peer_name: &veth.node,
        peer_netns: &own,
        mac: veth.pod_mac,
        peer_mac: veth.node_mac,
        mtu: veth.mtu,
        tx_queue_len: None,
    })?;
    Ok(Some(Inverse::DeletePair(veth.pod.clone())))
}

fn put_neighbour(
    place: Place,
    neighbour: &Neighbour,
    site: &mut Site<'_>,
) -> Result<Option<Inverse>, Error> {
    let Neighbour { address, mac, link } = neighbour;
    let index = site.index(place, link)?;
    let Some(netlink) = site.netlink(place) else { return Ok(None) };
    let is_there = netlink
        .neighbours(Some(index))?
        .iter()
        .any(|entry| entry.address == *address && entry.mac == Some(*mac) && entry.permanent);
    if is_there {
        return Ok(None);
    }
    netlink.replace_neighbour(&NeighbourOnLink { address: *address, mac: *mac, index })?;
    let inverse = Change::DeleteNeighbour { address: *address, link: link.clone() };
    Ok(Some(Inverse::Change(inverse)))
}

/// Added where there is none: that shows at once whether it is new. Where there is one, it is
/// looked at, and stays if it is the same.
fn put_route(place: Place, wanted: &Route, site: &mut Site<'_>) -> Result<Option<Inverse>, Error> {
    let index = site.index(place, &wanted.link)?;
    let route = on(wanted, index);
    let Some(netlink) = site.netlink(place) else { return Ok(None) };
    match netlink.add_route(&route) {
        Ok(()) => return Ok(Some(Inverse::Change(Change::DeleteRoute(wanted.clone())))),
        Err(error) if is(&error, Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let there = netlink.routes(Some(wanted.table))?;
    if there.iter().any(|found| is_it(found, &route)) {
        return Ok(None);
    }
    // The one that it takes the place of: of the same metric, where one was asked for.
    let before = there.into_iter().find(|found| {
        found.dst == route.dst && (route.metric.is_none() || found.metric == route.metric)
    });
    netlink.replace_route(&route)?;
    Ok(Some(match before {
        Some(before) => Inverse::Route(before),
        None => Inverse::Change(Change::DeleteRoute(wanted.clone())),
    }))
}

fn delete_rule(place: Place, rule: &Rule, site: &mut Site<'_>) -> Result<Option<Inverse>, Error> {
    let Some(netlink) = site.netlink(place) else { return Ok(None) };
    if netlink.delete_rule(&kernel_rule(rule))? {
        return Ok(Some(Inverse::Change(Change::PutRule(rule.clone()))));
    }
    Ok(None)
}

fn put_marks(marks: &Marks, site: &mut Site<'_>) -> Result<Option<Inverse>, Error> {
    let Some(pod) = site.pod() else { return Ok(None) };
    let mut nftables = pod.nftables()?;
    let wanted = reply_marks(marks);
    if nftables.reply_marks_difference(&wanted)?.is_none() {
        return Ok(None);
    }
    nftables.put_reply_marks(&wanted)?;
    Ok(Some(Inverse::RemoveMarks))
}

/// The marks as the packet filter is told.
pub fn reply_marks(marks: &Marks) -> ReplyMarks {
    ReplyMarks {
        table: MARKS_TABLE.to_owned(),
        interface: marks.link.clone(),
        mark: marks.mark.into(),
    }
}

/// A rule as the kernel is told.
pub(crate) fn kernel_rule(rule: &Rule) -> cni_net::Rule {
    let family = match rule.family {
        Family::V4 => cni_net::Family::V4,
        Family::V6 => cni_net::Family::V6,
    };
    cni_net::Rule {
        from: rule.from,
        mark: rule.mark.map(Into::into),
        protocol: Some(rule.protocol),
        ..cni_net::Rule::new(family, rule.preference, rule.table)
    }
}

/// A route over the link with this number.
pub(crate) fn on(route: &Route, index: u32) -> cni_net::Route {
    cni_net::Route {
        table: Some(route.table),
        metric: route.metric,
        scope: (route.link_scope && matches!(route.dst, IpNet::V4(_))).then_some(RouteScope::LINK),
        mtu: route.mtu,
        advmss: route.advmss,
        source: route.source,
        onlink: route.onlink,
        protocol: Some(route.protocol),
        ..cni_net::Route::new(route.dst, route.via, index)
    }
}

/// Whether a route that was read is the one that is wanted. What the kernel fills in (scope, an
/// IPv6 metric) counts only where it was asked for.
pub(crate) fn is_it(found: &cni_net::Route, wanted: &cni_net::Route) -> bool {
    let same = |found: Option<u32>, wanted: Option<u32>| wanted.is_none() || found == wanted;
    found.dst == wanted.dst
        && found.via == wanted.via
        && found.index == wanted.index
        && found.table == wanted.table
        && found.source == wanted.source
        && found.protocol == wanted.protocol
        && same(found.metric, wanted.metric)
        && same(found.mtu, wanted.mtu)
        && same(found.advmss, wanted.advmss)
}

fn is(error: &Error, errno: Errno) -> bool {
    error.errno() == Some(errno.raw_os_error())
}
