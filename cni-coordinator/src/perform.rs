//! Carries out one change in the kernel, and answers how to take it back.

use cni_net::sysctl;
use cni_net::{
    AddressOptions, Error, Link, MacAddr, Neighbour as NeighbourOnLink, NeighbourEntry, Netlink,
    NewVeth, ReplyMarks, RouteScope,
};
use ipam_core::Family;
use ipnet::IpNet;
use rustix::io::Errno;

use crate::numbers::MAIN_TABLE;
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
    /// The route is there again, beside any that shares its destination.
    AppendRoute(cni_net::Route),
    /// The neighbour is known for ever again.
    Neighbour(NeighbourOnLink),
    /// The link in the pod goes, and its other end with it.
    DeletePair(String),
}

/// Keeps what takes a request back, if it was done or may have been: an answer can be lost.
pub(crate) fn kept(
    outcome: Result<(), Error>,
    inverse: Inverse,
    done: &mut Vec<Inverse>,
) -> Result<(), Error> {
    if matches!(outcome, Ok(()) | Err(Error::Protocol { .. })) {
        done.push(inverse);
    }
    outcome
}

/// Carries out a change, unless it is there already, and adds to `done` what takes it back.
///
/// Settings are not for here: see [`crate::apply`], which sets many at once.
pub(crate) fn perform(
    place: Place,
    change: &Change,
    site: &mut Site<'_>,
    done: &mut Vec<Inverse>,
) -> Result<(), Error> {
    let Some(netlink) = site.netlink(place) else { return Ok(()) };
    match change {
        Change::PutVeth(veth) => put_veth(veth, site, done),
        Change::SetAlias { link, alias } => {
            let index = site.index(place, link)?;
            site.netlink(place).map_or(Ok(()), |netlink| netlink.set_link_alias(index, alias))
        }
        Change::SetUp { link } => {
            let index = site.index(place, link)?;
            site.netlink(place).map_or(Ok(()), |netlink| netlink.set_link_up(index))
        }
        Change::SetTxQueueLen { link, packets } => {
            let Some(found) = netlink.link(link)? else { return Ok(()) };
            if found.tx_queue_len == *packets {
                return Ok(());
            }
            let before = (link.clone(), found.tx_queue_len);
            let before = Change::SetTxQueueLen { link: before.0, packets: before.1 };
            let outcome = netlink.set_tx_queue_len(found.index, *packets);
            kept(outcome, Inverse::Change(before), done)
        }
        Change::PutAddress { link, address } => {
            let index = site.index(place, link)?;
            let Some(netlink) = site.netlink(place) else { return Ok(()) };
            match netlink.add_address(index, *address, AddressOptions { nodad: true }) {
                Err(error) if is(&error, Errno::EXIST) => Ok(()),
                outcome => outcome,
            }
        }
        Change::SetSysctl { .. } => Ok(()),
        Change::ForgetNeighbours { address, link } => {
            let keep = netlink.link(link)?.map(|link| link.index);
            for entry in netlink.neighbours(None)? {
                if entry.address == *address && Some(entry.index) != keep {
                    forget(netlink, &entry, done)?;
                }
            }
            Ok(())
        }
        Change::PutNeighbour(neighbour) => put_neighbour(place, neighbour, site, done),
        Change::DeleteNeighbour { address, link } => match netlink.link(link)? {
            Some(link) => netlink.delete_neighbour(*address, link.index).map(drop),
            None => Ok(()),
        },
        Change::ForgetRoutes { dst, table, link } => {
            let keep = netlink.link(link)?.map(|link| link.index);
            for route in netlink.routes(Some(*table))? {
                if route.dst == *dst && Some(route.index) != keep {
                    delete_route(netlink, &route, done)?;
                }
            }
            Ok(())
        }
        Change::PutRoute(route) => put_route(place, route, site, done),
        Change::DeleteRoute(route) => {
            let Some(link) = netlink.link(&route.link)? else { return Ok(()) };
            delete_route(netlink, &on(route, link.index), done)
        }
        Change::FlushTable { family, table } => {
            for route in netlink.routes(Some(*table))? {
                if Family::of(route.dst.addr()) == *family {
                    netlink.delete_route(&route)?;
                }
            }
            Ok(())
        }
        Change::ReturnDefault { family, table, leaving } => {
            let leaving = netlink.link(leaving)?.map(|link| link.index);
            let is_it = |route: &cni_net::Route| is_default(route, *family, leaving);
            if netlink.routes(Some(MAIN_TABLE))?.iter().any(is_it) {
                return Ok(());
            }
            for route in netlink.routes(Some(*table))?.into_iter().filter(is_it) {
                netlink.replace_route(&cni_net::Route { table: Some(MAIN_TABLE), ..route })?;
            }
            Ok(())
        }
        // The node's is for all pods: another ADD may have found it by now, and it stays.
        Change::PutRule(rule) if place == Place::Node => {
            netlink.add_rule(&kernel_rule(rule)).map(drop)
        }
        Change::PutRule(rule) => match netlink.add_rule(&kernel_rule(rule)) {
            Ok(false) => Ok(()),
            outcome => {
                let inverse = Inverse::Change(Change::DeleteRule(rule.clone()));
                kept(outcome.map(drop), inverse, done)
            }
        },
        Change::DeleteRule(rule) => netlink.delete_rule(&kernel_rule(rule)).map(drop),
        Change::PutMarks(marks) => put_marks(marks, site, done),
        Change::DeleteLink { link, alias, mac } => match netlink.link(link)? {
            Some(found) if is_of_container(&found, alias, *mac) => {
                netlink.delete_link(found.index).map(drop)
            }
            _ => Ok(()),
        },
    }
}

