//! A network device: found, listed, renamed, set up, deleted.

use netlink_packet_core::DefaultNla;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage},
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};
use rustix::io::Errno;

use crate::{
    IpvlanFlag, IpvlanMode, MacAddr, Netlink,
    error::{Context, Operation, Result},
    ipvlan,
};

/// A network device as the kernel describes it. The default is one of which nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the kernel's")]
pub struct Link {
    /// Its number, unique within its namespace.
    pub index: u32,
    /// Its name, unique within its namespace.
    pub name: String,
    /// `ipvlan`, `macvlan`, `veth`…; `None` for a hardware device and the loopback.
    pub kind: Option<String>,
    /// Its link-layer address; `None` where that is not six bytes long.
    pub mac: Option<MacAddr>,
    /// The largest packet it sends, in bytes.
    pub mtu: u32,
    /// Whether it is administratively up (`IFF_UP`), carrier or not.
    pub up: bool,
    /// Whether it has a carrier (`IFF_LOWER_UP`): a cable and a live other end. `false` for any
    /// link that is down.
    pub carrier: bool,
    /// Whether it has a broadcast address (`IFF_BROADCAST`), as Ethernet has.
    pub broadcast: bool,
    /// Whether it carries multicast (`IFF_MULTICAST`).
    pub multicast: bool,
    /// Whether nobody is asked for link-layer addresses on it (`IFF_NOARP`).
    pub noarp: bool,
    /// What a person or a program noted on it, of at most 255 bytes (`IFLA_IFALIAS`).
    pub alias: Option<String>,
    /// How many packets wait to be sent at most.
    pub tx_queue_len: u32,
    /// The index of the bridge, bond or the like that has it as a port, in this namespace.
    pub master: Option<u32>,
    /// The index of the link below (of an ipvlan or macvlan: its parent; of a veth: its peer).
    /// It counts in the namespace where that link is, which may be another than this link's.
    pub parent: Option<u32>,
    /// Where the link below is, if not in this namespace: the number by which this namespace
    /// knows that one, see [`Netlink::netns_number`].
    pub parent_netns: Option<i32>,
    /// The mode; `None` unless this is an ipvlan link.
    pub ipvlan_mode: Option<IpvlanMode>,
    /// The isolation among the parent's links; `None` unless this is an ipvlan link.
    pub ipvlan_flag: Option<IpvlanFlag>,
}

