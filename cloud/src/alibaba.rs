//! Alibaba Cloud's instance metadata.
//!
//! Source: "Instance metadata" of the ECS user guide, and Terway's `pkg/aliyun/metadata`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::folder::Folder;
use crate::nic::Nic;
use crate::provider::ProviderName;
use crate::service::Cloud;
use crate::session::Dialect;
use crate::transport::Transport;

/// An ECS instance's.
pub(crate) const CLOUD: Cloud = Cloud {
    name: ProviderName::Alibaba,
    endpoint: Endpoint::at(IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200))),
    dialect: Dialect {
        ttl_header: "X-aliyun-ecs-metadata-token-ttl-seconds",
        token_header: "X-aliyun-ecs-metadata-token",
        // The normal mode, in which a token is not needed.
        is_token_optional: true,
    },
    evidence: "region-id",
    id: "network-interface-id",
    // As a JSON list, with the primary address.
    ipv4s: "private-ipv4s",
    // As a list without quotes.
    ipv6s: "ipv6s",
    prefixes: ["ipv4-prefixes", "ipv6-prefixes"],
};

/// What is told of one NIC.
pub(crate) fn nic<T: Transport>(folder: &Folder<'_, T>) -> Result<Nic, Error> {
    let mac = folder.mac;
    let because = "every NIC has one";
    let id = folder.id()?;
    let primary: Ipv4Addr = folder.value("primary-ip-address", "an IPv4 address", because)?;
    // Absent is as good as empty: the primary address is missing then too.
    let all: Vec<Ipv4Addr> = folder.list(CLOUD.ipv4s, "an IPv4 address")?.unwrap_or_default();
    if !all.contains(&primary) {
        let what = format!("its primary address {primary} is not in {}", CLOUD.ipv4s);
        return Err(Error::Contradiction { mac, what });
    }
    let subnet: Ipv4Net = folder.value("vswitch-cidr-block", "an IPv4 block", because)?;
    let gateway = folder.value("gateway", "an IPv4 address", because)?;
    let ipv6: Vec<Ipv6Addr> = folder.list(CLOUD.ipv6s, "an IPv6 address")?.unwrap_or_default();
    let prefixes = folder.prefixes(&CLOUD.prefixes)?;
    let has_v6 = !ipv6.is_empty() || prefixes.iter().any(|block| block.addr().is_ipv6());
    let v6 = has_v6.then(|| {
        let because = "the NIC has IPv6 addresses";
        let subnet: Ipv6Net = folder.value("vswitch-ipv6-cidr-block", "an IPv6 block", because)?;
        let gateway: Ipv6Addr = folder.value("ipv6-gateway", "an IPv6 address", because)?;
        Ok((subnet.trunc(), gateway))
    });
    let v6 = v6.transpose()?;
    let nic = Nic {
        mac,
        id,
        primary: Some(primary),
        secondary: all.into_iter().filter(|address| *address != primary).collect(),
        ipv6,
        prefixes,
        subnet_v4: Some(subnet.trunc()),
        subnet_v6: v6.map(|(subnet, _)| subnet),
        gateway_v4: Some(gateway),
        gateway_v6: v6.map(|(_, gateway)| gateway),
    };
    nic.checked()
}
