//! A unicast route over one link.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        self, RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteType,
    },
};
use rustix::io::Errno;

use crate::{
    Change, Family, Netlink,
    error::{Context, Operation, Result},
};

mod message;

/// A unicast route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to; `0.0.0.0/0` and `::/0` are the default routes. Host bits must be 0.
    pub dst: IpNet,
    /// The gateway; `None` when the destination is on the link itself. An IPv4 route may have an
    /// IPv6 gateway (RFC 5549), not the other way round.
    pub via: Option<IpAddr>,
    /// The link it leaves by.
    pub index: u32,
    /// The routing table; `None` to add to main (254). Always there in a route that was read.
    pub table: Option<u32>,
    /// The priority, smaller first; `None` leaves it to the kernel (IPv4: 0, IPv6: 1024).
    pub metric: Option<u32>,
    /// IPv4 only; `None` is link for a route without gateway and universe for one with.
    pub scope: Option<RouteScope>,
    /// Takes the gateway to be on the link although no subnet of the link says so.
    pub onlink: bool,
    /// The path MTU to this destination, in bytes.
    pub mtu: Option<u32>,
    /// The segment size to advertise to this destination, in bytes.
    pub advmss: Option<u32>,
    /// The address to send from where the sender names none; one of this node's. `None` leaves it
    /// to the kernel.
    pub source: Option<IpAddr>,
    /// Who made it (`rtm_protocol`, rtnetlink(7)): for its maker to know it by. `None` to add as
    /// static (4). Always there in a route that was read.
    pub protocol: Option<u8>,
}

/// How far an IPv4 destination is (`rtm_scope`, rtnetlink(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteScope(pub u8);

impl RouteScope {
    /// Anywhere, through a gateway.
    pub const UNIVERSE: Self = Self(0);
    /// Within the site.
    pub const SITE: Self = Self(200);
    /// On the link itself.
    pub const LINK: Self = Self(253);
    /// On this host.
    pub const HOST: Self = Self(254);
}

impl Route {
    /// A route over link `index` in the main table, all else left to the kernel.
    pub fn new(dst: IpNet, via: Option<IpAddr>, index: u32) -> Self {
        Self {
            dst,
            via,
            index,
            table: None,
            metric: None,
            scope: None,
            onlink: false,
            mtu: None,
            advmss: None,
            source: None,
            protocol: None,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        write!(f, " on link {}", self.index)?;
        self.table.map_or(Ok(()), |table| write!(f, " in table {table}"))
    }
}

impl Netlink {
    /// Adds a route; the link must be up.
    ///
    /// # Errors
    /// `EEXIST`: the table has a route to that destination with that metric. `ENETUNREACH`
    /// (IPv4) or `EHOSTUNREACH` (IPv6): the gateway is not on the link, see [`Route::onlink`].
    /// `ENETDOWN`: the link is down.
    pub fn add_route(&mut self, route: &Route) -> Result<()> {
        self.make(&Change::AddRoute(route))
    }

    /// Adds a route behind those to that destination with that metric in that table: IPv4 asks it
    /// after them, IPv6 makes it one more next hop of theirs where both have a gateway. The same a
    /// second time changes nothing.
    ///
    /// # Errors
    /// As [`Netlink::add_route`], but for `EEXIST`.
    pub fn append_route(&mut self, route: &Route) -> Result<()> {
        match self.make(&Change::AppendRoute(route)) {
            Err(error) if error.is(Errno::EXIST) => Ok(()),
            made => made,
        }
    }

    /// Adds a route, in the place of the one to that destination with that metric in that table,
    /// by whatever link or gateway. The same a second time changes nothing.
    ///
    /// One of another metric stays beside it: IPv4 takes `None` for 0, IPv6 for 1024. In the place
    /// of a route of several next hops it comes whole. Where IPv4 has several routes of one metric
    /// behind one another (`ip route append`) it takes the place of the first (`fib_table_insert`
    /// in `net/ipv4/fib_trie.c`, `fib6_add_rt2node` in `net/ipv6/ip6_fib.c`).
    ///
    /// # Errors
    /// As [`Netlink::add_route`], but for `EEXIST`.
    pub fn replace_route(&mut self, route: &Route) -> Result<()> {
        self.make(&Change::ReplaceRoute(route))
    }

