//! The ipvlan links that a NIC has already, which tell its mode.
//!
//! The kernel keeps the mode with the NIC and shows it on the links alone, and those are in the
//! pods' namespaces. One link tells for all. Runtimes keep their namespaces side by side, so the
//! first neighbour of the new pod mostly has one; namespaces that only a process keeps are not
//! looked for, since walking through all processes would cost each ADD too much.

use std::fs;
use std::path::Path;

use cni_net::{Link, Netlink, Netns, NetnsId};

use crate::precheck::Port;

/// Where iproute2 and most runtimes keep namespaces.
const NAMED: &str = "/run/netns";

/// The mode and flag of the master's ipvlan links; `None` if none was seen. `outside` is the
/// master's namespace.
pub(crate) fn port(
    master: &Link,
    outside: &mut Netlink,
    pod: &Path,
    known: &[NetnsId],
) -> Option<Port> {
    // What cannot be looked at tells nothing; the kernel has the last word anyway.
    let own = outside.ipvlan_links().unwrap_or_default();
    if let Some(link) =
        own.iter().find(|it| it.parent == Some(master.index) && !it.parent_elsewhere)
    {
        return read(link, "beside it");
    }
    let beside = pod.parent().filter(|folder| !folder.starts_with("/proc"));
    let folders = beside.into_iter().chain([Path::new(NAMED)].into_iter().filter(|named| {
        beside.is_none_or(|beside| fs::canonicalize(beside).ok().as_deref() != Some(*named))
    }));
    let paths = folders.filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    paths.filter_map(|entry| in_namespace(master, &entry.ok()?.path(), known)).next()
}

fn in_namespace(master: &Link, path: &Path, known: &[NetnsId]) -> Option<Port> {
    let netns = Netns::open(path).ok()?;
    if known.contains(&netns.id()) {
        return None;
    }
    let links = netns.netlink().ok()?.ipvlan_links().ok()?;
    let link = links.iter().find(|link| is_on(master, link))?;
    read(link, &format!("in {}", path.display()))
}

/// The index counts in the master's namespace, which is another than the link's; that it is this
/// one, the MAC says, which every ipvlan link has from its master.
fn is_on(master: &Link, link: &Link) -> bool {
    link.parent_elsewhere && link.parent == Some(master.index) && link.mac == master.mac
}

fn read(link: &Link, place: &str) -> Option<Port> {
    let seen = format!("{} {place}", link.name);
    Some(Port { mode: link.ipvlan_mode?, flag: link.ipvlan_flag?, seen })
}
