//! Performs a plan in the kernel, all of it or nothing.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cni_net::sysctl::{self, Written};
use cni_net::{
    AddressOptions, Error, Link, Netlink, Netns, NewIpvlan, Operation, Route, Undo, UndoError,
};
use ipnet::IpNet;

use crate::interrupt::{Interrupt, Interrupted};
use crate::plan::{Need, Step};
use crate::plugin::warn;

/// The kind of link that this plugin makes and takes away, as the kernel names it.
pub(crate) const IPVLAN: &str = "ipvlan";

/// The metric from which routes of further interfaces count: above every default of the kernel
/// (IPv4: 0, IPv6: 1024).
const SECOND_CHOICE: u32 = 4096;

const EEXIST: i32 = 17;
const EADDRINUSE: i32 = 98;

/// The first pause before a busy address is tried again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What opening a path answers that leads to no file: `ENOENT`, `ENXIO`, `ENOTDIR`,
/// `ENAMETOOLONG`, `ELOOP`. No namespace was ever attached by it, or it is gone.
const LEADS_NOWHERE: [i32; 5] = [2, 6, 20, 36, 40];

/// Where a plan is performed.
pub(crate) struct Site<'a> {
    /// A socket in the namespace of the master.
    pub(crate) outside: &'a mut Netlink,
    /// The pod's namespace, and a socket in it.
    pub(crate) pod: &'a Netns,
    pub(crate) inside: &'a mut Netlink,
    /// How long an address that is in use is tried again: who had it may be on his way out, and
    /// the kernel takes namespaces away after their last user is gone.
    pub(crate) patience: Duration,
    pub(crate) interrupt: &'a Interrupt,
}

/// What a plan made.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// The link as it is now.
    pub(crate) link: Option<Link>,
    /// Places of routes in the result that have another metric than they asked for.
    pub(crate) metrics: Vec<(usize, u32)>,
}

/// Why a plan failed, and what of it could not be taken back.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) why: Why,
    /// Empty: the kernel is as it was before.
    pub(crate) left: Vec<UndoError>,
}

/// Why a plan failed.
#[derive(Debug)]
pub(crate) enum Why {
    Refused(Error),
    /// Another link has the address, and kept it.
    Busy(IpAddr, Error),
    Interrupted(Interrupted),
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Interrupted> for Why {
    fn from(interrupted: Interrupted) -> Self {
        Self::Interrupted(interrupted)
    }
}

/// Performs `steps`, all of them or none.
pub(crate) fn apply(steps: &[Step], site: &mut Site<'_>) -> Result<Made, Failed> {
    let mut undo = Undo::new(drop);
    match perform(steps, site, &mut undo) {
        Ok(made) => {
            undo.commit();
            Ok(made)
        }
        Err(why) => Err(Failed { why, left: undo.rollback() }),
    }
}

fn perform<'a>(steps: &[Step], site: &mut Site<'a>, undo: &mut Undo<'a>) -> Result<Made, Why> {
    let mut made = Made::default();
    let (pod, mut index) = (site.pod, 0);
    for step in steps {
        site.interrupt.check()?;
        match step {
            Step::Create { name, parent, mode, flag, mtu } => {
                // A link that a killed ADD of this attachment left half-made.
                remove(site.inside, name)?;
                // Pushed first: if the new link cannot even be looked up, it goes by its name.
                undo.push(format!("create {name}"), {
                    let name = name.clone();
                    move || remove(&mut pod.netlink()?, &name).map(drop)
                });
                site.outside.add_ipvlan(&NewIpvlan {
                    name,
                    parent: *parent,
                    mode: *mode,
                    flag: *flag,
                    mtu: *mtu,
                    netns: pod,
                })?;
                index = created(name, site.inside)?;
            }
            Step::Rename { from: _, to } => {
                // Pushed first: the kernel may have renamed it though its answer was lost.
                undo.push(format!("rename to {to}"), move || {
                    pod.netlink()?.delete_link(index).map(drop)
                });
                site.inside.rename_link(index, to)?;
            }
            Step::Sysctl { key, value, need } => set(key, value, *need, pod, undo)?,
            Step::Address { ifname: _, address } => add_address(index, *address, site)?,
            Step::Up { ifname: _ } => site.inside.set_link_up(index)?,
            Step::Route { ifname: _, position, route } => {
                let metric = add_route(site.inside, &Route { index, ..route.clone() })?;
                made.metrics.extend(metric.map(|metric| (*position, metric)));
            }
        }
    }
    made.link = site.inside.link_by_index(index)?;
    site.interrupt.check()?;
    Ok(made)
}

