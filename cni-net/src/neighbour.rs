//! Which link-layer address a neighbour has.

use std::{fmt, net::IpAddr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState},
};
use rustix::io::Errno;

use crate::{
    Family, MacAddr, Netlink,
    error::{Context, Operation, Result},
};

/// A neighbour that is known for good (`NUD_PERMANENT`): nobody asks for it by ARP or neighbour
/// discovery, and nobody's answer changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// Who it is.
    pub address: IpAddr,
    /// Where packets for it go.
    pub mac: MacAddr,
    /// The link that it is on.
    pub index: u32,
}

/// An entry of the kernel's table, permanent or learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NeighbourEntry {
    /// Who it is.
    pub address: IpAddr,
    /// Where packets for it go; `None` while nobody has answered.
    pub mac: Option<MacAddr>,
    /// The link that it is on.
    pub index: u32,
    /// Whether it is known for good, as [`Neighbour`]. All else comes and goes by itself.
    pub permanent: bool,
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} on link {}", self.address, self.mac, self.index)
    }
}

impl Netlink {
    /// Adds a neighbour, in the place of what is known about that address on that link. The same
    /// a second time changes nothing.
    ///
    /// # Errors
    /// `ENODEV`: no such link. `EINVAL`: the link has no link-layer addresses of six bytes.
    pub fn replace_neighbour(&mut self, neighbour: &Neighbour) -> Result<()> {
        let mut message = about(neighbour.address, neighbour.index);
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(neighbour.mac.0.to_vec()));
        let context = Context::new(Operation::ReplaceNeighbour, neighbour);
        let message = RouteNetlinkMessage::NewNeighbour(message);
        self.change(message, NLM_F_CREATE | NLM_F_REPLACE, context)
    }

    /// Forgets what is known about an address on a link. `false` when nothing was, or the link is
    /// gone.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn delete_neighbour(&mut self, address: IpAddr, index: u32) -> Result<bool> {
        let object = format_args!("{address} on link {index}");
        let context = Context::new(Operation::DeleteNeighbour, &object);
        let message = RouteNetlinkMessage::DelNeighbour(about(address, index));
        match self.change(message, 0, context) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::NOENT) || error.is(Errno::NODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What is known of neighbours of both families on one link, or with `None` on all: also
    /// entries for multicast, which nobody asks for, and those nobody has answered for.
    ///
    /// # Errors
    /// The kernel's errno. A link that does not exist has no neighbours.
    pub fn neighbours(&mut self, index: Option<u32>) -> Result<Vec<NeighbourEntry>> {
        let mut message = NeighbourMessage::default();
        message.attributes.extend(index.map(NeighbourAttribute::IfIndex));
        let object = index.map_or_else(|| "all links".into(), |index| format!("link {index}"));
        let context = Context::new(Operation::ListNeighbours, &object);
        let listed =
            self.dump(
                &RouteNetlinkMessage::GetNeighbour(message),
                context,
                |message| match message {
                    // A kernel without strict checking filters nothing.
                    RouteNetlinkMessage::NewNeighbour(message) => read(&message)
                        .filter(|entry| index.is_none_or(|index| entry.index == index)),
                    _ => None,
                },
            );
        match listed {
            Err(error) if error.is(Errno::NODEV) => Ok(Vec::new()),
            listed => listed,
        }
    }
}

fn about(address: IpAddr, index: u32) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = Family::of(address).into();
    message.header.ifindex = index;
    message.attributes.push(NeighbourAttribute::Destination(match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    message
}

fn read(message: &NeighbourMessage) -> Option<NeighbourEntry> {
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => {
                address = Some(IpAddr::from(*found));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => {
                address = Some(IpAddr::from(*found));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            _ => {}
        }
    }
    Some(NeighbourEntry {
        address: address?,
        mac,
        index: message.header.ifindex,
        permanent: message.header.state == NeighbourState::Permanent,
    })
}
