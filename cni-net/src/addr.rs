//! The addresses of a link.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
};

use crate::{
    Family, Netlink, RouteScope,
    error::{Context, Operation, Result},
};

/// How an address is added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddressOptions {
    /// IPv6: usable at once, without the second of duplicate address detection (RFC 4862 §5.4);
    /// for an address that is known to be given to nobody else. IPv4 has no such wait.
    pub nodad: bool,
}

/// An address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The address, with the prefix length of its subnet.
    pub net: IpNet,
    /// The link that has it.
    pub index: u32,
    /// How far it is good; of IPv6 too.
    pub scope: RouteScope,
    /// IPv6: not yet usable, duplicate address detection is at work.
    pub tentative: bool,
    /// IPv6: never usable, since another node has it.
    pub duplicate: bool,
    /// Nothing new is sent from it.
    pub deprecated: bool,
}

impl Address {
    fn read(message: &AddressMessage) -> Option<Self> {
        // Flags above the eighth are in the attribute only; these are all below.
        let flags = message.header.flags;
        Some(Self {
            net: address(message)?,
            index: message.header.index,
            scope: RouteScope(message.header.scope.into()),
            tentative: flags.contains(AddressHeaderFlags::Tentative),
            duplicate: flags.contains(AddressHeaderFlags::Dadfailed),
            deprecated: flags.contains(AddressHeaderFlags::Deprecated),
        })
    }
}

impl Netlink {
    /// Adds an address with the prefix length of its subnet, and so (the link being up, now or
    /// later) the route to that subnet. An IPv4 address gets no broadcast address, as with
    /// `ip address add`.
    ///
    /// # Errors
    /// `EEXIST`: the link has it. `EADDRINUSE`: another ipvlan link of the same parent has it.
    /// `EACCES`: IPv6 is disabled on the link. `ENODEV`: no such link.
    pub fn add_address(
        &mut self,
        index: u32,
        address: IpNet,
        options: AddressOptions,
    ) -> Result<()> {
        // Not rtnetlink's builder: that one always sets a broadcast address.
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = address.prefix_len();
        message.header.family = Family::of(address.addr()).into();
        if options.nodad && address.addr().is_ipv6() {
            message.header.flags = AddressHeaderFlags::Nodad;
        }
        message.attributes.push(AddressAttribute::Local(address.addr()));
        message.attributes.push(AddressAttribute::Address(address.addr()));
        let object = format_args!("{address} to link {index}");
        let context = Context::new(Operation::AddAddress, &object);
        let message = RouteNetlinkMessage::NewAddress(message);
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, context)
    }

    /// The addresses of a link, of both families, link-local ones too.
    ///
    /// # Errors
    /// `ENODEV`: no such link. (A kernel before 4.20 filters nothing and so misses no link: there
    /// the list is empty.)
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        let context = Context::new(Operation::ListAddresses, &index);
        self.dump(&RouteNetlinkMessage::GetAddress(message), context, |message| match message {
            // A kernel without strict checking answers with the addresses of all links.
            RouteNetlinkMessage::NewAddress(message) if message.header.index == index => {
                Address::read(&message)
            }
            _ => None,
        })
    }

    /// Every address of the namespace, of both families, those of the loopback and link-local ones
    /// too. Two dumps: where the link is known, ask for its own.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn all_addresses(&mut self) -> Result<Vec<Address>> {
        let mut all = Vec::new();
        for family in Family::ALL.map(AddressFamily::from) {
            let mut message = AddressMessage::default();
            message.header.family = family;
            let context = Context::new(Operation::ListAddresses, &"the namespace");
            let get = RouteNetlinkMessage::GetAddress(message);
            all.extend(self.dump(&get, context, |message| match message {
                // A kernel without that family answers with those of all others.
                RouteNetlinkMessage::NewAddress(message) if message.header.family == family => {
                    Address::read(&message)
                }
                _ => None,
            })?);
        }
        Ok(all)
    }
}

fn address(message: &AddressMessage) -> Option<IpNet> {
    // On a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL this one; IPv6 leaves
    // IFA_LOCAL out where they are the same.
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        message.attributes.iter().find_map(wanted)
    };
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        find(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    IpNet::new(address, message.header.prefix_len).ok()
}
