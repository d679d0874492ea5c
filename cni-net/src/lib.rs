//! Links, addresses, routes and network namespaces over blocking netlink.
//!
//! This is the one place of the workspace that speaks to the kernel's network stack. It knows no
//! CNI and chooses no address: it does what it is told, and says exactly what the kernel said.
//! Its user is a process that lives for milliseconds, and that shapes it:
//!
//! - **No runtime.** rtnetlink answers within the system call that asks, so a request is a send
//!   and a receive on a plain socket ([`Netlink`]). There is nothing to wait for and nothing that
//!   could hang. Messages are built and read by the rust-netlink crates.
//! - **Few round trips.** A link is asked for by name or index, not looked for in a dump. It is
//!   created in its namespace, not moved there, and by its name, not renamed. What must be listed is
//!   filtered by the kernel. Changes go to it together ([`Netlink::make_all`]).
//! - **Nobody is ever in the wrong namespace.** Entering one changes the whole thread, so that only
//!   a thread that does nothing else does it ([`Netns::run`]). A socket belongs to the
//!   namespace it was opened in, so one entry is enough ([`Netns::netlink`]) and the rest is done
//!   from outside.
//! - **Errors are for acting on.** Each has the operation, its object, the errno, the kernel's own
//!   words (extended ack) and, where known, the remedy ([`Error`]).
//! - **All or nothing.** [`Undo`] takes back what was done when a later step fails.
//!
//! - **What lives is known or not, never guessed.** A [`Census`] finds every network namespace of
//!   the node and the addresses in it, and says when it could not look everywhere.
//!
//! - **Who has an address is asked, not taken from a cache.** A [`Segment`] is a link's packet socket,
//!   for ARP and neighbour discovery.
//!
//! Everything needs `CAP_NET_ADMIN` in the namespace it is done in, and entering a namespace needs
//! `CAP_SYS_ADMIN`; looking does not. A census needs `CAP_SYS_PTRACE` too.
//!
//! An ipvlan link with an address and a default route, or nothing at all:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use cni_net::{
//!     AddressOptions, Change, IpvlanFlag, IpvlanMode, Netlink, Netns, NewIpvlan, Route, Undo,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pod = &Netns::open(Path::new("/run/netns/pod"))?;
//! let mut host = Netlink::open()?;
//! let mut inside = pod.netlink()?;
//! let parent = host.link("ens6")?.ok_or("no link ens6")?;
//!
//! let index = 0x5f_0001;
//! let mut undo = Undo::new(|error| eprintln!("{error}"));
//! host.add_ipvlan(&NewIpvlan {
//!     name: "eth0",
//!     parent: parent.index,
//!     mode: IpvlanMode::L2,
//!     flag: IpvlanFlag::Bridge,
//!     mtu: None,
//!     netns: pod,
//!     index: Some(index),
//! })?;
//! undo.push("create link", move || pod.netlink()?.delete_link(index).map(|_| ()));
//!
//! let (address, options) = ("10.0.3.7/24".parse()?, AddressOptions::default());
//! let route = Route::new("0.0.0.0/0".parse()?, Some("10.0.3.1".parse()?), index);
//! let changes = [
//!     Change::AddAddress { index, address, options },
//!     Change::SetLinkUp(index),
//!     Change::AddRoute(&route),
//! ];
//! inside.make_all(&changes).into_iter().collect::<Result<(), _>>()?;
//! undo.commit();
//! # Ok(())
//! # }
//! ```
#![warn(clippy::unwrap_used)]

mod addr;
mod answer;
mod census;
mod change;
mod door;
mod error;
mod family;
#[cfg(feature = "fault-injection")]
mod fault;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gap;
mod ipvlan;
mod link;
mod mac;
mod macvlan;
mod mark;
mod mountinfo;
mod neighbour;
mod netlink;
mod netns;
mod nftables;
mod nsfs;
mod remedy;
mod reply_marks;
mod route;
mod rule;
mod segment;
mod socket;
mod solicitation;
pub mod sysctl;
mod undo;
mod veth;

pub use addr::{Address, AddressOptions};
pub use census::{Census, CensusOptions, Interface, LiveNetns, OpenFiles, Place, WholeCensus};
pub use change::Change;
pub use error::{Error, Operation, Result};
pub use family::Family;
pub use gap::{CensusGap, IncompleteCensus};
pub use ipvlan::{IpvlanFlag, IpvlanMode, NewIpvlan, UnknownIpvlanFlag, UnknownIpvlanMode};
pub use link::Link;
pub use mac::{MacAddr, MacAddrError};
pub use macvlan::NewMacvlan;
pub use mark::{Mark, MarkError};
pub use neighbour::{Neighbour, NeighbourEntry};
pub use netlink::Netlink;
pub use netns::{Netns, NetnsId};
pub use nftables::Nftables;
pub use reply_marks::ReplyMarks;
pub use route::{Route, RouteScope};
pub use rule::Rule;
pub use segment::{Claim, Segment};
pub use undo::{Undo, UndoError};
pub use veth::NewVeth;
