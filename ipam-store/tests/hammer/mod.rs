//! Adds and deletes on one store, by one process of several.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use ipam_core::{Asker, Attachment, Demand};
use ipam_store::{AllocateError, Error, Request, Store};

/// Names under which each address that somebody holds is a file.
pub(crate) const HELD: &str = "held";

/// Asks for an address and gives it back, `cycles` times; `name` is this process's own. Answers
/// what must not be: an error other than that the lock was busy, or an address held twice.
pub(crate) fn hammer(directory: &Path, name: &str, cycles: u32) -> Result<(), String> {
    let store = Store::new(directory.join("ipam"), Duration::from_secs(60));
    for cycle in 0..cycles {
        let attachment = Attachment {
            network: "net".parse().expect("a name"),
            container: format!("{name}-{cycle}").parse().expect("a name"),
            ifname: "eth0".parse().expect("a name"),
        };
        let asker = Asker::new("n".parse().expect("a name"), "net".parse().expect("a name"));
        let demand = Demand::new(attachment.clone(), asker);
        let grants = loop {
            match store.allocate(&Request { demand: demand.clone(), netns: None }) {
                Err(AllocateError::Store(Error::Busy { .. })) => {}
                other => break other.map_err(|error| format!("{name}: {error}"))?,
            }
        };
        for grant in &grants {
            let mark = directory.join(HELD).join(grant.lease.address.to_string());
            let made = OpenOptions::new().write(true).create_new(true).open(&mark);
            made.map_err(|error| format!("{name}: {}: {error}", mark.display()))?;
        }
        for grant in &grants {
            let mark = directory.join(HELD).join(grant.lease.address.to_string());
            fs::remove_file(&mark).map_err(|error| format!("{}: {error}", mark.display()))?;
        }
        let released = loop {
            match store.release(&attachment) {
                Err(Error::Busy { .. }) => {}
                other => break other.map_err(|error| format!("{name}: {error}"))?,
            }
        };
        if released.len() != grants.len() {
            return Err(format!("{name}: {} given, {} released", grants.len(), released.len()));
        }
    }
    Ok(())
}
