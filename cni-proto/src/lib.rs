//! The [Container Network Interface] for plugin authors: a call comes in as values and goes out
//! as values.
//!
//! A runtime starts a plugin with a verb and an attachment in its environment and a network's
//! configuration on its standard input; the plugin answers with one JSON object and an exit code.
//! [`serve()`] is that exchange. It checks everything that the specification lets it check, hands a
//! [`Plugin`] one request per verb whose parts cannot be wrong, and prints its result or its
//! [`Error`] in the version that was asked for, which may be any from 0.1.0 to 1.1.0. ADD is read
//! strictly, DEL leniently: what an ADD left must be releasable with whatever is left of its
//! configuration. What a delegate prints is read by [`AddResult::parse`] and [`Error::parse`].
//!
//! This crate is pure. It opens nothing, asks no clock and looks up no variable: environment and
//! streams are arguments, so a test needs no process. All that it remembers is in which version the
//! call at hand is answered, for [`panic_object`]. Whether a namespace exists, or is the plugin's
//! own, is for the plugin to find out.
//!
//! A whole plugin, which hands on what the plugins before it made:
//!
//! ```
//! use std::io::{Write, stderr, stdin, stdout};
//!
//! use cni_proto::{AddRequest, AddResult, DelRequest, Error, Plugin, Version, panic_object, serve};
//!
//! struct Pass;
//!
//! impl Plugin for Pass {
//!     fn name(&self) -> &str { "pass" }
//!     fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
//!         Ok(request.config.prev_result.clone().unwrap_or_default())
//!     }
//!     fn del(&self, _: &DelRequest) -> Result<(), Error> { Ok(()) }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     std::panic::set_hook(Box::new(|info| {
//!         let _ = stdout().write_all(&panic_object(info, Version::NEWEST));
//!         std::process::exit(1)
//!     }));
//!     serve(&Pass, std::env::vars_os(), &mut stdin(), &mut stdout(), &mut stderr()).into()
//! }
//! ```
//!
//! [Container Network Interface]: https://www.cni.dev/docs/spec/
#![warn(clippy::unwrap_used)]

mod annotations;
mod args;
mod call;
mod config;
mod decode;
mod env;
mod error;
mod field_names;
mod id;
mod in_use;
mod phases;
mod request;
mod result;
mod serve;
mod verb;
mod version;

pub use annotations::{LONGEST_ANNOTATION, POD_ANNOTATIONS, PodAnnotations};
pub use args::CniArgs;
pub use call::Call;
pub use config::{DelConfig, NetworkConfig, SPECIFIED_FIELDS};
pub use error::{Code, Error};
pub use field_names::field_names;
pub use id::{ContainerId, IfName, InvalidName, NetworkName};
pub use phases::Phases;
pub use request::{
    AddRequest, AttachmentRequest, CheckRequest, DelRequest, GcRequest, StatusRequest,
    ValidAttachment,
};
pub use result::{AddResult, Dns, Interface, IpConfig, Route};
pub use serve::{MAX_INPUT_BYTES, Plugin, panic_object, serve};
pub use verb::{UnknownVerb, Verb};
pub use version::{UnsupportedVersion, Version};
