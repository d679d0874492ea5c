//! A network device: found, listed, renamed, set up, deleted.

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

/// A network device as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
            Err(error) if error.errno() == Some(Errno::NODEV.raw_os_error()) => Ok(None),
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
            Err(error) if error.errno() == Some(Errno::NODEV.raw_os_error()) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The counters are most of a link's description, and nobody here reads them.
fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            kind: None,
            mac: None,
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            master: None,
            parent: None,
            parent_netns: None,
            ipvlan_mode: None,
            ipvlan_flag: None,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
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
