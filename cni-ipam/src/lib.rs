//! The allocator as CNI: a request of the protocol in, addresses and routes out.
//!
//! A plugin that makes an interface calls [`add()`] before it touches the kernel and [`del()`] after
//! it has taken the interface away; each is one durable decision on the node's own disk, and
//! nothing is held between them. The pools come from `ipamctl apply`; this crate never creates
//! any.
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

use cni_proto::{
    AddRequest, CheckRequest, CniArgs, Code, DelRequest, Error, GcRequest, StatusRequest,
};
use ipam_core::{Asker, Attachment, Demand, Hints, NameError, PodRef, Refused, ValidAttachments};
use ipam_store::{AllocateError, Grant, Request, Store};

mod allocation;
mod busy;
mod config;
mod delegate;
mod exhaustion;
mod failure;
mod healing;
mod netns;
mod report;

pub use allocation::Allocation;
pub use busy::another;
pub use config::{
    DEFAULT_DATA_DIR, DEFAULT_GRACE_SECONDS, DEFAULT_LOCK_TIMEOUT, IPAM_TYPE, IpamConfig, Place,
};
pub use delegate::Delegate;
pub use failure::{ALREADY_HELD, NO_POOL, NOT_HELD, STORE};

/// Gives the attachment of an ADD its addresses, durably, before it answers.
///
/// # Errors
///
/// Code 7 for a configuration that has to change, 11 if no address is free or the database is
/// busy (try again), [`NO_POOL`] with every pool and the rule that refused it, [`ALREADY_HELD`] if
/// the attachment was added before, [`STORE`] if the database cannot be used. Nothing is held
/// after an error.
pub fn add(request: &AddRequest) -> Result<Allocation, Error> {
    let config = IpamConfig::new(&request.config)?;
    let attachment = attachment_of_add(request)?;
    let namespace = request.args.pod_namespace().map(str::parse).transpose();
    let asker = Asker {
        namespace: namespace.map_err(|error| named(&error))?,
        ..Asker::new(config.node, config.network)
    };
    let hints = Hints { configuration: config.pools, ..Hints::default() };
    let wish = hints
        .wish(&attachment.ifname)
        .map_err(|error| Error::new(Code::INVALID_CONFIG, error.to_string()))?;
    let demand =
        Demand { pod: pod(&request.args), source: wish.source, ..Demand::new(attachment, asker) };
    let netns = Some(netns::reference(&request.netns));
    let container = demand.attachment.container.clone();
    let request = Request { demand, netns };
    let (store, grace) = (config.place.store(), config.place.grace_seconds);
    let grants = allocate(&store, &request, grace).map_err(|error| failure::of_allocate(&error))?;
    if healing::is_due(&container)
        && let Err(error) = healing::heal(&store, grace)
    {
        // The ADD has what it needs; the next one that is due tries again.
        report::line(&error.to_string());
    }
    Ok(Allocation::new(grants))
}

/// An address, if need be one whose holder is dead.
fn allocate(store: &Store, request: &Request, grace: u64) -> Result<Vec<Grant>, AllocateError> {
    match store.allocate(request) {
        Err(AllocateError::Refused(refused))
            if matches!(*refused, Refused::Exhausted { .. })
                && healing::heal(store, grace)? > 0 =>
        {
            store.allocate(request)
        }
        other => other,
    }
}

/// Takes back what [`add()`] gave in the same request, for a plugin whose next step failed.
///
/// # Errors
///
/// As [`del()`]: the addresses are still held until the runtime's DEL.
pub fn cancel(request: &AddRequest) -> Result<(), Error> {
    let config = IpamConfig::new(&request.config)?;
    release(&config.place.store(), &attachment_of_add(request)?)
}

/// Frees what the attachment of a DEL holds. Succeeds if it holds nothing, and needs nothing of
/// the configuration but the network's name and `ipam.dataDir`.
///
/// # Errors
///
/// Code 11 if the database is busy, [`STORE`] if it cannot be used: the runtime has to repeat the
/// DEL.
pub fn del(request: &DelRequest) -> Result<(), Error> {
    let names = (&request.config.name, &request.container, &request.ifname);
    match attachment(names.0.as_str(), names.1.as_str(), names.2.as_str()) {
        Ok(attachment) => release(&Place::for_del(&request.config).store(), &attachment),
        // No ADD can have held anything under names that no lease can have.
        Err(_) => Ok(()),
    }
}