    /// Deletes a route. `false` when there is none, which leaves nothing to do.
    ///
    /// What the route leaves open (`None`) may be anything, and the first that fits is deleted: so
    /// one that [`Netlink::routes`] told is deleted itself, and one with a protocol of its own is
    /// nobody else's.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn delete_route(&mut self, route: &Route) -> Result<bool> {
        let context = Context::new(Operation::DeleteRoute, route);
        let mut message = route.message(context)?;
        if route.protocol.is_none() {
            message.header.protocol = RouteProtocol::Unspec;
        }
        if route.scope.is_none() {
            message.header.scope = route::RouteScope::NoWhere;
        }
        match self.change(RouteNetlinkMessage::DelRoute(message), 0, context) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::SRCH) || error.is(Errno::NODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How a packet from this node to `destination` would leave it: by which link and gateway, and
    /// from which address. To an address of the node itself it is the loopback. `None` when there
    /// is no way.
    ///
    /// # Errors
    /// The kernel's errno, as `EINVAL` or `EACCES` for a destination that a route forbids.
    pub fn route_to(&mut self, destination: IpAddr) -> Result<Option<Route>> {
        let family = Family::of(destination);
        let mut message = RouteMessage::default();
        message.header.address_family = family.into();
        message.header.destination_prefix_length = family.bits();
        if family == Family::V4 {
            // Else IPv4 says main, whichever table it was. IPv6 tells the table, and takes no flag.
            message.header.flags = RouteFlags::LookupTable;
        }
        message.attributes.push(RouteAttribute::Destination(match destination {
            IpAddr::V4(address) => RouteAddress::Inet(address),
            IpAddr::V6(address) => RouteAddress::Inet6(address),
        }));
        let context = Context::new(Operation::FindRoute, &destination);
        match self.one(RouteNetlinkMessage::GetRoute(message), context) {
            Ok(RouteNetlinkMessage::NewRoute(message)) => Ok(Route::read(&message).pop()),
            Ok(_) => Err(context.protocol("not a route")),
            Err(error) if error.is(Errno::NETUNREACH) || error.is(Errno::HOSTUNREACH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The unicast routes of both families in one table, or with `None` in all. A route of
    /// several next hops is there once for each.
    ///
    /// # Errors
    /// The kernel's errno. A table that does not exist is empty, not an error.
    pub fn routes(&mut self, table: Option<u32>) -> Result<Vec<Route>> {
        let object = table.map_or_else(|| "all tables".into(), |table| format!("table {table}"));
        let context = Context::new(Operation::ListRoutes, &object);
        let mut routes = self.list_routes(table.map(RouteAttribute::Table).as_ref(), context)?;
        // A kernel without strict checking filters nothing.
        routes.retain(|route| table.is_none() || route.table == table);
        Ok(routes)
    }

    /// The unicast routes of both families that leave by one link, in all tables.
    ///
    /// # Errors
    /// The kernel's errno. A link that does not exist has no routes.
    pub fn routes_by_link(&mut self, index: u32) -> Result<Vec<Route>> {
        let object = format_args!("link {index}");
        let context = Context::new(Operation::ListRoutes, &object);
        let mut routes = self.list_routes(Some(&RouteAttribute::Oif(index)), context)?;
        routes.retain(|route| route.index == index);
        Ok(routes)
    }

    fn list_routes(
        &mut self,
        only: Option<&RouteAttribute>,
        context: Context<'_>,
    ) -> Result<Vec<Route>> {
        let mut all = Vec::new();
        for family in Family::ALL.map(AddressFamily::from) {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            message.header.kind = RouteType::Unicast;
            message.attributes.extend(only.cloned());
            // Without IPv6 the kernel answers a question for its routes with those of every other
            // family.
            let wanted = |message: &RouteMessage| {
                message.header.address_family == family
                    && message.header.kind == RouteType::Unicast
                    && !message.header.flags.contains(RouteFlags::Cloned)
            };
            let get = RouteNetlinkMessage::GetRoute(message);
            let routes = self.dump(&get, context, |message| match message {
                RouteNetlinkMessage::NewRoute(message) if wanted(&message) => {
                    Some(Route::read(&message))
                }
                _ => None,
            });
            match routes {
                Err(error) if error.is(Errno::NOENT) || error.is(Errno::NODEV) => {}
                routes => all.extend(routes?.into_iter().flatten()),
            }
        }
        Ok(all)
    }
}
