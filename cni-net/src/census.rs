//! Which network namespaces live on the node, and which addresses are in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    Address, CensusGap, IncompleteCensus, Link, Netlink, NetnsId,
    door::Door,
    error::Result,
    gap::Watch,
    nsfs::{Own, Sightings},
};

/// What a census may cost and what it may trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CensusOptions {
    /// How long it may take. When that is over it ends at once, and is incomplete.
    pub deadline: Duration,
    /// The node itself is a container (as with kind), so that a `/proc` which is not of the
    /// machine's first PID namespace shows all of the node all the same. Otherwise such a census
    /// is incomplete: a pod does not see the node's processes.
    pub node_in_container: bool,
    /// Which open files are looked at.
    pub open_files: OpenFiles,
}

/// Which processes' open files a census looks at. What is given up with fewer is a namespace that
/// nothing but such a file keeps; runtimes keep theirs by a mount or a process. It costs a few
/// microseconds for each file that is open on the node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OpenFiles {
    /// Of all. A process that is closed even to root, as by a security module, makes the census
    /// incomplete.
    #[default]
    All,
    /// Of all that are not closed. One that is closed and not in the own namespace still makes the
    /// census incomplete.
    Readable,
    /// Of none.
    Skip,
}

/// The network namespaces that live on the node, and the addresses on the interfaces in them.
///
/// A namespace lives for as long as something keeps it: a process or thread in it, a bind mount, or
/// an open file (namespaces(7)). All three are looked for, mounts also in the mount namespaces of
/// other processes.
///
/// # Guarantees
/// What [`namespaces`](Census::namespaces) lists lived during the census. What a
/// [`WholeCensus`] lacks was gone before its end, if it was there at its beginning: a process or a
/// mount that disappears under the census's hands makes it look again; anything else that it could
/// not look at makes it incomplete, and there is no `WholeCensus`.
///
/// # Assumptions
/// - Namespaces come while the census runs. Take the time before, and judge nothing by it that is
///   younger than that time.
/// - `/proc` is the node's, with all its processes (a pod needs `hostPID`).
/// - A namespace is not handed, while the census runs, from its only keeper to another that was
///   looked at before. Process numbers, and processes before mounts, are looked at in the order in
///   which forks and runtimes hand on.
/// - Not seen is what only a socket keeps, a file descriptor on its way between processes, a file
///   table that one thread has for itself, and a mount in a mount namespace with no process.
#[derive(Debug)]
pub struct Census {
    namespaces: Vec<LiveNetns>,
    incomplete: Option<IncompleteCensus>,
}

/// A network namespace that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveNetns {
    /// Which it is. Of a dead namespace, the kernel gives the inode number to a new one.
    pub id: NetnsId,
    /// Whether it is the one of the census's caller: on a node, the host's.
    pub own: bool,
    /// Where it is bind-mounted, in any mount namespace, each path as seen in that one.
    pub mounts: BTreeSet<PathBuf>,
    /// The processes in it, by the PID that `/proc` shows.
    pub processes: BTreeSet<u32>,
    /// Its links that have addresses; loopback addresses and IPv6 link-local ones are left out.
    /// `None`: could not be looked at; such a census is incomplete.
    pub interfaces: Option<Vec<Interface>>,
}

/// A link with its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Name, kind, MAC and the rest.
    pub link: Link,
    /// Its addresses, each with the prefix length of its subnet.
    pub addresses: Vec<IpNet>,
}

/// Where an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// In which namespace.
    pub netns: &'a LiveNetns,
    /// On which link there.
    pub link: &'a Link,
}

/// A census that lacks nothing, so that what is not in it is not there.
#[derive(Debug, Clone, Copy)]
pub struct WholeCensus<'a>(&'a [LiveNetns]);

impl CensusOptions {
    /// With this deadline, and nothing left out.
    pub fn within(deadline: Duration) -> Self {
        Self { deadline, node_in_container: false, open_files: OpenFiles::All }
    }
}

impl Census {
    /// Looks at the whole node. The calling thread stays in its namespace.
    ///
    /// It never fails: what it could not look at, [`Census::whole`] says.
    pub fn take(options: &CensusOptions) -> Self {
        let mut watch = Watch::new(options.deadline);
        let mut namespaces = BTreeMap::new();
        if !options.node_in_container {
            watch.check_pid_namespace();
        }
        match Own::find(options.open_files) {
            Ok(own) => look_until_settled(&own, &mut namespaces, &mut watch),
            Err(error) => watch.gap(error),
        }
        let mut namespaces: Vec<LiveNetns> = namespaces.into_values().collect();
        namespaces.sort_by_key(|netns| (!netns.own, netns.id));
        Self { namespaces, incomplete: watch.finish() }
    }

    /// All that was found, the own namespace first. That something is not among them means
    /// nothing; ask [`Census::whole`].
    pub fn namespaces(&self) -> &[LiveNetns] {
        &self.namespaces
    }

    /// The answers that also say what is not there.
    ///
    /// # Errors
    /// [`IncompleteCensus`], with the first reason: free nothing, and tell the operator.
    pub fn whole(&self) -> Result<WholeCensus<'_>, &IncompleteCensus> {
        match &self.incomplete {
            None => Ok(WholeCensus(&self.namespaces)),
            Some(incomplete) => Err(incomplete),
        }
    }
}

