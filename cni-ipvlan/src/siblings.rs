//! The ipvlan links that a NIC has already, which tell its mode.
//!
//! The kernel keeps the mode with the NIC and shows it on the links alone, and those are in the
//! pods' namespaces. One link tells for all. Runtimes keep their namespaces side by side, so the
//! first neighbour of the new pod mostly has one; namespaces that only a process keeps are not
//! looked for, since walking through all processes would cost each ADD too much.

use std::fs;
use std::path::Path;

use cni_net::{Link, Netlink, Netns};

use crate::precheck::Port;

/// Where iproute2 and most runtimes keep namespaces.
const NAMED: &str = "/run/netns";

/// How many neighbours without a link on the master are looked at. Each costs an ADD a fifth of a
/// millisecond, and where the master carries pods at all, they are among the first.
const MOST_NEIGHBOURS: usize = 32;

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
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path())).take(MOST_NEIGHBOURS);
    paths.find_map(|path| in_namespace(master, netns, &path))
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
