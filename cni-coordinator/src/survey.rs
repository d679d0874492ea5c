//! Looks at the pod and the node, for a plan.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use cni_net::{Address, Error, Link, Netlink, Netns};
use ipam_core::{Attachment, Family};
use ipnet::IpNet;

use crate::mark::Mark;
use crate::numbers::is_own_or_main;
use crate::scene::{NodeLink, NodeScene, PodLink, PodScene, Scene};
use crate::site::Site;
use crate::step::{Place, Route, Rule};
use crate::veth::VETH;

/// What there is for the interface of `attachment`, but for the records of its container.
///
/// # Errors
///
/// The kernel's; `Ok(None)` if the pod's namespace is gone.
pub fn survey(
    site: &mut Site<'_>,
    attachment: &Attachment,
    netns: &Path,
) -> Result<Option<Scene>, Error> {
    let node_number = match (Netns::current()?, site.netlink(Place::Pod)) {
        (own, Some(inside)) => inside.netns_number(&own)?,
        (_, None) => return Ok(None),
    };
    let Some(inside) = site.netlink(Place::Pod) else { return Ok(None) };
    let pod = pod(inside, node_number)?;
    let addresses = pod.link(attachment.ifname.as_str());
    let addresses: Vec<IpAddr> =
        addresses.iter().flat_map(|link| link.addresses.iter().map(IpNet::addr)).collect();
    let Some(outside) = site.netlink(Place::Node) else { return Ok(None) };
    let node = node(outside, &addresses)?;
    Ok(Some(Scene {
        attachment: attachment.clone(),
        netns: netns.to_path_buf(),
        pod,
        node,
        wirings: Vec::new(),
    }))
}

fn pod(inside: &mut Netlink, node_number: Option<i32>) -> Result<PodScene, Error> {
    let links = inside.links()?;
    let addresses = by_link(inside.all_addresses()?);
    let names = names(&links);
    let routes = inside.routes(None)?.into_iter();
    let routes = routes.filter(|route| route.table.is_some_and(is_own_or_main));
    let routes = routes.filter_map(|route| named(&route, &names)).collect();
    let rules = inside.rules()?.iter().filter_map(rule).collect();
    let on_node = |link: &Link| {
        let is_there = link.parent_netns.is_some() && link.parent_netns == node_number;
        link.parent.filter(|_| link.kind.as_deref() == Some(VETH) && is_there)
    };
    let links = links
        .into_iter()
        .map(|link| PodLink {
            index: link.index,
            up: link.up,
            broadcast: link.broadcast,
            multicast: link.multicast,
            mac: link.mac,
            mtu: link.mtu,
            addresses: addresses.get(&link.index).cloned().unwrap_or_default(),
            peer: on_node(&link),
            kind: link.kind,
            name: link.name,
        })
        .collect();
    Ok(PodScene { links, routes, rules })
}

fn node(outside: &mut Netlink, pod: &[IpAddr]) -> Result<NodeScene, Error> {
    let mut sources = Vec::new();
    for address in pod {
        // Without a route there is no source, and the addresses of the links count.
        sources.extend(outside.route_to(*address)?.and_then(|route| route.source));
    }
    let mut addresses = by_link(outside.all_addresses()?);
    let links = outside
        .links()?
        .into_iter()
        .map(|link| NodeLink {
            index: link.index,
            addresses: addresses
                .remove(&link.index)
                .unwrap_or_default()
                .iter()
                .map(IpNet::addr)
                .collect(),
            name: link.name,
            mac: link.mac,
            kind: link.kind,
            alias: link.alias,
        })
        .collect();
    Ok(NodeScene { sources, links })
}

fn by_link(addresses: Vec<Address>) -> BTreeMap<u32, Vec<IpNet>> {
    let mut links: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
    for address in addresses.into_iter().filter(|address| !address.duplicate) {
        links.entry(address.index).or_default().push(address.net);
    }
    links
}

fn names(links: &[Link]) -> BTreeMap<u32, &str> {
    links.iter().map(|link| (link.index, link.name.as_str())).collect()
}

/// A route by the name of its link.
pub(crate) fn named(route: &cni_net::Route, names: &BTreeMap<u32, &str>) -> Option<Route> {
    Some(Route {
        dst: route.dst,
        via: route.via,
        link: (*names.get(&route.index)?).to_owned(),
        table: route.table?,
        source: route.source,
        metric: route.metric,
        mtu: route.mtu,
        advmss: route.advmss,
        link_scope: route.scope == Some(cni_net::RouteScope::LINK)
            && Family::of(route.dst.addr()) == Family::V4,
        onlink: route.onlink,
        protocol: route.protocol.unwrap_or(0),
    })
}

/// A rule that names no more than ours can; others are nobody's that a plan would meet.
fn rule(rule: &cni_net::Rule) -> Option<Rule> {
    let mark = match rule.mark {
        None => None,
        // A mark that is none of ours: no rule of ours either.
        Some(mark) => Some(Mark::new(mark.value, mark.mask)?),
    };
    let family = match rule.family {
        cni_net::Family::V4 => Family::V4,
        cni_net::Family::V6 => Family::V6,
    };
    rule.to.is_none().then_some(Rule {
        family,
        preference: rule.priority,
        from: rule.from,
        mark,
        table: rule.table,
        protocol: rule.protocol.unwrap_or(0),
    })
}
