//! What the plugins tell about their work: one line an event, and how long calls take.
//!
//! A plugin says what happens by `tracing`, with [`part()`], [`given()`] and the macros; its `main`
//! wraps it in [`Observed`], which installs the subscriber, learns from the configuration where the
//! lines go, writes one when the call has ended, and counts it in [`Durations`].
//!
//! *Guarantees.* Nothing here fails a call or holds it up: what cannot be written is said once on
//! standard error, and the answer stays what it was. Nothing is written on standard output. A line is
//! one line, whatever is in a name.
//!
//! # Example
//!
//! ```
//! use cni_proto::{AddRequest, AddResult, DelRequest, Error, Plugin, serve};
//! use telemetry::Observed;
//!
//! struct Pass;
//!
//! impl Plugin for Pass {
//!     fn name(&self) -> &str { "pass" }
//!
//!     fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
//!         telemetry::part("pass");
//!         Ok(request.config.prev_result.clone().unwrap_or_default())
//!     }
//!
//!     fn del(&self, _: &DelRequest) -> Result<(), Error> { Ok(()) }
//! }
//!
//! let plugin = Observed::new(Pass);
//! let env = [("CNI_COMMAND".into(), "VERSION".into())];
//! let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
//! serve(&plugin, env, &mut &b"{}"[..], &mut stdout, &mut stderr);
//! ```
#![warn(clippy::unwrap_used)]

mod directory;
mod durations;
mod event;
mod file;
mod journal;
mod line;
mod lock;
mod observed;
mod recorder;
mod settings;
mod timestamp;

#[cfg(test)]
#[path = "../../docs/fields.rs"]
mod documentation;

pub use durations::{
    BUCKETS_NANOS, DEFAULT_FILE, Durations, DurationsError, Failure, Measured, PLUGINS,
};
pub use observed::Observed;
pub use settings::{Format, LevelName, LogFile, LogSettings, SettingsError};
pub use timestamp::rfc3339;

use std::fmt::Display;
use std::net::IpAddr;

/// The target of [`part()`].
const PART: &str = "part";
/// The target of [`given()`].
const GIVEN: &str = "given";

/// `name` of the call has just ended: the time since the part before was its.
pub fn part(name: &'static str) {
    tracing::trace!(target: PART, name);
}

/// The call gave this address of this pool to its attachment, or took it away from it.
pub fn given(address: IpAddr, pool: impl Display) {
    tracing::trace!(target: GIVEN, address = %address, pool = %pool);
}
