//! What did the cloud give to this node's NICs?
//!
//! In a VPC a NIC may use its own MAC and the addresses that the cloud gave it, and nothing else.
//! The instance metadata service, at a link-local address that only the node reaches, tells which
//! those are. This crate reads it, over plain HTTP, for Alibaba Cloud and AWS:
//!
//! - [`connect`] and [`detect`] give a [`Provider`].
//! - [`Provider::read`] answers a [`Reading`]: every [`Nic`] with all that it has, or an error that
//!   names the path. **There is no half answer**: an answer that is cut, contradicts itself, or
//!   changes while it is read is an error.
//! - [`Provider::owns`] asks whether one address belongs to one NIC, within 100 ms: for a plugin
//!   that wonders whether somebody else has it.
//!
//! Nothing is read from the environment: no proxy, no credentials. No redirect is followed.
//!
//! ```no_run
//! use cloud::Options;
//!
//! let provider = cloud::detect(&Options::default())?;
//! for nic in provider.read()?.nics {
//!     println!("{} {} has {:?}", nic.mac, nic.id, nic.secondary);
//! }
//! # Ok::<(), cloud::Error>(())
//! ```
#![warn(clippy::unwrap_used)]

mod alibaba;
mod aws;
mod endpoint;
mod error;
mod folder;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod list;
mod nic;
mod provider;
mod service;
mod session;
mod steady;
mod transport;

pub use cni_net::MacAddr;
pub use endpoint::Endpoint;
pub use error::Error;
pub use nic::{Nic, Reading};
pub use provider::{Options, Provider, ProviderName, UnknownProvider, connect, detect};
