//! Pools and leases in one crash-safe file, one durable transaction per decision.
//!
//! [`Store`] is the door: [`Store::apply`] keeps pools, [`Store::allocate`] and
//! [`Store::release`] decide, [`Store::allocate_from`] decides with pools that come with the
//! request, [`Store::reclaim`] frees what nobody will release,
//! [`Store::contents`] and [`Store::watch`] look, [`Store::verify`] and [`Store::replace`] repair.
//! [`Wirings`] keeps beside it what plugins have made in the kernel.
//! The decision itself is [`ipam_core::decide`]; this crate shows it what is held, inside the
//! transaction that then writes the answer down.
//!
//! Any number of processes may use one directory at once. They wait for each other on a lock file
//! that the kernel releases when its holder dies, so nothing a process can do, dying included,
//! leaves the store unusable for the next.
#![warn(clippy::unwrap_used)]

mod ask;
mod boot;
mod clock;
mod codec;
mod configured;
mod contents;
mod database;
mod declared;
mod disk;
mod durable;
mod error;
mod fault;
mod flock;
mod free_runs;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod header;
mod history;
mod indexes;
mod ledger;
mod lock;
mod migrate;
mod mortal;
mod overlay;
mod phased;
mod private;
mod register;
mod release;
mod revise;
mod room;
mod rows;
mod schema;
mod slip;
mod spare;
mod store;
mod tally;
mod transaction;
mod turn;
mod upkeep;
mod view;
mod watch;
mod wirings;

#[cfg(test)]
#[path = "../tests/crash/mod.rs"]
mod crash;
#[cfg(test)]
#[path = "../tests/power/mod.rs"]
mod power;
#[cfg(test)]
#[path = "../tests/together/mod.rs"]
mod together;

pub use clock::now;
pub use configured::Configured;
pub use contents::{Contents, Counters, PoolCounters, Resting};
pub use declared::{Changes, Declared};
pub use error::{AllocateError, ApplyError, Error, Holder};
pub use history::{Ended, FormerHolder};
pub use revise::Revision;
pub use room::default_room;
pub use store::{Grant, Request, Store};
pub use upkeep::Verdict;
pub use watch::Watch;
pub use wirings::{WireError, Wiring, Wirings};