impl<'a> WholeCensus<'a> {
    /// All namespaces, the own one first.
    pub fn namespaces(self) -> &'a [LiveNetns] {
        self.0
    }

    /// The inode numbers of all.
    pub fn inodes(self) -> BTreeSet<u64> {
        self.0.iter().map(|netns| netns.id.ino).collect()
    }

    /// Every path by which a runtime may have called one that lives: its mounts, those under
    /// `/run` also under `/var/run`, and `/proc/PID/ns/net`. Of other symbolic links nothing is
    /// known: resolve a path before comparing it.
    pub fn paths(self) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        for netns in self.0 {
            for mount in &netns.mounts {
                if let Ok(rest) = mount.strip_prefix("/run") {
                    paths.insert(Path::new("/var/run").join(rest));
                }
                paths.insert(mount.clone());
            }
            paths.extend(netns.processes.iter().map(|pid| format!("/proc/{pid}/ns/net").into()));
        }
        paths
    }

    /// The addresses in all namespaces, the own one among them.
    pub fn alive(self) -> BTreeSet<IpAddr> {
        self.places().map(|(address, _)| address).collect()
    }

    /// The addresses in all namespaces but the own one, and each place where one is.
    pub fn alive_elsewhere(self) -> BTreeMap<IpAddr, Vec<Place<'a>>> {
        let mut alive: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (address, place) in self.places().filter(|(_, place)| !place.netns.own) {
            alive.entry(address).or_default().push(place);
        }
        alive
    }

    fn places(self) -> impl Iterator<Item = (IpAddr, Place<'a>)> {
        self.0.iter().flat_map(|netns| {
            netns.interfaces.iter().flatten().flat_map(move |Interface { link, addresses }| {
                addresses.iter().map(move |address| (address.addr(), Place { netns, link }))
            })
        })
    }
}

/// Finds and looks, and again for as long as something disappears in between: what is found again
/// has another keeper, what is not is gone.
fn look_until_settled(own: &Own, namespaces: &mut BTreeMap<NetnsId, LiveNetns>, watch: &mut Watch) {
    let mut lost_views = BTreeSet::new();
    let mut lost: BTreeMap<NetnsId, Vec<Door>> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    loop {
        let sightings = Sightings::take(own, &lost_views, watch);
        if !watch.late() {
            namespaces
                .retain(|id, _| !lost.contains_key(id) || sightings.namespaces.contains_key(id));
        }
        let mut lost_now = BTreeMap::new();
        for (id, sighting) in sightings.namespaces {
            let netns = namespaces.entry(id).or_insert_with(|| LiveNetns {
                id,
                own: id == own.id,
                mounts: BTreeSet::new(),
                processes: BTreeSet::new(),
                interfaces: None,
            });
            netns.mounts.extend(sighting.doors.iter().filter_map(Door::mount).map(Path::to_owned));
            netns.processes.extend(sighting.processes);
            if netns.interfaces.is_some() || failed.contains(&id) {
                continue;
            }
            match look(netns, &sighting.doors, watch) {
                Ok(Some(interfaces)) => netns.interfaces = Some(interfaces),
                // A door that was there twice and leads nowhere. Another one may be of another
                // namespace, as inode numbers are given again.
                Ok(None) if lost.get(&id).is_some_and(|doors| share(doors, &sighting.doors)) => {
                    failed.insert(id);
                    let netns = format!("net:[{}], mounted at {:?},", id.ino, netns.mounts);
                    watch.gap(CensusGap::Unreachable { netns });
                }
                Ok(None) => {
                    lost_now.insert(id, sighting.doors);
                }
                Err(gap) => {
                    failed.insert(id);
                    if let Some(gap) = gap {
                        watch.gap(gap);
                    }
                }
            }
        }
        if watch.late() || (lost_now.is_empty() && sightings.lost_views.is_empty()) {
            return;
        }
        (lost, lost_views) = (lost_now, sightings.lost_views);
    }
}

fn share(some: &[Door], others: &[Door]) -> bool {
    some.iter().any(|door| others.iter().any(|other| door.path() == other.path()))
}

/// The interfaces of a namespace; `Ok(None)` when no door leads there any more; the reason else, or
/// none when that is the deadline, which the watch knows.
fn look(
    netns: &LiveNetns,
    doors: &[Door],
    watch: &mut Watch,
) -> Result<Option<Vec<Interface>>, Option<CensusGap>> {
    let mut reason = None;
    if netns.own {
        watch.left(|| "the own network namespace".into()).ok_or(None)?;
        return Ok(Some(interfaces(Netlink::open()).map_err(CensusGap::from)?));
    }
    for door in doors {
        let left = watch.left(|| format!("net:[{}]", netns.id.ino)).ok_or(None)?;
        match door.open(netns.id, left) {
            Ok(Some(open)) => {
                return Ok(Some(interfaces(open.netlink()).map_err(CensusGap::from)?));
            }
            Ok(None) => {}
            Err(error) => reason = reason.or(Some(error)),
        }
        watch.left(|| format!("an answer at {}", door.path().display())).ok_or(None)?;
    }
    match reason {
        Some(error) => Err(Some(error.into())),
        None => Ok(None),
    }
}

fn interfaces(netlink: Result<Netlink>) -> Result<Vec<Interface>> {
    let mut netlink = netlink?;
    let mut by_index: BTreeMap<u32, Vec<IpNet>> = BTreeMap::new();
    for Address { index, net, .. } in netlink.all_addresses()? {
        let every_namespace_has_it = match net.addr() {
            IpAddr::V4(v4) => v4.is_loopback(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
        };
        if !every_namespace_has_it {
            by_index.entry(index).or_default().push(net);
        }
    }
    if by_index.is_empty() {
        return Ok(Vec::new());
    }
    // Links after addresses: one that is no longer there took its addresses with it.
    let links = netlink.links()?.into_iter();
    Ok(links
        .filter_map(|link| {
            let addresses = by_index.remove(&link.index)?;
            Some(Interface { link, addresses })
        })
        .collect())
}