/// Takes a change back.
pub(crate) fn take_back(place: Place, inverse: &Inverse, site: &mut Site<'_>) -> Result<(), Error> {
    let Some(netlink) = site.netlink(place) else { return Ok(()) };
    match inverse {
        Inverse::Change(change) => perform(place, change, site, &mut Vec::new()),
        Inverse::Setting { key, value } => {
            site.within(place, || sysctl::write(key, value).map(drop))?.unwrap_or(Ok(()))
        }
        Inverse::RemoveMarks => match site.pod() {
            Some(pod) => pod.nftables()?.delete_table(MARKS_TABLE).map(drop),
            None => Ok(()),
        },
        Inverse::Route(route) => netlink.replace_route(route),
        Inverse::AppendRoute(route) => netlink.append_route(route),
        Inverse::Neighbour(neighbour) => netlink.replace_neighbour(neighbour),
        Inverse::DeletePair(pod) => match netlink.link(pod)? {
            Some(link) => netlink.delete_link(link.index).map(drop),
            None => Ok(()),
        },
    }
}

/// Whether a link is a container's: its alias says so, or, before it has one, its MAC, which follows
/// from the container's id.
fn is_of_container(link: &Link, alias: &str, mac: MacAddr) -> bool {
    match &link.alias {
        Some(found) => is_same_container(found, alias),
        None => link.kind.as_deref() == Some(VETH) && link.mac == Some(mac),
    }
}

/// The pair is taken for whole only if both ends are what they should be: what a killed ADD left
/// may be anything.
fn put_veth(veth: &Veth, site: &mut Site<'_>, done: &mut Vec<Inverse>) -> Result<(), Error> {
    let inside = site.link(Place::Pod, &veth.pod)?;
    let outside = site.link(Place::Node, &veth.node)?;
    if let (Some(inside), Some(outside)) = (&inside, &outside) {
        let is_pair = inside.parent == Some(outside.index) && outside.parent == Some(inside.index);
        let is_as_planned = inside.mac == Some(veth.pod_mac) && outside.mac == Some(veth.node_mac);
        if is_pair && is_as_planned && inside.kind.as_deref() == Some(VETH) {
            return Ok(());
        }
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

fn put_neighbour(
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
fn forget(
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

/// Added where there is none: that shows at once whether it is new. Where there is one, it is
/// looked at, and stays if it is the same.
fn put_route(
    place: Place,
    wanted: &Route,
    site: &mut Site<'_>,
    done: &mut Vec<Inverse>,
) -> Result<(), Error> {
    let index = site.index(place, &wanted.link)?;
    let route = on(wanted, index);
    let Some(netlink) = site.netlink(place) else { return Ok(()) };
    let inverse = Inverse::Change(Change::DeleteRoute(wanted.clone()));
    match netlink.add_route(&route) {
        Err(error) if is(&error, Errno::EXIST) => {}
        outcome => return kept(outcome, inverse, done),
    }
    let there = netlink.routes(Some(wanted.table))?;
    if there.iter().any(|found| is_it(found, &route)) {
        return Ok(());
    }
    // The one that it takes the place of.
    let is_before =
        |found: &cni_net::Route| found.dst == route.dst && metric(found) == metric(&route);
    let before = there.into_iter().find(is_before);
    kept(netlink.replace_route(&route), before.map_or(inverse, Inverse::Route), done)
}

fn delete_route(
    netlink: &mut Netlink,
    route: &cni_net::Route,
    done: &mut Vec<Inverse>,
) -> Result<(), Error> {
    match netlink.delete_route(route) {
        Ok(false) => Ok(()),
        outcome => kept(outcome.map(drop), Inverse::AppendRoute(route.clone()), done),
    }
}

/// The kernel's own where none is given (`IP6_RT_PRIO_USER` of `net/ip6_fib.h`).
fn metric(route: &cni_net::Route) -> u32 {
    let own = if route.dst.addr().is_ipv6() { 1024 } else { 0 };
    route.metric.unwrap_or(own)
}

/// Whether it is a default route of the family that stays when `leaving` goes.
pub(crate) fn is_default(route: &cni_net::Route, family: Family, leaving: Option<u32>) -> bool {
    route.dst.prefix_len() == 0
        && Family::of(route.dst.addr()) == family
        && Some(route.index) != leaving
}

fn put_marks(marks: &Marks, site: &Site<'_>, done: &mut Vec<Inverse>) -> Result<(), Error> {
    let Some(pod) = site.pod() else { return Ok(()) };
    let mut nftables = pod.nftables()?;
    let wanted = reply_marks(marks);
    if nftables.reply_marks_difference(&wanted)?.is_none() {
        return Ok(());
    }
    kept(nftables.put_reply_marks(&wanted), Inverse::RemoveMarks, done)
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
