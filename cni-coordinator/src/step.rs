//! One change of a plan: where, what, and what becomes of an ADD that cannot have it.

use std::net::IpAddr;

use cni_net::MacAddr;
use ipam_core::Family;
use ipnet::IpNet;

use crate::ingredient::Ingredient;
use crate::mark::Mark;
use crate::numbers::PROTOCOL;

/// One change. `Display` is the same change as a command of iproute2, sysctl(8) or nft(8).
///
/// A step says what is to be, not what is to be made: performed a second time it changes nothing,
/// and what an earlier pod left in its place it replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// In which namespace.
    pub place: Place,
    /// What.
    pub change: Change,
    /// What becomes of the whole if the kernel refuses it.
    pub need: Need,
    /// What it is there for.
    pub ingredient: Ingredient,
}

/// A namespace. Interfaces are named and not numbered: a plan is older than the links it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The node's, in which the plugin runs.
    Node,
    /// The pod's.
    Pod,
}

/// What becomes of an ADD or DEL whose step cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// It fails.
    Must,
    /// It goes on, and a person is told.
    Should,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// There is a veth pair with these ends, the first in the pod. One that has these MACs and the
    /// alias of the container stays; any other link of either name is deleted first.
    PutVeth(Veth),
    /// The link has this alias.
    SetAlias {
        /// Its name.
        link: String,
        /// The text.
        alias: String,
    },
    /// The link is up.
    SetUp {
        /// Its name.
        link: String,
    },
    /// The link's transmit queue has this length.
    SetTxQueueLen {
        /// Its name.
        link: String,
        /// In packets.
        packets: u32,
    },
    /// The link has this address.
    PutAddress {
        /// Its name.
        link: String,
        /// With its prefix length.
        address: IpNet,
    },
    /// The setting below `/proc/sys/net` has this value.
    SetSysctl {
        /// With slashes, as `ipv4/conf/eth0/rp_filter`.
        key: String,
        /// The value.
        value: u8,
    },
    /// Nobody but `link` has a neighbour entry for the address: one that an earlier pod left would
    /// be used instead, or is in the way.
    ForgetNeighbours {
        /// The address.
        address: IpAddr,
        /// The link whose entry stays.
        link: String,
    },
    /// The neighbour is known for ever: nobody asks for it, and nobody can claim to be it.
    PutNeighbour(Neighbour),
    /// The neighbour is not known on this link.
    DeleteNeighbour {
        /// Its address.
        address: IpAddr,
        /// The link.
        link: String,
    },
    /// No route to exactly this destination is in the table but those over `link`.
    ForgetRoutes {
        /// The destination.
        dst: IpNet,
        /// The table.
        table: u32,
        /// The link whose routes stay.
        link: String,
    },
    /// The route is there. Another to the same destination with the same metric in the same table
    /// is replaced.
    PutRoute(Route),
    /// The route is not there.
    DeleteRoute(Route),
    /// The table has no route of the family.
    FlushTable {
        /// The family.
        family: Family,
        /// The table.
        table: u32,
    },
    /// The main table has a default route of the family by another link than `leaving`: if it has
    /// none, those of `table` are put there, in the place of that link's.
    ReturnDefault {
        /// The family.
        family: Family,
        /// The table of the NIC that is to have it.
        table: u32,
        /// The link whose own goes with it.
        leaving: String,
    },
    /// The rule is there, once.
    PutRule(Rule),
    /// The rule is not there.
    DeleteRule(Rule),
    /// The packet filter marks as [`Marks`] says, and our table of it has nothing else.
    PutMarks(Marks),
    /// The link is not there. One whose alias is not that of the same container
    /// ([`VethPair::owns`](crate::VethPair::owns)), or that has none and another MAC, is somebody
    /// else's and stays.
    DeleteLink {
        /// Its name.
        link: String,
        /// An alias of the container.
        alias: String,
        /// By which a link is known that a killed ADD left before it could name it.
        mac: MacAddr,
    },
}

/// Both ends of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veth {
    /// The name of the end in the pod.
    pub pod: String,
    /// The name of the end on the node.
    pub node: String,
    /// The MAC in the pod.
    pub pod_mac: MacAddr,
    /// The MAC on the node.
    pub node_mac: MacAddr,
    /// Of both, in bytes; `None` is the kernel's 1500.
    pub mtu: Option<u32>,
}

/// A permanent neighbour entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Who.
    pub address: IpAddr,
    /// By which MAC.
    pub mac: MacAddr,
    /// On which link.
    pub link: String,
}

/// A unicast route, found or wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to; everything is `0.0.0.0/0` or `::/0`.
    pub dst: IpNet,
    /// The next hop; `None` if the destination is on the link.
    pub via: Option<IpAddr>,
    /// The link it leaves by.
    pub link: String,
    /// The table it is in.
    pub table: u32,
    /// The source that is used where the application chose none.
    pub source: Option<IpAddr>,
    /// Which of several counts, the lowest first; `None` is the kernel's: 0 for IPv4, 1024 for
    /// IPv6.
    pub metric: Option<u32>,
    /// The largest packet, in bytes, where it is not the link's.
    pub mtu: Option<u32>,
    /// The largest segment of TCP that the other side is told, in bytes.
    pub advmss: Option<u32>,
    /// Whether its scope is the link (IPv4: `RT_SCOPE_LINK`; IPv6 routes have no scope).
    pub link_scope: bool,
    /// Whether the next hop is on the link although no route says so (`RTNH_F_ONLINK`).
    pub onlink: bool,
    /// Who made it (`rtm_protocol`).
    pub protocol: u8,
}

impl Route {
    /// A route of ours with nothing but the kernel's defaults.
    pub fn new(dst: IpNet, via: Option<IpAddr>, link: impl Into<String>, table: u32) -> Self {
        Self {
            dst,
            via,
            link: link.into(),
            table,
            source: None,
            metric: None,
            mtu: None,
            advmss: None,
            link_scope: false,
            onlink: false,
            protocol: PROTOCOL,
        }
    }
}

/// A rule, found or wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its family.
    pub family: Family,
    /// Its place among the rules, the lowest first.
    pub preference: u32,
    /// Packets from here; `None` is from anywhere.
    pub from: Option<IpNet>,
    /// Packets with this mark; `None` is with any.
    pub mark: Option<Mark>,
    /// The table to look the destination up in.
    pub table: u32,
    /// Who made it (`FRA_PROTOCOL`).
    pub protocol: u8,
}

/// The marks in the pod: a connection that comes in by `link` is marked, and what the pod answers
/// on it is marked and routed again. Only bits of the mask change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    /// The pod's end of the veth.
    pub link: String,
    /// The mark.
    pub mark: Mark,
}
