//! Performs a plan in the kernel, all of it or nothing.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cni_net::{
    AddressOptions, Change, Error, Netlink, Netns, NewIpvlan, Route, Undo, UndoError, sysctl,
};
use ipnet::IpNet;

use crate::interrupt::{Interrupt, Interrupted};
use crate::link;
use crate::plan::{Need, Stage, Step};
use crate::plugin::warn;
use crate::stopwatch::Stopwatch;

/// The metric from which routes of further interfaces count: above every default of the kernel
/// (IPv4: 0, IPv6: 1024).
const SECOND_CHOICE: u32 = 4096;

const EEXIST: i32 = 17;
const EADDRINUSE: i32 = 98;

/// The first pause before a busy address is tried again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Where a plan is performed.
pub(crate) struct Site<'a> {
    /// A socket in the namespace of the master.
    pub(crate) outside: &'a mut Netlink,
    /// The pod's namespace, and a socket in it.
    pub(crate) pod: &'a Netns,
    pub(crate) inside: &'a mut Netlink,
    /// The name of a link that cannot be made under its own, until it has that.
    pub(crate) temporary: &'a str,
    /// How long an address that is in use is tried again: who had it may be on his way out, and
    /// the kernel takes namespaces away after their last user is gone.
    pub(crate) patience: Duration,
    pub(crate) interrupt: &'a Interrupt,
    /// Where the time of the stages is noted.
    pub(crate) stopwatch: &'a mut Stopwatch,
}

/// What a plan made.
#[derive(Debug, Default)]
pub(crate) struct Made {
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
    let mut index = 0;
    for steps in steps.chunk_by(|one, next| one.stage() == next.stage()) {
        site.interrupt.check()?;
        let stage = steps[0].stage();
        match stage {
            Stage::Link => index = create_link(steps, site, undo)?,
            Stage::Settings => set_all(steps, site.pod, undo)?,
            Stage::Addresses => add_addresses(steps, index, site)?,
            Stage::Routes => made.metrics = set_up(steps, index, site.inside)?,
        }
        site.stopwatch.end(stage.name());
    }
    site.interrupt.check()?;
    Ok(made)
}

fn create_link<'a>(steps: &[Step], site: &mut Site<'a>, undo: &mut Undo<'a>) -> Result<u32, Error> {
    let mut made = 0;
    for step in steps {
        if let Step::Create { name, index, parent, mode, flag, mtu } = step {
            let new = NewIpvlan {
                name: site.temporary,
                parent: *parent,
                mode: *mode,
                flag: *flag,
                mtu: *mtu,
                netns: site.pod,
                index: Some(*index),
            };
            made = link::create(new, name, site, undo)?;
        }
    }
    Ok(made)
}

/// A value that was wrong before, and what came of writing the right one.
type Set = (Option<String>, Result<(), Error>);

/// By one visit to the pod's namespace. Settings of the link go with it; one of another, like the
/// loopback, is put back.
fn set_all<'a>(steps: &[Step], pod: &'a Netns, undo: &mut Undo<'a>) -> Result<(), Why> {
    let settings: Vec<(&str, &'static str, Need)> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Sysctl { key, value, need } => Some((key.as_str(), *value, *need)),
            _ => None,
        })
        .collect();
    let all: Vec<Set> =
        pod.run(|| settings.iter().map(|(key, value, _)| set(key, value)).collect())?;
    // The value may be there though its answer was lost.
    for ((key, ..), (previous, _)) in settings.iter().zip(&all) {
        if let Some(previous) = previous.clone().filter(|_| key.contains("/lo/")) {
            let key = (*key).to_owned();
            undo.push(format!("set {key}"), move || {
                pod.run(|| sysctl::write(&key, &previous)).flatten().map(drop)
            });
        }
    }
    for ((_, _, need), (_, outcome)) in settings.iter().zip(all) {
        match outcome {
            Err(error) if *need == Need::Should => warn(&error.to_string()),
            outcome => outcome?,
        }
    }
    Ok(())
}

fn set(key: &str, value: &str) -> Set {
    match sysctl::read(key) {
        // Without IPv6 there is nothing to set.
        Ok(None) => (None, Ok(())),
        Ok(Some(previous)) if previous == value => (None, Ok(())),
        Ok(Some(previous)) => (Some(previous), sysctl::overwrite(key, value)),
        Err(error) => (None, Err(error)),
    }
}

/// The cloud gave the addresses to this node alone: there is nobody to ask whether they are free,
/// but the links of the same NIC.
fn add_addresses(steps: &[Step], index: u32, site: &mut Site<'_>) -> Result<(), Why> {
    let mut missing: Vec<IpNet> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Address { ifname: _, address } => Some(*address),
            _ => None,
        })
        .collect();
    let deadline = Instant::now() + site.patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let options = AddressOptions { nodad: true };
        let add = |address: &IpNet| Change::AddAddress { index, address: *address, options };
        let changes: Vec<_> = missing.iter().map(add).collect();
        let mut busy = Vec::new();
        for (address, outcome) in missing.iter().zip(site.inside.make_all(&changes)) {
            match outcome {
                Err(error) if error.errno() == Some(EADDRINUSE) => busy.push((*address, error)),
                outcome => outcome?,
            }
        }
        missing = busy.iter().map(|(address, _)| *address).collect();
        let Some((address, error)) = busy.into_iter().next() else {
            return Ok(());
        };
        if Instant::now() + pause > deadline {
            return Err(Why::Busy(address.addr(), error));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        site.interrupt.check()?;
    }
}

/// Sets the link up and adds its routes, each behind one that the pod has already by another
/// interface: the first network of a pod keeps its default route, and a second one is there for
/// whoever chooses it. Answers the places in the result of routes that got another metric than they
/// asked for.
fn set_up(steps: &[Step], index: u32, inside: &mut Netlink) -> Result<Vec<(usize, u32)>, Error> {
    let mut metrics = Vec::new();
    let mut up = steps.iter().any(|step| matches!(step, Step::Up { .. }));
    let mut missing: Vec<(usize, Route)> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Route { ifname: _, position, route } => {
                Some((*position, Route { index, ..route.clone() }))
            }
            _ => None,
        })
        .collect();
    while up || !missing.is_empty() {
        let changes: Vec<_> = up
            .then_some(Change::SetLinkUp(index))
            .into_iter()
            .chain(missing.iter().map(|(_, route)| Change::AddRoute(route)))
            .collect();
        let mut outcomes = inside.make_all(&changes).into_iter();
        if std::mem::take(&mut up) {
            outcomes.next().transpose()?;
        }
        let mut left: Vec<(usize, Route)> = Vec::new();
        for ((position, route), outcome) in missing.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {}
                Err(error) if error.errno() == Some(EEXIST) && left.is_empty() => {
                    let metric = SECOND_CHOICE + index;
                    if route.metric == Some(metric) {
                        return Err(error);
                    }
                    metrics.push((position, metric));
                    left.push((position, Route { metric: Some(metric), ..route }));
                }
                // It may need the one before.
                Err(_) if !left.is_empty() => left.push((position, route)),
                Err(error) => return Err(error),
            }
        }
        missing = left;
    }
    Ok(metrics)
}
