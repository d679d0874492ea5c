//! A route as netlink's messages say it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_route::{
    AddressFamily,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHopFlags,
        RouteVia,
    },
};
use rtnetlink::RouteMessageBuilder;

use super::{Route, RouteScope};
use crate::{
    Family,
    error::{Context, Result},
};

impl Route {
    pub(crate) fn message(&self, context: Context<'_>) -> Result<RouteMessage> {
        if self.source.is_some_and(|source| Family::of(source) != Family::of(self.dst.addr())) {
            return Err(context.invalid("its source is of another family than its destination"));
        }
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
        if let Some(protocol) = self.protocol {
            builder = builder.protocol(protocol.into());
        }
        let metrics: Vec<_> =
            [self.mtu.map(RouteMetric::Mtu), self.advmss.map(RouteMetric::Advmss)]
                .into_iter()
                .flatten()
                .collect();
        let mut message = builder.build();
        message.attributes.extend(self.source.map(|source| {
            RouteAttribute::PrefSource(match source {
                IpAddr::V4(source) => RouteAddress::Inet(source),
                IpAddr::V6(source) => RouteAddress::Inet6(source),
            })
        }));
        if !metrics.is_empty() {
            message.attributes.push(RouteAttribute::Metrics(metrics));
        }
        message
    }

    /// The route of a message, once per next hop.
    pub(super) fn read(message: &RouteMessage) -> Vec<Self> {
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
        route.protocol = Some(header.protocol.into());
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
                RouteAttribute::PrefSource(source) => route.source = ip(source),
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
