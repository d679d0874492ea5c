//! The allocator as CNI: a request of the protocol in, addresses and routes out.
//!
//! A plugin that makes an interface calls [`add()`] before it touches the kernel and [`del()`] after
//! it has taken the interface away; each is one durable decision on the node's own disk, and
//! nothing is held between them.
//!
//! Addresses come from the pools that `ipamctl apply` has stored, of which this crate never creates
//! any; or, if `ipam` has the fields of the plugin host-local (`ranges`, or `subnet` alone), from
//! those ranges, with that plugin's rules and result, and a database for each network.
//!
//! # Example
//!
//! ```
//! use cni_proto::{AddRequest, AddResult, DelRequest, Error, Plugin};
//!
//! struct Addressed;
//!
//! impl Plugin for Addressed {
//!     fn name(&self) -> &str { "addressed" }
//!
//!     fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
//!         Ok(cni_ipam::add(request)?.to_result()) // make the interface here; on failure, cancel()
//!     }
//!
//!     fn del(&self, request: &DelRequest) -> Result<(), Error> {
//!         cni_ipam::del(request) // take the interface away first
//!     }
//! }
//! ```
#![warn(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use cni_proto::{AddRequest, CheckRequest, Code, DelRequest, Error, GcRequest, StatusRequest};
use ipam_core::{Attachment, ContainerId, Pool, Refused, RequestReason, ValidAttachments};
use ipam_store::{AllocateError, Configured, Error as StoreError, Grant, Request, Store};

mod allocation;
mod attachment;
mod busy;
mod cluster;
mod config;
mod delegate;
mod exhaustion;
mod failure;
mod fields;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod healing;
mod host_local;
mod netns;
mod place;
mod range;
mod ranges;
pub mod regular_file;
mod report;
mod requested;
mod resolv_conf;
mod wish;

#[cfg(test)]
#[path = "../../docs/fields.rs"]
mod documentation;

pub use allocation::Allocation;
pub use busy::another;
pub use cluster::DEFAULT_NAMESPACES_FILE;
pub use config::{IPAM_TYPE, IpamConfig};
pub use delegate::{Delegate, RunningDelegate};
pub use failure::{ALREADY_HELD, NO_POOL, NOT_HELD, STORE};
pub use fields::{pool_fields, range_fields};
pub use healing::{facts_of, live_namespaces};
pub use netns::netns_of;
pub use place::{
    DEFAULT_DATA_DIR, DEFAULT_GRACE_SECONDS, DEFAULT_LOCK_TIMEOUT, DEFAULT_NETWORKS_DIR, Place,
};
pub use wish::Wanted;

use allocation::{Asked, Stated};
use attachment::{attachment, attachment_of_add, named, pod};
use place::Fields;
use ranges::Ranges;

/// How long a STATUS waits for others before it takes their work for a sign of life.
const STATUS_PATIENCE: Duration = Duration::from_millis(200);

/// Gives the attachment of an ADD its addresses, durably, before it answers.
///
/// # Errors
///
/// Code 7 for a configuration, a pod's annotation or a requested address that has to change, 4 for
/// such `CNI_ARGS`, 11
/// if no address is free or the database is busy (try again), [`NO_POOL`] with every pool and the
/// rule that refused it, [`ALREADY_HELD`] if the attachment was added before, [`STORE`] if the
/// database cannot be used. Nothing is held after an error.
pub fn add(request: &AddRequest) -> Result<Allocation, Error> {
    match Ranges::new(&request.config)? {
        Some(ranges) => add_from_ranges(request, &ranges),
        None => add_from_pools(request),
    }
}

fn add_from_pools(request: &AddRequest) -> Result<Allocation, Error> {
    let attachment = attachment_of_add(request)?;
    let Wanted { demand, place, clean_gateway, routes, .. } =
        Wanted::new(&request.config, attachment, &request.args)?;
    let container = demand.attachment.container.clone();
    let netns = Some(netns::reference(&request.netns));
    let request = Request { demand, netns };
    let grants = allocate(&place, &container, |store| store.allocate(&request))?;
    Ok(Allocation::from_pools(grants, Asked { clean_gateway, routes }))
}

