//! A unicast route over one link.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHopFlags,
        RouteType, RouteVia,
    },
};
use rtnetlink::RouteMessageBuilder;
use rustix::io::Errno;

use crate::{
    Netlink,
    error::{Context, Operation, Result},
};

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
        }
    }

    fn message(&self, context: Context<'_>) -> Result<RouteMessage> {
        match (self.dst, self.via) {
            (IpNet::V4(dst), via) => {
                let builder = RouteMessageBuilder::<Ipv4Addr>::new()
                    .destination_prefix(dst.addr(), dst.prefix_len());
                let near = if via.is_some() { RouteScope::UNIVERSE } else { RouteScope::LINK };
                let builder = builder.scope(self.scope.unwrap_or(near).0.into());
                Ok(self.finish(match via {
                    Some(IpAddr::V4(via)) => builder.gateway(via),
                    Some(IpAddr::V6(via)) => builder.via(via),
                    None => builder,
                }))
            }
            (IpNet::V6(_), Some(IpAddr::V4(_))) => {
                Err(context.invalid("an IPv6 route cannot have an IPv4 gateway"))
            }
            (IpNet::V6(dst), via) => {
                let builder = RouteMessageBuilder::<Ipv6Addr>::new()
                    .destination_prefix(dst.addr(), dst.prefix_len());
                Ok(self.finish(match via {
                    Some(IpAddr::V6(via)) => builder.gateway(via),
                    _ => builder,
                }))
            }
        }
    }

    fn finish<T>(&self, builder: RouteMessageBuilder<T>) -> RouteMessage {
        let mut builder = builder.output_interface(self.index);
        if let Some(table) = self.table {
            builder = builder.table_id(table);
        }
        if let Some(metric) = self.metric {
            builder = builder.priority(metric);
        }
        if self.onlink {
            builder = builder.onlink();
        }
        let metrics: Vec<_> =
            [self.mtu.map(RouteMetric::Mtu), self.advmss.map(RouteMetric::Advmss)]
                .into_iter()
                .flatten()
                .collect();
        let mut message = builder.build();
        if !metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        message
    }

    /// The route of a message, once per next hop.
    fn read(message: &RouteMessage) -> Vec<Self> {
        let header = &message.header;
        let dst = match header.address_family {
            AddressFamily::Inet => IpNet::V4(Ipv4Net::default()),
            AddressFamily::Inet6 => IpNet::V6(Ipv6Net::default()),
            _ => return Vec::new(),
        };
        let mut route = Self::new(dst, None, 0);
        route.table = Some(header.table.into());
        route.scope = Some(RouteScope(header.scope.into()));
        route.onlink = header.flags.contains(RouteFlags::Onlink);
        let mut hops = Vec::new();
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(address) => {
                    let net = ip(address)
                        .and_then(|ip| IpNet::new(ip, header.destination_prefix_length).ok());
                    route.dst = net.unwrap_or(route.dst);
                }
                RouteAttribute::Oif(index) => route.index = *index,
                RouteAttribute::Table(table) => route.table = Some(*table),
                RouteAttribute::Priority(metric) => route.metric = Some(*metric),
                RouteAttribute::Metrics(metrics) => {
                    for metric in metrics {
                        match metric {
                            RouteMetric::Mtu(mtu) => route.mtu = Some(*mtu),
                            RouteMetric::Advmss(advmss) => route.advmss = Some(*advmss),
                            _ => {}
                        }
                    }
                }
                RouteAttribute::MultiPath(all) => hops.clone_from(all),
                other => route.via = gateway(other).or(route.via),
            }
        }
        if hops.is_empty() {
            return vec![route];
        }
        hops.iter()
            .map(|hop| Self {
                index: hop.interface_index,
                via: hop.attributes.iter().find_map(gateway),
                onlink: hop.flags.contains(RouteNextHopFlags::Onlink),
                ..route.clone()
            })
            .collect()
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
        let context = Context::new(Operation::AddRoute, route);
        let message = RouteNetlinkMessage::NewRoute(route.message(context)?);
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, context)
    }

    /// The unicast routes of both families in one table, or with `None` in all. A route of
    /// several next hops is there once for each.
    ///
    /// # Errors
    /// The kernel's errno. A table that does not exist is empty, not an error.
    pub fn routes(&mut self, table: Option<u32>) -> Result<Vec<Route>> {
        let mut routes = self.routes_of(AddressFamily::Inet, table)?;
        routes.extend(self.routes_of(AddressFamily::Inet6, table)?);
        Ok(routes)
    }

    fn routes_of(&mut self, family: AddressFamily, table: Option<u32>) -> Result<Vec<Route>> {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.header.kind = RouteType::Unicast;
        message.attributes.extend(table.map(RouteAttribute::Table));
        let object = table.map_or_else(|| "all tables".into(), |table| format!("table {table}"));
        let context = Context::new(Operation::ListRoutes, &object);
        // The kernel filters only under strict checking, and without IPv6 it answers a question
        // for IPv6 routes with those of every other family.
        let wanted = |message: &RouteMessage| {
            message.header.address_family == family
                && message.header.kind == RouteType::Unicast
                && !message.header.flags.contains(RouteFlags::Cloned)
        };
        let routes =
            self.dump(&RouteNetlinkMessage::GetRoute(message), context, |message| match message {
                RouteNetlinkMessage::NewRoute(message) if wanted(&message) => {
                    Some(Route::read(&message))
                }
                _ => None,
            });
        match routes {
            Err(error) if error.errno() == Some(Errno::NOENT.raw_os_error()) => Ok(Vec::new()),
            routes => Ok(routes?
                .into_iter()
                .flatten()
                .filter(|route| table.is_none() || route.table == table)
                .collect()),
        }
    }
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
