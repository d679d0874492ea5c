//! A macvlan link: what one would use where the network allows a MAC per container. Here it is
//! what ipvlan is compared with.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{RouteNetlinkMessage, link::MacVlanMode};
use rtnetlink::LinkMacVlan;

use crate::{
    Netlink, Netns,
    error::{Context, Operation, Result},
};

/// A macvlan link to create, in bridge mode: the parent's links reach each other directly.
#[derive(Debug, Clone, Copy)]
pub struct NewMacvlan<'a> {
    /// Its name: one that neither namespace has, see [`Netlink::add_ipvlan`].
    pub name: &'a str,
    /// The index of the parent, in the socket's namespace.
    pub parent: u32,
    /// The mtu in bytes; `None` follows the parent's.
    pub mtu: Option<u32>,
    /// Where the link is to be.
    pub netns: &'a Netns,
}

impl Netlink {
    /// Creates a macvlan link with a random MAC, down and without addresses, directly in its
    /// namespace. As to the name, see [`Netlink::add_ipvlan`].
    ///
    /// # Errors
    /// As [`Netlink::add_ipvlan`].
    pub fn add_macvlan(&mut self, new: &NewMacvlan<'_>) -> Result<()> {
        let mut link = LinkMacVlan::new(new.name, new.parent, MacVlanMode::Bridge)
            .setns_by_fd(new.netns.as_fd().as_raw_fd());
        if let Some(mtu) = new.mtu {
            link = link.mtu(mtu);
        }
        let object = format_args!("{} on parent {}", new.name, new.parent);
        let context = Context::new(Operation::CreateMacvlan, &object);
        let message = RouteNetlinkMessage::NewLink(link.build());
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, context)
    }
}
