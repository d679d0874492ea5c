//! Pools and leases in one crash-safe file, one durable transaction per decision.
//!
//! [`Store`] is the door: [`Store::apply`] keeps pools, [`Store::allocate`] and
//! [`Store::release`] decide, [`Store::contents`] looks. The decision itself is
//! [`ipam_core::decide`]; this crate shows it what is held, inside the transaction that then
//! writes the answer down.
//!
//! Any number of processes may use one directory at once. They wait for each other on a lock file
//! that the kernel releases when its holder dies, so nothing a process can do, dying included,
//! leaves the store unusable for the next.
#![warn(clippy::unwrap_used)]

mod codec;
mod database;
mod error;
mod lock;
mod schema;
mod store;
mod tables;

pub use codec::CodecError;
pub use error::{AllocateError, ApplyError, Error, Holder};
pub use store::{Contents, Grant, Request, Store};
