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

use cni_proto::{AddRequest, CniArgs, Code, DelRequest, Error};
use ipam_core::{Asker, Attachment, Demand, Hints, NameError, PodRef};
use ipam_store::{Request, Store};

mod allocation;
mod config;
mod failure;
mod netns;

pub use allocation::Allocation;
pub use config::{DEFAULT_DATA_DIR, DEFAULT_LOCK_TIMEOUT, IPAM_TYPE, IpamConfig};
pub use failure::{ALREADY_HELD, NO_POOL, STORE};

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
    let grants = Store::new(config.data_dir, config.lock_timeout)
        .allocate(&Request { demand, netns })
        .map_err(|error| failure::of_allocate(&error))?;
    Ok(Allocation::new(grants))
}

/// Takes back what [`add()`] gave in the same request, for a plugin whose next step failed.
///
/// # Errors
///
/// As [`del()`]: the addresses are still held until the runtime's DEL.
pub fn cancel(request: &AddRequest) -> Result<(), Error> {
    let config = IpamConfig::new(&request.config)?;
    release(&Store::new(config.data_dir, config.lock_timeout), &attachment_of_add(request)?)
}

/// Frees what the attachment of a DEL holds. Succeeds if it holds nothing, and needs nothing of
/// the configuration but the network's name and `ipam.dataDir`.
///
/// # Errors
///
/// Code 11 if the database is busy, [`STORE`] if it cannot be used: the runtime has to repeat the
/// DEL.
pub fn del(request: &DelRequest) -> Result<(), Error> {
    let (data_dir, patience) = config::place_for_del(&request.config);
    let names = (&request.config.name, &request.container, &request.ifname);
    match attachment(names.0.as_str(), names.1.as_str(), names.2.as_str()) {
        Ok(attachment) => release(&Store::new(data_dir, patience), &attachment),
        // No ADD can have held anything under names that no lease can have.
        Err(_) => Ok(()),
    }
}

fn release(store: &Store, attachment: &Attachment) -> Result<(), Error> {
    store.release(attachment).map(drop).map_err(|error| failure::of_store(&error))
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
