//! An address that the pools have and the network refuses: somebody still uses it.

use std::net::IpAddr;

use cni_proto::{AddRequest, Error};
use ipam_core::Rest;
use ipam_store::Store;

use crate::config::IpamConfig;
use crate::{Allocation, attachment_of_add, failure, report};

/// How long an address rests that was in use when it was given, in seconds. Long enough that a
/// burst of ADDs does not come back to it, short enough for who asks for that very address again.
const QUARANTINE_SECONDS: u64 = 60;

/// Gives the attachment other addresses than those that [`add()`](crate::add) gave it: `busy` is
/// alive elsewhere, as `seen` says, and rests for a minute.
///
/// # Errors
///
/// As [`add()`](crate::add); code 11 too if the attachment wants that very address, or if no other
/// is free. Nothing is held after an error, and the address does not rest.
pub fn another(request: &AddRequest, busy: IpAddr, seen: &str) -> Result<Allocation, Error> {
    let config = IpamConfig::new(&request.config)?;
    let store = config.place.store();
    let attachment = attachment_of_add(request)?;
    let released = store.release(&attachment).map_err(|error| failure::of_store(&error))?;
    let Some(lease) = released.iter().find(|lease| lease.address == busy) else {
        return crate::add(request);
    };
    let now = ipam_store::now().moment;
    let quarantine = |until| Rest::quarantine(seen.to_owned(), now, until);
    let rest = |store: &Store, rest: &Rest| store.rest(busy, &lease.pool, rest);
    rest(&store, &quarantine(now.after(QUARANTINE_SECONDS)))
        .map_err(|error| failure::of_store(&error))?;
    crate::add(request).inspect_err(|_| {
        // Whoever wants this very address, or has no other, looks again at once next time.
        if let Err(error) = rest(&store, &quarantine(now)) {
            report::line(&format!("{busy} rests for a minute: {error}"));
        }
    })
}