/// Answers whether the attachment holds the addresses that `prevResult` has, or any without one.
///
/// # Errors
///
/// [`NOT_HELD`] with what differs; [`STORE`] or code 11 if the database cannot be asked.
pub fn check(request: &CheckRequest) -> Result<(), Error> {
    let attachment = attachment_of_add(request)?;
    let store = Place::new(&request.config)?.store();
    let held = store.held_by(&attachment).map_err(|error| failure::of_store(&error))?;
    let held: BTreeSet<_> = held.iter().map(|lease| lease.address).collect();
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

/// Frees, at once, what the runtime's list does not name, but for addresses that are alive on an
/// interface in some namespace: a list can lack a live pod. An empty list names nothing; without a
/// list nothing is freed.
///
/// # Errors
///
/// As [`del()`]: nothing was freed.
pub fn gc(request: &GcRequest) -> Result<(), Error> {
    let Some(valid) = &request.valid_attachments else { return Ok(()) };
    // Names that no lease can have vouch for none.
    let key = |valid: &cni_proto::ValidAttachment| {
        Some((valid.container.as_str().parse().ok()?, valid.ifname.as_str().parse().ok()?))
    };
    let valid = ValidAttachments {
        network: request.config.name.as_str().parse().map_err(|error| named(&error))?,
        attachments: valid.iter().filter_map(key).collect(),
    };
    match healing::collect(&Place::new(&request.config)?.store(), valid) {
        Ok(_) | Err(ipam_store::Error::Missing { .. }) => Ok(()),
        Err(error) => Err(failure::of_store(&error)),
    }
}

/// Answers whether an ADD could be decided: whether the database can be read. A full pool is no
/// failure, unless `ipam.statusOnExhaustion` says so: runtimes would report the node as not ready.
///
/// # Errors
///
/// Code 50 with the reason.
pub fn status(request: &StatusRequest) -> Result<(), Error> {
    let store = Place::new(&request.config)?.store();
    match store.counters() {
        // Somebody works with it at this moment.
        Err(ipam_store::Error::Busy { .. }) => Ok(()),
        Ok(counters) => exhaustion::status(&request.config, &store, &counters),
        Err(error) => Err(Error::new(Code::NOT_AVAILABLE, error.to_string())),
    }
}

/// A database that has to be rebuilt does not stop a DEL: the rebuild takes only what lives, and a
/// node whose pods cannot be stopped cannot be repaired either.
fn release(store: &Store, attachment: &Attachment) -> Result<(), Error> {
    match store.release(attachment) {
        Err(error) if error.needs_rebuild() => {
            report::line(&format!("{attachment} is gone, and not written down: {error}"));
            Ok(())
        }
        other => other.map(drop).map_err(|error| failure::of_store(&error)),
    }
}

fn attachment_of_add(request: &AddRequest) -> Result<Attachment, Error> {
    attachment(request.config.name.as_str(), request.container.as_str(), request.ifname.as_str())
}

fn attachment(network: &str, container: &str, ifname: &str) -> Result<Attachment, Error> {
    Ok(Attachment {
        network: network.parse().map_err(|error| named(&error))?,
        container: container.parse().map_err(|error| named(&error))?,
        ifname: ifname.parse().map_err(|error| named(&error))?,
    })
}

/// The protocol's own rules for names are narrower, except that it sets no length for two of them.
fn named(error: &NameError) -> Error {
    Error::new(Code::INVALID_ENVIRONMENT, error.to_string())
}

fn pod(args: &CniArgs) -> Option<PodRef> {
    Some(PodRef {
        namespace: args.pod_namespace()?.to_owned(),
        name: args.pod_name()?.to_owned(),
        uid: args.pod_uid().map(str::to_owned),
    })
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
