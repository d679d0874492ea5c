//! Routes, as a plan has them and as the kernel does.

use cni_net::{Error, Netlink, RouteScope};
use ipam_core::Family;
use ipnet::IpNet;
use rustix::io::Errno;

use super::{Inverse, is, kept};
use crate::site::Site;
use crate::step::{Change, Place, Route};

/// Added where there is none: that shows at once whether it is new. Where there is one, it is
/// looked at, and stays if it is the same.
pub(super) fn put(
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

pub(super) fn delete(
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
