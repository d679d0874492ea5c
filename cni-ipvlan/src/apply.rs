//! Performs a plan in the kernel, all of it or nothing.

use cni_net::{
    AddressOptions, Error, IpvlanFlag, Link, Netlink, Netns, NewIpvlan, Operation, Result, Route,
    Undo, UndoError,
};
use ipnet::IpNet;

use crate::plan::Step;

/// The kind of link that this plugin makes and takes away, as the kernel names it.
const IPVLAN: &str = "ipvlan";

/// The metric from which routes of further interfaces count: above every default of the kernel
/// (IPv4: 0, IPv6: 1024).
const SECOND_CHOICE: u32 = 4096;

const EEXIST: i32 = 17;

/// What opening a path answers that leads to no file: `ENOENT`, `ENXIO`, `ENOTDIR`,
/// `ENAMETOOLONG`, `ELOOP`. No namespace was ever attached by it, or it is gone.
const LEADS_NOWHERE: [i32; 5] = [2, 6, 20, 36, 40];

/// What a plan made.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// The link as it is now.
    pub(crate) link: Option<Link>,
    /// The destinations whose route has another metric than the kernel's default.
    pub(crate) metrics: Vec<(IpNet, u32)>,
}

/// Why a plan failed, and what of it could not be taken back.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Empty: the kernel is as it was before.
    pub(crate) left: Vec<UndoError>,
}

/// Performs `steps`, all of them or none.
pub(crate) fn apply(
    steps: &[Step],
    host: &mut Netlink,
    pod: &Netns,
    inside: &mut Netlink,
) -> std::result::Result<Made, Failed> {
    let mut undo = Undo::new(drop);
    match perform(steps, host, pod, inside, &mut undo) {
        Ok(made) => {
            undo.commit();
            Ok(made)
        }
        Err(error) => Err(Failed { error, left: undo.rollback() }),
    }
}

fn perform<'a>(
    steps: &[Step],
    host: &mut Netlink,
    pod: &'a Netns,
    inside: &mut Netlink,
    undo: &mut Undo<'a>,
) -> Result<Made> {
    let mut made = Made::default();
    let mut index = 0;
    for step in steps {
        match step {
            Step::Create { name, parent, mode, mtu } => {
                // A link that a killed ADD of this attachment left half-made.
                remove(inside, name)?;
                // Pushed first: if the new link cannot even be looked up, it goes by its name.
                undo.push(format!("create {name}"), {
                    let name = name.clone();
                    move || remove(&mut pod.netlink()?, &name).map(drop)
                });
                host.add_ipvlan(&NewIpvlan {
                    name,
                    parent: *parent,
                    mode: *mode,
                    flag: IpvlanFlag::Bridge,
                    mtu: *mtu,
                    netns: pod,
                })?;
                let Some(link) = inside.link(name)? else {
                    return Err(Error::Protocol {
                        operation: Operation::CreateIpvlan,
                        object: name.clone(),
                        reason: "the new link is not in the pod's namespace".into(),
                    });
                };
                index = link.index;
            }
            Step::Rename { from: _, to } => {
                inside.rename_link(index, to)?;
                undo.push(format!("rename to {to}"), move || {
                    pod.netlink()?.delete_link(index).map(drop)
                });
            }
            Step::Address { ifname: _, address } => {
                // The cloud gave the address to this node alone: there is nobody to ask.
                inside.add_address(index, *address, AddressOptions { nodad: true })?;
            }
            Step::Up { ifname: _ } => inside.set_link_up(index)?,
            Step::Route { ifname: _, dst, via } => {
                let metric = add_route(inside, &Route::new(*dst, *via, index))?;
                made.metrics.extend(metric.map(|metric| (*dst, metric)));
            }
        }
    }
    made.link = inside.link_by_index(index)?;
    Ok(made)
}

/// Adds a route, behind one that the pod has already by another interface: the first network of
/// a pod keeps its default route, and a second one is there for whoever chooses it. Answers the
/// metric if it is not the kernel's default.
fn add_route(inside: &mut Netlink, route: &Route) -> Result<Option<u32>> {
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
pub(crate) fn remove(inside: &mut Netlink, name: &str) -> Result<bool> {
    match inside.link(name)? {
        Some(link) if link.kind.as_deref() == Some(IPVLAN) => inside.delete_link(link.index),
        _ => Ok(false),
    }
}

/// The pod's namespace for a DEL: `None` if it is gone, whatever stands at its path now.
pub(crate) fn open_if_there(path: &std::path::Path) -> Result<Option<Netns>> {
    match Netns::open(path) {
        Ok(netns) => Ok(Some(netns)),
        Err(Error::NotNetns { .. }) => Ok(None),
        Err(error) if error.errno().is_some_and(|errno| LEADS_NOWHERE.contains(&errno)) => Ok(None),
        Err(error) => Err(error),
    }
}
