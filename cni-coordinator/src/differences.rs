//! Whether what a plan wants is there: for CHECK.

use std::collections::BTreeMap;

use cni_net::{Error, sysctl};
use ipam_core::Family;

use crate::numbers::MAIN_TABLE;
use crate::perform::{is_default, is_it, kernel_rule, on, pair_difference, reply_marks};
use crate::site::Site;
use crate::step::{Change, Need, Place, Step};

/// The first of the steps that have to succeed which is not as it was left, in words; `None` if
/// every one is.
///
/// # Errors
///
/// The kernel's, where it could not be looked at.
pub fn first_difference(steps: &[Step], site: &mut Site<'_>) -> Result<Option<String>, Error> {
    for step in steps.iter().filter(|step| step.need == Need::Must) {
        if let Some(found) = difference(step.place, &step.change, site)? {
            return Ok(Some(format!("`{step}` is not so: {found}")));
        }
    }
    Ok(None)
}

fn difference(place: Place, change: &Change, site: &mut Site<'_>) -> Result<Option<String>, Error> {
    if site.netlink(place).is_none() {
        return Ok(None);
    }
    let no_link = |name: &str| Some(format!("there is no link {name}"));
    Ok(match change {
        Change::PutVeth(veth) => {
            let inside = site.link(Place::Pod, &veth.pod)?;
            let outside = site.link(Place::Node, &veth.node)?;
            pair_difference(veth, inside.as_ref(), outside.as_ref())
        }
        Change::SetAlias { link, alias } => match site.link(place, link)? {
            Some(found) if found.alias.as_ref() == Some(alias) => None,
            Some(found) => Some(format!("its alias is {:?}", found.alias.unwrap_or_default())),
            None => no_link(link),
        },
        Change::SetUp { link } => match site.link(place, link)? {
            Some(found) => (!found.up).then(|| "it is down".to_owned()),
            None => no_link(link),
        },
        Change::SetTxQueueLen { link, packets } => match site.link(place, link)? {
            Some(found) if found.tx_queue_len == *packets => None,
            Some(found) => Some(format!("it is {}", found.tx_queue_len)),
            None => no_link(link),
        },
        Change::PutAddress { link, address } => {
            let index = site.index(place, link)?;
            let found = site.netlink(place).map_or(Ok(Vec::new()), |it| it.addresses(index))?;
            let is_there = found.iter().any(|found| found.net == *address);
            (!is_there).then(|| "the address is gone".to_owned())
        }
        Change::SetSysctl { key, value } => {
            let found = site.within(place, || sysctl::read(key))?.unwrap_or(Ok(None))?;
            found.filter(|found| *found != value.to_string()).map(|found| format!("it is {found}"))
        }
        Change::PutRoute(_)
        | Change::DeleteRoute(_)
        | Change::ForgetRoutes { .. }
        | Change::FlushTable { .. }
        | Change::ReturnDefault { .. } => of_route(place, change, site)?,
        Change::PutNeighbour(_)
        | Change::DeleteNeighbour { .. }
        | Change::ForgetNeighbours { .. } => of_neighbour(place, change, site)?,
        Change::PutRule(rule) => {
            let rules = site.netlink(place).map_or(Ok(Vec::new()), cni_net::Netlink::rules)?;
            (!rules.contains(&kernel_rule(rule))).then(|| "there is no such rule".to_owned())
        }
        Change::DeleteRule(rule) => {
            let rules = site.netlink(place).map_or(Ok(Vec::new()), cni_net::Netlink::rules)?;
            rules.contains(&kernel_rule(rule)).then(|| "it is there".to_owned())
        }
        Change::PutMarks(marks) => match site.pod() {
            Some(pod) => pod.nftables()?.reply_marks_difference(&reply_marks(marks))?,
            None => None,
        },
        Change::DeleteLink { link, .. } => {
            site.link(place, link)?.map(|_| "it is there".to_owned())
        }
    })
}

fn of_route(place: Place, change: &Change, site: &mut Site<'_>) -> Result<Option<String>, Error> {
    let mut routes =
        |table| site.netlink(place).map_or(Ok(Vec::new()), |netlink| netlink.routes(Some(table)));
    Ok(match change {
        Change::PutRoute(wanted) => {
            let there = routes(wanted.table)?;
            let Some(link) = site.link(place, &wanted.link)? else {
                return Ok(Some(format!("there is no link {}", wanted.link)));
            };
            let wanted = on(wanted, link.index);
            let mut same = there.iter().filter(|found| found.dst == wanted.dst);
            if there.iter().any(|found| is_it(found, &wanted)) {
                None
            } else if let Some(other) = same.next() {
                Some(format!("there is {other}"))
            } else {
                Some("there is no route to it".to_owned())
            }
        }
        Change::DeleteRoute(unwanted) => {
            let there = routes(unwanted.table)?;
            let Some(link) = site.link(place, &unwanted.link)? else { return Ok(None) };
            let unwanted = on(unwanted, link.index);
            there.iter().any(|found| is_it(found, &unwanted)).then(|| "it is there".to_owned())
        }
        Change::ForgetRoutes { dst, table, link } => {
            let there = routes(*table)?;
            let keep = site.link(place, link)?.map(|link| link.index);
            let other = there.iter().find(|it| it.dst == *dst && Some(it.index) != keep);
            other.map(|other| format!("there is {other}"))
        }
        Change::FlushTable { family, table } => {
            let there = routes(*table)?;
            let left = there.iter().find(|route| Family::of(route.dst.addr()) == *family);
            left.map(|left| format!("there is {left}"))
        }
        Change::ReturnDefault { family, table, leaving } => {
            let there = routes(MAIN_TABLE)?;
            let could = routes(*table)?;
            let leaving = site.link(place, leaving)?.map(|link| link.index);
            let is_default = |route: &&cni_net::Route| is_default(route, *family, leaving);
            let lacks =
                !there.iter().any(|it| is_default(&it)) && could.iter().any(|it| is_default(&it));
            lacks.then(|| "the main table has none".to_owned())
        }
        _ => None,
    })
}

fn of_neighbour(
    place: Place,
    change: &Change,
    site: &mut Site<'_>,
) -> Result<Option<String>, Error> {
    let (address, link) = match change {
        Change::PutNeighbour(neighbour) => (neighbour.address, &neighbour.link),
        Change::DeleteNeighbour { address, link } | Change::ForgetNeighbours { address, link } => {
            (*address, link)
        }
        _ => return Ok(None),
    };
    let link = site.link(place, link)?;
    let entries = site.netlink(place).map_or(Ok(Vec::new()), |it| it.neighbours(None))?;
    // By link: the address may be known on several.
    let known: BTreeMap<u32, _> = entries
        .into_iter()
        .filter(|entry| entry.address == address)
        .map(|entry| (entry.index, entry))
        .collect();
    let on_link = link.and_then(|link| known.get(&link.index).copied());
    Ok(match change {
        Change::PutNeighbour(wanted) => match on_link {
            Some(found) if found.permanent && found.mac == Some(wanted.mac) => None,
            Some(found) if found.permanent => Some(format!("it is at {}", shown(found.mac))),
            _ => Some("it is not known for good".to_owned()),
        },
        Change::DeleteNeighbour { .. } => on_link.map(|_| "it is known".to_owned()),
        _ => {
            let own = on_link.map(|entry| entry.index);
            let other = known.keys().find(|index| Some(**index) != own);
            other.map(|index| format!("link {index} has an entry for it"))
        }
    })
}

fn shown(mac: Option<cni_net::MacAddr>) -> String {
    mac.map_or_else(|| "no MAC".to_owned(), |mac| mac.to_string())
}
