//! The ipvlan links that a NIC has already, which tell its mode.
//!
//! The kernel keeps the mode with the NIC and shows it on the links alone, and those are in the
//! pods' namespaces. One link tells for all. Runtimes keep their namespaces side by side, so the
//! first neighbour of the new pod mostly has one. Namespaces that only a process keeps are looked
//! for where no neighbour tells, as for the first pod of a NIC: that walks through all processes.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cni_net::{Link, Netlink, Netns, NetnsId};

use crate::precheck::Port;

/// Where iproute2 and most runtimes keep namespaces.
const NAMED: &str = "/run/netns";

/// How many neighbours without a link on the master are looked at. Each costs an ADD a fifth of a
/// millisecond, and where the master carries pods at all, they are among the first.
const MOST_NEIGHBOURS: usize = 32;

/// How many processes are asked for their namespace, of which no more are looked at than those of
/// neighbours. Asking costs an ADD a hundredth of a millisecond each.
const MOST_PROCESSES: usize = 2048;

/// The mode and flag of the master's ipvlan links; `None` if none was seen. `outside` is the
/// master's namespace, once as a socket in it.
pub(crate) fn port(master: &Link, outside: (&mut Netlink, &Netns), pod: &Path) -> Option<Port> {
    let (socket, netns) = outside;
    // What cannot be looked at tells nothing: the check is a help, not a guard.
    let own = socket.ipvlan_links().unwrap_or_default();
    let on_master = |it: &&Link| it.parent == Some(master.index) && it.parent_netns.is_none();
    if let Some(link) = own.iter().find(on_master) {
        return read(link, "beside it");
    }
    let beside = pod.parent().filter(|folder| !folder.starts_with("/proc"));
    let is_named = beside.and_then(|beside| fs::canonicalize(beside).ok());
    let named = (is_named.as_deref() != Some(Path::new(NAMED))).then_some(Path::new(NAMED));
    let entries = beside.into_iter().chain(named).filter_map(|it| fs::read_dir(it).ok()).flatten();
    let neighbours = entries.filter_map(|entry| Some(entry.ok()?.path())).take(MOST_NEIGHBOURS);
    // The master's own was looked at already; several paths lead to most of the others.
    let mut seen = BTreeSet::from([netns.id()]);
    let mut is_new = |path: &PathBuf| netns_id(path).is_some_and(|id| seen.insert(id));
    let mut namespaces =
        neighbours.chain(processes()).filter(|path| is_new(path)).take(2 * MOST_NEIGHBOURS);
    namespaces.find_map(|path| in_namespace(master, netns, &path))
}

/// Each process's way to its namespace; those that are gone meanwhile lead nowhere.
fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let is_number = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let processes = entries.filter(move |it| it.file_name().to_str().is_some_and(is_number));
    processes.take(MOST_PROCESSES).map(|process| process.path().join("ns/net"))
}

fn netns_id(path: &Path) -> Option<NetnsId> {
    let file = fs::metadata(path).ok()?;
    Some(NetnsId { dev: file.dev(), ino: file.ino() })
}

fn in_namespace(master: &Link, of_master: &Netns, path: &Path) -> Option<Port> {
    let netns = Netns::open(path).ok()?;
    let mut inside = netns.netlink().ok()?;
    let links = inside.ipvlan_links().ok()?;
    let mut links = links.iter().filter(|link| link.parent == Some(master.index)).peekable();
    links.peek()?;
    let number = inside.netns_number(of_master).ok()??;
    let link = links.find(|link| link.parent_netns == Some(number))?;
    read(link, &format!("in {}", path.display()))
}

fn read(link: &Link, place: &str) -> Option<Port> {
    let seen = format!("{} {place}", link.name);
    Some(Port { mode: link.ipvlan_mode?, flag: link.ipvlan_flag?, seen })
}
