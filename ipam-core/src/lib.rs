//! Which address may this attachment have, and why not the others?
//!
//! The crate takes pools, an asker and what is held, and answers with addresses. It has no I/O,
//! no clock and no environment: everything is an argument, and the caller keeps the state. It
//! needs no `std`.
//!
//! - A [`Pool`] is made from a `SpiderIPPool` document and cannot be invalid; [`apply`] has the
//!   rules across pools.
//! - [`Hints::wish`] says which pools pod, namespace and configuration ask for, [`select`] which of
//!   them may be used and which rule refused each of the others.
//! - [`decide`] chooses the addresses for one or several [`Demand`]s, all or none. It asks a
//!   [`Ledger`] what is held: [`Book`] in memory, or your own store.
//! - [`Policy`] says how addresses are chosen and how long released ones rest; [`reclaim`] which
//!   leases may be freed although nobody released them.
//!
//! # Example
//!
//! ```
//! use ipam_core::{Asker, Attachment, Book, Demand, Moment, Policy, Pool, PoolSpec, Stamp, decide};
//!
//! let pools = [Pool::new("master-172", &PoolSpec {
//!     subnet: "172.31.192.0/20".into(),
//!     ips: vec!["172.31.199.185-172.31.199.189".into()],
//!     node_name: vec!["master".into()],
//!     multus_name: vec!["kube-system/ipvlan-eth0".into()],
//!     default: Some(true),
//!     ..PoolSpec::default()
//! })?];
//! let mut book = Book::new(&pools);
//! let policy = Policy::default();
//!
//! let attachment = Attachment {
//!     network: "ipvlan-eth0".parse()?,
//!     container: "4f0e".parse()?,
//!     ifname: "eth0".parse()?,
//! };
//! let asker = Asker::new("master".parse()?, "kube-system/ipvlan-eth0".parse()?);
//! let demands = [Demand::new(attachment.clone(), asker)];
//! let decision = decide(&demands, &pools, &policy, Moment(100), &book)?;
//! assert_eq!(decision.grants[0].network_address().to_string(), "172.31.199.185/20");
//!
//! let leases = book.write(&demands, &decision, None, &Stamp::default());
//! assert_eq!(leases[0].attachment, attachment);
//! book.release(&attachment, &policy, Moment(200));
//!
//! // It rests for a minute: the next pod gets another one.
//! let decision = decide(&demands, &pools, &policy, Moment(210), &book)?;
//! assert_eq!(decision.grants[0].network_address().to_string(), "172.31.199.186/20");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![warn(clippy::unwrap_used)]

extern crate alloc;

mod addr;
mod assign;
mod book;
mod catalog;
mod decision;
mod demand;
mod document;
mod free_runs;
mod hints;
mod labels;
mod lease;
mod ledger;
mod owner;
mod pattern;
mod pin;
mod pod_routes;
mod policy;
mod pool;
mod range;
mod range_set;
mod reclaim;
mod refused;
mod reserved;
mod rest;
mod select;
mod sticky;
mod violation;

pub use addr::{Family, from_bits, to_bits};
pub use assign::decide;
pub use book::Book;
pub use catalog::{Change, Rejection, apply};
pub use decision::{Decision, Grant, NotDecided, Origin};
pub use demand::Demand;
pub use document::{
    API_VERSION, Metadata, POOL_KIND, PoolDocument, PoolSpec, RESERVED_KIND, ReservedDocument,
    ReservedSpec, RouteSpec,
};
pub use free_runs::FreeRuns;
pub use hints::{
    ANNOTATION_NAMESPACE_V4, ANNOTATION_NAMESPACE_V6, ANNOTATION_POOL, ANNOTATION_POOLS,
    ANNOTATION_ROUTES, HintError, Hints, LONGEST_ANNOTATION, NamedPools, Source, Wish,
    requested_addresses,
};
pub use labels::{LabelSelector, LabelSelectorRequirement, Labels, Selector};
pub use lease::{Lease, Moment, NetnsRef, Stamp};
pub use ledger::{Counts, Ledger};
pub use owner::{
    Attachment, BootId, ContainerId, IfName, NameError, NamespaceName, NetworkName, NetworkRef,
    NodeName, PodRef, PoolName,
};
pub use pattern::{PatternError, PoolPattern};
pub use pin::Pin;
pub use pod_routes::{MOST_POD_ROUTES, pod_routes};
pub use policy::{Policy, Strategy, WhenOnlyCooling};
pub use pool::{MOST_RANGES, Pool, Route};
pub use range::{AddressRange, RangeError};
pub use range_set::RangeSet;
pub use reclaim::{Facts, LiveNamespaces, Reclaim, ValidAttachments, WhyFreed, WhyKept, reclaim};
pub use refused::{NoPool, PoolState, Refused, RequestReason};
pub use reserved::{Reserved, reserve};
pub use rest::{Rest, RestKind, RestReason};
pub use select::{Asker, Refusal, RefusalReason, Selection, select};
pub use sticky::{StickyKey, StickyNames};
pub use violation::{Violation, Violations};