impl Netlink {
    /// The link called `name` (alternative names count too), or `None` when there is none.
    ///
    /// # Errors
    /// The kernel's errno; `ERANGE` or `EINVAL` for a name that no link can have.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        self.find(LinkUnspec::new_with_name(name), Context::new(Operation::FindLink, &name))
    }

    /// The link with this index, or `None` when there is none.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>> {
        self.find(LinkUnspec::new_with_index(index), Context::new(Operation::FindLink, &index))
    }

    fn find(
        &mut self,
        by: LinkMessageBuilder<LinkUnspec>,
        context: Context<'_>,
    ) -> Result<Option<Link>> {
        let message = by.append_extra_attribute(without_statistics()).build();
        match self.one(RouteNetlinkMessage::GetLink(message), context) {
            Ok(RouteNetlinkMessage::NewLink(message)) => Ok(Some(Link::from(message))),
            Ok(_) => Err(context.protocol("not a link")),
            Err(error) if error.is(Errno::NODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every link of the namespace. A dump: where the name or index is known, ask for that one.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(without_statistics());
        let context = Context::new(Operation::ListLinks, &"the namespace");
        self.dump(&RouteNetlinkMessage::GetLink(message), context, |message| match message {
            RouteNetlinkMessage::NewLink(message) => Some(Link::from(message)),
            _ => None,
        })
    }

    /// Every ipvlan link of the namespace; the kernel leaves the others out of its answer.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn ipvlan_links(&mut self) -> Result<Vec<Link>> {
        self.links_of_kind(InfoKind::IpVlan)
    }

    /// Every macvlan link of the namespace, as [`Netlink::ipvlan_links`].
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn macvlan_links(&mut self) -> Result<Vec<Link>> {
        self.links_of_kind(InfoKind::MacVlan)
    }

    fn links_of_kind(&mut self, kind: InfoKind) -> Result<Vec<Link>> {
        let name = kind.to_string();
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
        message.attributes.push(without_statistics());
        let context = Context::new(Operation::ListLinks, &"the namespace");
        self.dump(&RouteNetlinkMessage::GetLink(message), context, |message| match message {
            // A kernel that has not loaded that kind, or no strict checking, filters nothing.
            RouteNetlinkMessage::NewLink(message) => {
                Some(Link::from(message)).filter(|link| link.kind.as_ref() == Some(&name))
            }
            _ => None,
        })
    }

    /// Gives a link another name.
    ///
    /// # Errors
    /// `EEXIST` when the name is taken in this namespace: nothing was changed, and a link just
    /// created under a temporary name is for the caller to delete.
    pub fn rename_link(&mut self, index: u32, name: &str) -> Result<()> {
        let message = LinkUnspec::new_with_index(index).name(name).build();
        let object = format_args!("{index} to {name}");
        let context = Context::new(Operation::RenameLink, &object);
        self.change(RouteNetlinkMessage::SetLink(message), 0, context)
    }

    /// Sets a link administratively up. Routes need that; addresses do not.
    ///
    /// # Errors
    /// `ENODEV` when the link is gone; `ENETDOWN` where its parent must be up first.
    pub fn set_link_up(&mut self, index: u32) -> Result<()> {
        let message = LinkUnspec::new_with_index(index).up().build();
        let context = Context::new(Operation::SetLinkUp, &index);
        self.change(RouteNetlinkMessage::SetLink(message), 0, context)
    }

    /// Gives a link another link-layer address.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL`: a multicast address or zero. `EOPNOTSUPP`: this kind of link has its
    /// parent's. `EBUSY`: this kind has to be down for it. `ENODEV`: no such link.
    pub fn set_link_mac(&mut self, index: u32, mac: MacAddr) -> Result<()> {
        let object = format_args!("{index} to {mac}");
        let attribute = LinkAttribute::Address(mac.0.to_vec());
        self.set_link(index, attribute, Context::new(Operation::SetLinkMac, &object))
    }

    /// Notes something on a link, for whoever finds it; an empty text takes the note away.
    ///
    /// # Errors
    /// `ERANGE`: above 255 bytes. `ENODEV`: no such link.
    pub fn set_link_alias(&mut self, index: u32, alias: &str) -> Result<()> {
        let object = format_args!("{index} to {alias}");
        let context = Context::new(Operation::SetLinkAlias, &object);
        if alias.contains('\0') {
            return Err(context.invalid("an alias cannot have a NUL"));
        }
        // Without the NUL that the message crate would add, and that counts.
        let attribute = LinkAttribute::Other(DefaultNla::new(IFLA_IFALIAS, alias.into()));
        self.set_link(index, attribute, context)
    }

    /// Sets how many packets wait to be sent on a link at most.
    ///
    /// # Errors
    /// `ENODEV`: no such link.
    pub fn set_tx_queue_len(&mut self, index: u32, packets: u32) -> Result<()> {
        let object = format_args!("{index} to {packets}");
        let attribute = LinkAttribute::TxQueueLen(packets);
        self.set_link(index, attribute, Context::new(Operation::SetTxQueueLen, &object))
    }

    fn set_link(
        &mut self,
        index: u32,
        attribute: LinkAttribute,
        context: Context<'_>,
    ) -> Result<()> {
        let message = LinkUnspec::new_with_index(index).append_extra_attribute(attribute).build();
        self.change(RouteNetlinkMessage::SetLink(message), 0, context)
    }

    /// Deletes a link, with its addresses and routes. `false` when it was already gone, which
    /// leaves nothing to do.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a link that cannot be deleted, as a hardware device.
    pub fn delete_link(&mut self, index: u32) -> Result<bool> {
        let message = LinkUnspec::new_with_index(index).build();
        let context = Context::new(Operation::DeleteLink, &index);
        match self.change(RouteNetlinkMessage::DelLink(message), 0, context) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::NODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// `include/uapi/linux/if_link.h`.
const IFLA_IFALIAS: u16 = 20;

/// The counters are most of a link's description, and nobody here reads them.
fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            broadcast: message.header.flags.contains(LinkFlags::Broadcast),
            multicast: message.header.flags.contains(LinkFlags::Multicast),
            noarp: message.header.flags.contains(LinkFlags::Noarp),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::TxQueueLen(packets) => link.tx_queue_len = packets,
                LinkAttribute::Address(bytes) => {
                    link.mac = <[u8; 6]>::try_from(bytes).ok().map(MacAddr);
                }
                LinkAttribute::Link(index) => link.parent = (index != 0).then_some(index),
                LinkAttribute::LinkNetNsId(number) => link.parent_netns = Some(number),
                LinkAttribute::Controller(index) => link.master = (index != 0).then_some(index),
                LinkAttribute::LinkInfo(infos) => {
                    for info in infos {
                        match info {
                            LinkInfo::Kind(kind) => link.kind = Some(kind.to_string()),
                            LinkInfo::Data(InfoData::IpVlan(data)) => {
                                (link.ipvlan_mode, link.ipvlan_flag) = ipvlan::read(&data);
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        link
    }
}