fn created(name: &str, inside: &mut Netlink) -> Result<u32, Error> {
    let missing = || Error::Protocol {
        operation: Operation::CreateIpvlan,
        object: name.to_owned(),
        reason: "the new link is not in the pod's namespace".into(),
    };
    inside.link(name)?.map(|link| link.index).ok_or_else(missing)
}

/// Settings of the link go with it; one of another, like the loopback, is put back.
fn set<'a>(
    key: &str,
    value: &'static str,
    need: Need,
    pod: &'a Netns,
    undo: &mut Undo<'a>,
) -> Result<(), Why> {
    let before = pod.run(|| sysctl::read(key))?;
    let written = match before {
        // Pushed first: the value may be there though the answer was lost.
        Ok(Some(previous)) => {
            if key.contains("/lo/") && previous != value {
                let key = key.to_owned();
                undo.push(format!("set {key}"), move || {
                    pod.run(|| sysctl::write(&key, &previous)).flatten().map(drop)
                });
            }
            pod.run(|| sysctl::write(key, value))?
        }
        Ok(None) => Ok(Written::NoIpv6),
        Err(error) => Err(error),
    };
    match written {
        Err(error) if need == Need::Should => {
            warn(&error.to_string());
            Ok(())
        }
        written => Ok(written.map(drop)?),
    }
}

/// The cloud gave the address to this node alone: there is nobody to ask whether it is free, but
/// the links of the same NIC.
fn add_address(index: u32, address: IpNet, site: &mut Site<'_>) -> Result<(), Why> {
    let deadline = Instant::now() + site.patience;
    let mut pause = FIRST_PAUSE;
    loop {
        match site.inside.add_address(index, address, AddressOptions { nodad: true }) {
            Err(error) if error.errno() == Some(EADDRINUSE) => {
                if Instant::now() + pause > deadline {
                    return Err(Why::Busy(address.addr(), error));
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
                site.interrupt.check()?;
            }
            outcome => return Ok(outcome?),
        }
    }
}

/// Adds a route, behind one that the pod has already by another interface: the first network of
/// a pod keeps its default route, and a second one is there for whoever chooses it. Answers the
/// metric if it is not the one that was asked for.
fn add_route(inside: &mut Netlink, route: &Route) -> Result<Option<u32>, Error> {
    match inside.add_route(route) {
        Err(error) if error.errno() == Some(EEXIST) => {
            let metric = Some(SECOND_CHOICE + route.index);
            inside.add_route(&Route { metric, ..route.clone() })?;
            Ok(metric)
        }
        outcome => outcome.map(|()| None),
    }
}

/// Deletes the link called `name` if it is an ipvlan link; `false` if there is none.
pub(crate) fn remove(inside: &mut Netlink, name: &str) -> Result<bool, Error> {
    match inside.link(name)? {
        Some(link) if link.kind.as_deref() == Some(IPVLAN) => inside.delete_link(link.index),
        _ => Ok(false),
    }
}

/// The pod's namespace for a DEL: `None` if it is gone, whatever stands at its path now.
pub(crate) fn open_if_there(path: &std::path::Path) -> Result<Option<Netns>, Error> {
    match Netns::open(path) {
        Ok(netns) => Ok(Some(netns)),
        Err(Error::NotNetns { .. }) => Ok(None),
        Err(error) if error.errno().is_some_and(|errno| LEADS_NOWHERE.contains(&errno)) => Ok(None),
        Err(error) => Err(error),
    }
}