fn add_from_ranges(request: &AddRequest, ranges: &Ranges) -> Result<Allocation, Error> {
    let attachment = attachment_of_add(request)?;
    let demands = ranges.demands(&attachment, pod(&request.args)?.as_ref(), &request.args)?;
    let dns = ranges.resolv_conf.as_deref().map(resolv_conf::read).transpose()?;
    let found = |directory: &Path| {
        let first = ranges.pools.first().map(Pool::name).ok_or(ErrorKind::InvalidInput)?;
        let network = &attachment.network;
        let mut leases = host_local::leases(directory, network, &ranges.pools, first)?;
        for lease in healing::in_use(&ranges.place, network, &ranges.pools) {
            if leases.iter().all(|known| known.address != lease.address) {
                leases.push(lease);
            }
        }
        Ok(leases)
    };
    let configured = Configured { pools: &ranges.pools, found: &found };
    let netns = netns::reference(&request.netns);
    let grants = allocate(&ranges.place, &attachment.container, |store| {
        store.allocate_from(&configured, &demands, Some(&netns))
    })?;
    let stated = Stated {
        gateways: grants.iter().map(|grant| ranges.gateway_of(grant.pool.name())).collect(),
        routes: ranges.routes.clone(),
        dns: dns.unwrap_or_default(),
    };
    Ok(Allocation::from_ranges(grants, stated))
}

/// Addresses, if need be some whose holder is dead.
fn allocate(
    place: &Place,
    container: &ContainerId,
    decide: impl Fn(&Store) -> Result<Vec<Grant>, AllocateError>,
) -> Result<Vec<Grant>, Error> {
    let store = place.store();
    let healed = || healing::heal(place).map(|freed| freed > 0);
    let grants = match decide(&store) {
        Err(AllocateError::Refused(refused)) if may_be_of_the_dead(&refused) => match healed() {
            Ok(true) => decide(&store),
            Ok(false) => Err(AllocateError::Refused(refused)),
            Err(error) => Err(error.into()),
        },
        other => other,
    };
    let grants = grants.map_err(|error| failure::of_allocate(&error))?;
    for Grant { lease, .. } in &grants {
        telemetry::given(lease.address, &lease.pool);
    }
    if healing::is_due(container)
        && let Err(error) = healed()
    {
        // The ADD has what it needs; the next one that is due tries again.
        report::line(&error.to_string());
    }
    Ok(grants)
}

/// Whether the refusal would end with a lease whose holder is gone without a DEL.
fn may_be_of_the_dead(refused: &Refused) -> bool {
    use RequestReason::Held;
    matches!(refused, Refused::Exhausted { .. } | Refused::Request { reason: Held { .. }, .. })
}

/// Takes back what [`add()`] gave in the same request, for a plugin whose next step failed.
///
/// # Errors
///
/// As [`del()`]: the addresses are still held until the runtime's DEL.
pub fn cancel(request: &AddRequest) -> Result<(), Error> {
    let place = match Ranges::new(&request.config)? {
        Some(ranges) => ranges.place,
        None => IpamConfig::new(&request.config)?.place,
    };
    release(&place.store(), &attachment_of_add(request)?)
}

/// Frees what the attachment of a DEL holds. Succeeds if it holds nothing, and needs nothing of
/// the configuration but the network's name and `ipam.dataDir`: whether it has ranges or has lost
/// them, what the network holds either way is freed.
///
/// # Errors
///
/// Code 11 if the database is busy, [`STORE`] if it cannot be used: the runtime has to repeat the
/// DEL.
pub fn del(request: &DelRequest) -> Result<(), Error> {
    let names = (&request.config.name, &request.container, &request.ifname);
    let Ok(attachment) = attachment(names.0.as_str(), names.1.as_str(), names.2.as_str()) else {
        // No ADD can have held anything under names that no lease can have.
        return Ok(());
    };
    let fields = config::fields_of_del(&request.config);
    let places = Place::all(&fields, request.config.name.as_str());
    // One that fails does not stop the other.
    places.map(|place| release(&place.store(), &attachment)).into_iter().collect()
}

