//! Which address may this attachment have, and why not the others?
//!
//! The crate takes pools, an asker and what is held, and answers with addresses. It has no I/O,
//! no clock and no environment: everything is an argument, and the caller keeps the state. It
//! needs no `std`.
//!
//! A [`Pool`] is parsed from a `SpiderIPPool` document and cannot be invalid. [`select`] says
//! which pools an [`Asker`] may use and which rule refused each of the others. [`assign`] chooses
//! the addresses, asking an [`Occupancy`] what is free.
//!
//! # Example
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::net::IpAddr;
//! use ipam_core::{AddressRange, Asker, Occupancy, Pool, PoolSpec, Source, assign, select};
//!
//! struct Held(BTreeSet<IpAddr>);
//! impl Occupancy for Held {
//!     type Error = std::convert::Infallible;
//!     fn lowest_free(&self, range: &AddressRange) -> Result<Option<IpAddr>, Self::Error> {
//!         Ok(range.addresses().find(|address| !self.0.contains(address)))
//!     }
//! }
//!
//! let pool = Pool::new("master-172", &PoolSpec {
//!     subnet: "172.31.192.0/20".into(),
//!     ips: vec!["172.31.199.185-172.31.199.189".into()],
//!     node_name: vec!["master".into()],
//!     multus_name: vec!["kube-system/ipvlan-eth0".into()],
//!     default: Some(true),
//!     ..PoolSpec::default()
//! })?;
//! let asker = Asker {
//!     node: "master".parse()?,
//!     network: "kube-system/ipvlan-eth0".parse()?,
//!     namespace: None,
//! };
//! let pools = [pool];
//! let held = Held(BTreeSet::from(["172.31.199.185".parse()?]));
//! let selection = select(&pools, &Source::Defaults, &asker);
//! let Ok(answer) = assign(&selection, &asker, &held);
//! assert_eq!(answer?[0].network_address().to_string(), "172.31.199.186/20");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
#![warn(clippy::unwrap_used)]

extern crate alloc;

mod addr;
mod assign;
mod catalog;
mod document;
mod lease;
mod owner;
mod pool;
mod range;
mod range_set;
mod select;
mod violation;

pub use addr::Family;
pub use assign::{Assignment, Occupancy, Refused, assign};
pub use catalog::{Change, Rejection, apply};
pub use document::{API_VERSION, Metadata, POOL_KIND, PoolDocument, PoolSpec, RouteSpec};
pub use lease::Lease;
pub use owner::{
    Attachment, ContainerId, IfName, NameError, NamespaceName, NetworkName, NetworkRef, NodeName,
    PodRef, PoolName,
};
pub use pool::{Pool, Route};
pub use range::{AddressRange, RangeError};
pub use range_set::RangeSet;
pub use select::{Asker, NoPool, Refusal, RefusalReason, Selection, Source, select};
pub use violation::{Violation, Violations};
