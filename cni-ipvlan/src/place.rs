//! Where an address is that somebody else has.

use std::net::IpAddr;
use std::time::Duration;

use cni_net::{Census, CensusOptions, LiveNetns, OpenFiles};

/// How long the node is looked at. Only an ADD that failed pays for it.
const DEADLINE: Duration = Duration::from_secs(3);

/// In which namespaces the address lives, on which links, in words.
pub(crate) fn of(address: IpAddr) -> String {
    let options =
        CensusOptions { open_files: OpenFiles::Readable, ..CensusOptions::within(DEADLINE) };
    let census = Census::take(&options);
    let mut places = Vec::new();
    for netns in census.namespaces() {
        for interface in netns.interfaces.iter().flatten() {
            if interface.addresses.iter().any(|it| it.addr() == address) {
                places.push(format!("{} in {}", interface.link.name, name(netns)));
            }
        }
    }
    match (places.as_slice(), census.whole()) {
        ([], Ok(_)) => "by a link in a namespace that is going away".to_owned(),
        ([], Err(incomplete)) => format!("by a link that was not seen: {incomplete}"),
        (seen, _) => format!("by {}", seen.join(", ")),
    }
}

fn name(netns: &LiveNetns) -> String {
    let inode = format!("net:[{}]", netns.id.ino);
    if netns.own {
        return "the node's own namespace".to_owned();
    }
    if let Some(mount) = netns.mounts.first() {
        return mount.display().to_string();
    }
    match netns.processes.first() {
        Some(pid) => format!("{inode} of process {pid}"),
        None => format!("{inode}, which only an open file keeps"),
    }
}
