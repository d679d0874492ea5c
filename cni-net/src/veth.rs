//! A veth pair: two links, each the other end of the other, in two namespaces or in one.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage},
};

use crate::{
    MacAddr, Netlink, Netns,
    error::{Context, Operation, Result},
};

/// A veth pair to create.
#[derive(Debug, Clone, Copy)]
pub struct NewVeth<'a> {
    /// The name of the end that is in the socket's namespace.
    pub name: &'a str,
    /// The name of the other end.
    pub peer_name: &'a str,
    /// Where the other end is to be.
    pub peer_netns: &'a Netns,
    /// The link-layer address of the end that is in the socket's namespace.
    pub mac: MacAddr,
    /// The link-layer address of the other end.
    pub peer_mac: MacAddr,
    /// The mtu of both ends in bytes; `None` leaves it to the kernel (1500).
    pub mtu: Option<u32>,
    /// How many packets wait on either end at most; `None` leaves it to the kernel.
    pub tx_queue_len: Option<u32>,
}

impl Netlink {
    /// Creates a veth pair, both ends down and without addresses, each in its namespace and with
    /// its address from the first moment: nobody sees an end under another address, and nobody
    /// who names addresses by policy, as systemd-udevd, finds one that the kernel chose.
    ///
    /// Find the end in the socket's namespace by its name; the other is its
    /// [`parent`](crate::Link::parent). An alias cannot be given here, for the kernel takes none
    /// from a new link (`rtnl_create_link` in `net/core/rtnetlink.c`): see
    /// [`Netlink::set_link_alias`].
    ///
    /// # Errors
    /// `EEXIST`: one of the names is taken in the namespace it is for; nothing was made.
    /// `EADDRNOTAVAIL`: an address is a multicast one or zero. `EINVAL`: the mtu is below 68 or
    /// above 65535, or a name is none. `EOPNOTSUPP`: the kernel has no veth.
    pub fn add_veth(&mut self, new: &NewVeth<'_>) -> Result<()> {
        let end = |name: &str, mac: MacAddr| {
            let mut message = LinkMessage::default();
            message.attributes.push(LinkAttribute::IfName(name.to_owned()));
            message.attributes.push(LinkAttribute::Address(mac.0.to_vec()));
            message.attributes.extend(new.mtu.map(LinkAttribute::Mtu));
            message.attributes.extend(new.tx_queue_len.map(LinkAttribute::TxQueueLen));
            message
        };
        let mut peer = end(new.peer_name, new.peer_mac);
        peer.attributes.push(LinkAttribute::NetNsFd(new.peer_netns.as_fd().as_raw_fd()));
        let mut message = end(new.name, new.mac);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let object = format_args!("{} with peer {}", new.name, new.peer_name);
        let context = Context::new(Operation::CreateVeth, &object);
        let message = RouteNetlinkMessage::NewLink(message);
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, context)
    }
}
