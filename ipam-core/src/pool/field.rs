//! The fields of a pool's document, each checked by itself and against the subnet.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use ipnet::IpNet;

use super::{MOST_RANGES, Route};
use crate::addr::Family;
use crate::document::RouteSpec;
use crate::labels::{LabelSelector, Selector};
use crate::range::AddressRange;
use crate::range_set::RangeSet;
use crate::violation::{Violation, Violations};

/// `subnet`.
pub(super) fn subnet(text: &str) -> Result<IpNet, String> {
    let subnet: IpNet =
        text.parse().map_err(|_| "it must be a CIDR, as in 172.31.192.0/20".to_string())?;
    if subnet.addr() == subnet.network() {
        Ok(subnet)
    } else {
        Err(alloc::format!("it has bits set behind its prefix: write {}", subnet.trunc()))
    }
}

fn in_subnet(text: &str, subnet: Option<IpNet>) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| "it must be an address".to_string())?;
    match subnet {
        Some(subnet) if !subnet.contains(&address) => Err(outside(subnet)),
        _ => Ok(address),
    }
}

/// An IPv6 router may be known by its link-local address alone (RFC 4861 §6.1.2), as the one of an
/// AWS subnet is.
pub(super) fn gateway(text: &str, subnet: Option<IpNet>) -> Result<IpAddr, String> {
    match (text.parse(), subnet) {
        (Ok(IpAddr::V6(gateway)), Some(IpNet::V6(_))) if gateway.is_unicast_link_local() => {
            Ok(gateway.into())
        }
        _ => in_subnet(text, subnet),
    }
}

fn outside(subnet: IpNet) -> String {
    alloc::format!("it must lie in the subnet {subnet}")
}

/// `ips` or `excludeIPs`.
pub(super) fn ranges(
    broken: &mut Violations,
    field: &str,
    texts: &[String],
    subnet: Option<IpNet>,
) -> RangeSet {
    if texts.len() > MOST_RANGES {
        let rule = alloc::format!("{} entries: at most {MOST_RANGES}", texts.len());
        broken.push(Violation::new(field, "[...]", rule));
        return RangeSet::new();
    }
    let whole = subnet.map(|subnet| RangeSet::from(AddressRange::from(subnet)));
    let parse = |text: &str| -> Result<AddressRange, String> {
        let range: AddressRange = text.parse().map_err(|error| alloc::format!("{error}"))?;
        match (subnet, &whole) {
            (Some(subnet), Some(whole)) if !RangeSet::from(range).is_subset(whole) => {
                Err(outside(subnet))
            }
            _ => Ok(range),
        }
    };
    texts
        .iter()
        .enumerate()
        .filter_map(|(index, text)| {
            broken.note(&alloc::format!("{field}[{index}]"), text, parse(text))
        })
        .collect()
}

/// An affinity.
pub(super) fn selector(
    broken: &mut Violations,
    field: &str,
    document: Option<&LabelSelector>,
) -> Option<Selector> {
    match Selector::new(document?) {
        Ok(selector) => Some(selector),
        Err(faults) => {
            for (path, rule) in faults {
                broken.push(Violation::new(&alloc::format!("{field}.{path}"), "", rule));
            }
            None
        }
    }
}

/// `routes`.
pub(super) fn routes(
    broken: &mut Violations,
    specs: &[RouteSpec],
    subnet: Option<IpNet>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut destinations = BTreeSet::new();
    for (index, spec) in specs.iter().enumerate() {
        let dst = spec.dst.parse::<IpNet>().map(|dst| dst.trunc());
        let dst = match dst {
            Err(_) => Err("it must be a CIDR".to_string()),
            Ok(dst) if subnet.is_some_and(|s| Family::of(s.addr()) != Family::of(dst.addr())) => {
                Err("it must be of the subnet's family".to_string())
            }
            Ok(dst) if dst.prefix_len() == 0 => {
                Err("the default route comes from spec.gateway".to_string())
            }
            Ok(dst) if !destinations.insert(dst) => {
                Err("another route has the same destination".to_string())
            }
            Ok(dst) => Ok(dst),
        };
        let dst = broken.note(&alloc::format!("spec.routes[{index}].dst"), &spec.dst, dst);
        let gateway = in_subnet(&spec.gw, subnet);
        let gateway = broken.note(&alloc::format!("spec.routes[{index}].gw"), &spec.gw, gateway);
        if let (Some(dst), Some(gateway)) = (dst, gateway) {
            routes.push(Route { dst, gateway });
        }
    }
    routes
}

/// A list of names.
pub(super) fn names<T: FromStr<Err: fmt::Display>>(
    broken: &mut Violations,
    field: &str,
    texts: &[String],
) -> Vec<T> {
    texts
        .iter()
        .enumerate()
        .filter_map(|(index, text)| {
            broken.note(&alloc::format!("{field}[{index}]"), text, text.parse())
        })
        .collect()
}