/// Answers whether the attachment holds the addresses that `prevResult` has, or any without one.
///
/// # Errors
///
/// [`NOT_HELD`] with what differs; [`STORE`] or code 11 if the database cannot be asked.
pub fn check(request: &CheckRequest) -> Result<(), Error> {
    let attachment = attachment_of_add(request)?;
    let held = held_by(&attachment, &config::fields(&request.config)?)?;
    if held.is_empty() {
        return Err(Error::new(NOT_HELD, format!("{attachment} holds no address")));
    }
    let Some(result) = &request.config.prev_result else { return Ok(()) };
    // The addresses of other plugins in the chain are not ours to know.
    let missing = held.iter().find(|held| result.ips.iter().all(|ip| ip.address.addr() != **held));
    match missing {
        None => Ok(()),
        Some(address) => {
            let msg = format!("{attachment} holds {address}, prevResult has no such address");
            Err(Error::new(NOT_HELD, msg))
        }
    }
}

/// What an attachment holds, wherever its network may hold something.
fn held_by(attachment: &Attachment, fields: &Fields) -> Result<BTreeSet<IpAddr>, Error> {
    let mut unknown = None;
    for place in Place::all(fields, attachment.network.as_str()) {
        match place.store().held_by(attachment) {
            Ok(held) if held.is_empty() => {}
            Ok(held) => return Ok(held.iter().map(|lease| lease.address).collect()),
            Err(StoreError::Missing { .. }) => {}
            Err(error) => unknown = unknown.or(Some(error)),
        }
    }
    unknown.map_or_else(|| Ok(BTreeSet::new()), |error| Err(failure::of_store(&error)))
}

/// Frees, at once, what the runtime's list does not name, but for addresses that are alive on an
/// interface in some namespace: a list can lack a live pod. An empty list names nothing; without a
/// list nothing is freed.
///
/// # Errors
///
/// As [`del()`]: something was not freed.
pub fn gc(request: &GcRequest) -> Result<(), Error> {
    let Some(valid) = &request.valid_attachments else { return Ok(()) };
    // Names that no lease can have vouch for none.
    let key = |valid: &cni_proto::ValidAttachment| {
        Some((valid.container.as_str().parse().ok()?, valid.ifname.as_str().parse().ok()?))
    };
    let name = request.config.name.as_str();
    let valid = ValidAttachments {
        network: name.parse().map_err(|error| named(&error))?,
        attachments: valid.iter().filter_map(key).collect(),
    };
    let places = Place::all(&config::fields(&request.config)?, name);
    healing::collect(&places, valid).map_err(|error| failure::of_store(&error))
}

/// Answers whether an ADD could be decided: whether the database can be read, or will be created
/// since the configuration has ranges. A full pool is no failure, unless `ipam.statusOnExhaustion`
/// says so: runtimes would report the node as not ready.
///
/// # Errors
///
/// Code 50 with the reason, 7 for ranges, or with that option for hints, that have to change.
pub fn status(request: &StatusRequest) -> Result<(), Error> {
    let not_available = |reason| Err(Error::new(Code::NOT_AVAILABLE, reason));
    let ranges = Ranges::new(&request.config)?;
    let may_be_missing = ranges.is_some() || ranges::may_come(&request.config);
    let (place, demand) = match ranges {
        Some(ranges) => (ranges.place, None),
        None => (
            Place::of_pools(&config::fields(&request.config)?),
            exhaustion::demand(&request.config)?,
        ),
    };
    // Runtimes ask every few seconds and wait for the answer.
    let lock_timeout = place.lock_timeout.min(STATUS_PATIENCE);
    let place = Place { lock_timeout, ..place };
    let store = place.store();
    let full = match demand {
        Some(demand) => exhaustion::reason(&store, &place, demand),
        None => store.counters().map(|_| None),
    };
    match full {
        // Somebody works with it at this moment.
        Ok(None) | Err(StoreError::Busy { .. }) => Ok(()),
        Ok(Some(reason)) => not_available(reason),
        Err(StoreError::Missing { .. }) if may_be_missing => Ok(()),
        Err(error) => not_available(error.to_string()),
    }
}

/// A database that has to be rebuilt does not stop a DEL: the rebuild takes only what lives, and a
/// node whose pods cannot be stopped cannot be repaired either.
fn release(store: &Store, attachment: &Attachment) -> Result<(), Error> {
    match store.release(attachment) {
        Err(error) if error.needs_rebuild() || matches!(error, StoreError::Foreign { .. }) => {
            report::line(&format!("{attachment} is gone, and not written down: {error}"));
            Ok(())
        }
        other => {
            for lease in other.map_err(|error| failure::of_store(&error))? {
                telemetry::given(lease.address, &lease.pool);
            }
            Ok(())
        }
    }
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
