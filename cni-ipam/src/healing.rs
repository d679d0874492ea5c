//! Freeing what nobody will release any more, without a daemon.

use std::time::Duration;

use cni_net::{Census, CensusOptions, OpenFiles};
use ipam_core::{ContainerId, Facts, LiveNamespaces, ValidAttachments};
use ipam_store::{Error, Store};

use crate::report;

/// How long an ADD looks around on the node before it gives up looking.
const DEADLINE: Duration = Duration::from_secs(2);

/// Every so many ADDs look for dead leases although there are free addresses.
const EVERY: u32 = 256;

/// Whether this ADD is one of those that look: which ones follows from the container's id, so that
/// nobody has to count.
pub(crate) fn is_due(container: &ContainerId) -> bool {
    crc32fast::hash(container.as_str().as_bytes()).is_multiple_of(EVERY)
}

/// Frees leases whose namespace is gone, and answers how many.
pub(crate) fn heal(store: &Store, grace_seconds: u64) -> Result<usize, Error> {
    let facts = facts(None, grace_seconds);
    facts.map_or(Ok(0), |facts| store.reclaim(&facts).map(|freed| freed.len()))
}

/// Frees what the runtime does not vouch for, wherever there is a store. Goes on after an error and
/// answers the first.
pub(crate) fn collect(stores: &[Store], valid: ValidAttachments) -> Result<(), Error> {
    let Some(facts) = facts(Some(valid), 0) else { return Ok(()) };
    let mut outcome = Ok(());
    for store in stores {
        match store.reclaim(&facts) {
            Ok(_) | Err(Error::Missing { .. }) => {}
            Err(error) => outcome = outcome.and(Err(error)),
        }
    }
    outcome
}

/// Nothing is held while the node is looked at. What cannot be seen frees nothing: a namespace that
/// was overlooked may hold any address.
fn facts(valid: Option<ValidAttachments>, grace_seconds: u64) -> Option<Facts> {
    let before = ipam_store::now();
    // What only an open file keeps is no pod's: runtimes keep theirs by a mount or a process.
    let options = CensusOptions { open_files: OpenFiles::Skip, ..CensusOptions::within(DEADLINE) };
    let census = Census::take(&options);
    let whole = match census.whole() {
        Ok(whole) => whole,
        Err(incomplete) => {
            report::line(&format!("nothing is freed: {incomplete}"));
            return None;
        }
    };
    Some(Facts {
        boot: before.boot,
        now: ipam_store::now().moment,
        snapshot: before.moment,
        grace_seconds,
        valid,
        namespaces: Some(LiveNamespaces {
            inodes: whole.inodes(),
            paths: whole.paths().iter().map(|path| path.display().to_string()).collect(),
        }),
        alive: whole.alive(),
    })
}
