//! Freeing what nobody will release any more, without a daemon.

use std::collections::BTreeMap;
use std::time::Duration;

use cni_net::{Census, CensusOptions, Interface, OpenFiles, WholeCensus};
use ipam_core::{
    Attachment, ContainerId, Facts, Lease, LiveNamespaces, NetnsRef, NetworkName, Pool, Stamp,
    ValidAttachments,
};
use ipam_store::Error;
use ipnet::IpNet;

use crate::place::Place;
use crate::report;

/// How long an ADD looks around on the node before it gives up looking.
const DEADLINE: Duration = Duration::from_secs(2);

/// The same for a GC: no pod waits for it, and if it gives up then nothing is freed.
const GC_DEADLINE: Duration = Duration::from_secs(30);

/// Every so many ADDs look for dead leases although there are free addresses.
const EVERY: u32 = 256;

/// Whether this ADD is one of those that look: which ones follows from the container's id, so that
/// nobody has to count.
pub(crate) fn is_due(container: &ContainerId) -> bool {
    crc32fast::hash(container.as_str().as_bytes()).is_multiple_of(EVERY)
}

/// Frees leases whose namespace is gone, and answers how many.
pub(crate) fn heal(place: &Place) -> Result<usize, Error> {
    let facts = facts_for_add(place);
    facts.map_or(Ok(0), |facts| place.store().reclaim(&facts).map(|freed| freed.len()))
}

/// By what an ADD frees before it refuses for want of an address; `None` if not all of the node can
/// be seen.
pub(crate) fn facts_for_add(place: &Place) -> Option<Facts> {
    facts(None, place)
}

/// Frees what the runtime does not vouch for, wherever there is a store. Goes on after an error and
/// answers the first.
pub(crate) fn collect(places: &[Place], valid: ValidAttachments) -> Result<(), Error> {
    let Some(facts) = places.first().and_then(|place| facts(Some(valid), place)) else {
        return Ok(());
    };
    let mut outcome = Ok(());
    for place in places {
        match place.store().reclaim(&facts) {
            Ok(_) | Err(Error::Missing { .. }) => {}
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    outcome
}

/// The addresses of these pools that are on an interface of a pod, each as a lease of its namespace:
/// whose it is nobody says. If not all of the node can be seen, what can be.
pub(crate) fn in_use(place: &Place, network: &NetworkName, pools: &[Pool]) -> Vec<Lease> {
    let since = ipam_store::now();
    let census = census(place, DEADLINE);
    if let Err(incomplete) = census.whole() {
        report::line(&format!("{network} begins with what can be seen: {incomplete}"));
    }
    let mut leases = BTreeMap::new();
    for netns in census.namespaces().iter().filter(|netns| !netns.own) {
        let inode = netns.id.ino;
        let mounts = netns.mounts.iter().map(|mount| mount.display().to_string());
        let pids = netns.processes.iter().map(|pid| format!("/proc/{pid}/ns/net"));
        let path = mounts.chain(pids).next();
        for Interface { link, addresses } in netns.interfaces.iter().flatten() {
            let holder = format!("netns-{inode}").parse().ok().zip(link.name.parse().ok());
            let Some((container, ifname)) = holder else { continue };
            let attachment = Attachment { network: network.clone(), container, ifname };
            for address in addresses.iter().map(IpNet::addr) {
                let Some(pool) = pools.iter().find(|pool| pool.claims(address)) else { continue };
                leases.entry(address).or_insert_with(|| Lease {
                    address,
                    pool: pool.name().clone(),
                    attachment: attachment.clone(),
                    pod: None,
                    netns: path.clone().map(|path| NetnsRef { path, inode: Some(inode) }),
                    since: since.clone(),
                });
            }
        }
    }
    leases.into_values().collect()
}

/// What only an open file keeps is no pod's: runtimes keep theirs by a mount or a process.
fn census(place: &Place, deadline: Duration) -> Census {
    Census::take(&CensusOptions {
        open_files: OpenFiles::Skip,
        node_in_container: place.node_in_container,
        ..CensusOptions::within(deadline)
    })
}

/// Nothing is held while the node is looked at. What cannot be seen frees nothing: a namespace that
/// was overlooked may hold any address.
fn facts(valid: Option<ValidAttachments>, place: &Place) -> Option<Facts> {
    let before = ipam_store::now();
    let census = census(place, if valid.is_some() { GC_DEADLINE } else { DEADLINE });
    let whole = match census.whole() {
        Ok(whole) => whole,
        Err(incomplete) => {
            report::line(&format!("nothing is freed: {incomplete}"));
            return None;
        }
    };
    let grace_seconds = if valid.is_some() { 0 } else { place.grace_seconds };
    Some(Facts { valid, ..facts_of(whole, before, grace_seconds) })
}

/// What a census says about leases, which was begun at `before`: which namespaces live, and which
/// addresses are in them. By these facts an ADD frees what the dead hold before it refuses for want
/// of an address; `grace_seconds` is how old a lease must be for that.
pub fn facts_of(census: WholeCensus<'_>, before: Stamp, grace_seconds: u64) -> Facts {
    Facts {
        boot: before.boot,
        now: ipam_store::now().moment,
        snapshot: before.moment,
        grace_seconds,
        valid: None,
        namespaces: Some(live_namespaces(census)),
        alive: census.alive(),
    }
}

/// The network namespaces that a census has found, as leases remember theirs.
pub fn live_namespaces(census: WholeCensus<'_>) -> LiveNamespaces {
    LiveNamespaces {
        inodes: census.inodes(),
        paths: census.paths().iter().map(|path| path.display().to_string()).collect(),
    }
}
