//! Carries out one change in the kernel, and answers how to take it back.

use cni_net::sysctl;
use cni_net::{AddressOptions, Error, Neighbour as NeighbourOnLink, ReplyMarks};
use ipam_core::Family;
use rustix::io::Errno;

use crate::numbers::MAIN_TABLE;
use crate::site::Site;
use crate::step::{Change, Marks, Place, Rule};

mod neighbour;
mod pair;
mod route;

use pair::is_of_container;
pub(crate) use pair::pair_difference;
pub(crate) use route::{is_default, is_it, on};

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
        Change::PutVeth(veth) => pair::put(veth, site, done),
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
                    neighbour::forget(netlink, &entry, done)?;
                }
            }
            Ok(())
        }
        Change::PutNeighbour(neighbour) => neighbour::put(place, neighbour, site, done),
        Change::DeleteNeighbour { address, link } => match netlink.link(link)? {
            Some(link) => netlink.delete_neighbour(*address, link.index).map(drop),
            None => Ok(()),
        },
        Change::ForgetRoutes { dst, table, link } => {
            let keep = netlink.link(link)?.map(|link| link.index);
            for route in netlink.routes(Some(*table))? {
                if route.dst == *dst && Some(route.index) != keep {
                    route::delete(netlink, &route, done)?;
                }
            }
            Ok(())
        }
        Change::PutRoute(wanted) => route::put(place, wanted, site, done),
        Change::DeleteRoute(unwanted) => {
            let Some(link) = netlink.link(&unwanted.link)? else { return Ok(()) };
            route::delete(netlink, &on(unwanted, link.index), done)
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

fn is(error: &Error, errno: Errno) -> bool {
    error.errno() == Some(errno.raw_os_error())
}
