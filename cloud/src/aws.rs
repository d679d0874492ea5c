//! AWS's instance metadata, version 2.
//!
//! Source: "Instance metadata categories" of the EC2 user guide, and `pkg/awsutils/imds.go` of
//! Amazon's VPC CNI.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::folder::Folder;
use crate::nic::Nic;
use crate::provider::ProviderName;
use crate::service::Cloud;
use crate::session::Dialect;
use crate::transport::Transport;

/// An EC2 instance's.
pub(crate) const CLOUD: Cloud = Cloud {
    name: ProviderName::Aws,
    endpoint: Endpoint::at(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254))),
    dialect: Dialect {
        ttl_header: "X-aws-ec2-metadata-token-ttl-seconds",
        token_header: "X-aws-ec2-metadata-token",
        is_token_optional: false,
    },
    evidence: "placement/availability-zone",
    id: "interface-id",
    // As lines, the primary address first.
    ipv4s: "local-ipv4s",
    // As lines.
    ipv6s: "ipv6s",
    prefixes: ["ipv4-prefix", "ipv6-prefix"],
};

/// The router of every subnet (VPC user guide, "Subnet route tables", "Router IPv6 addresses").
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0x0ec2, 0, 0, 0, 0, 0, 1);

/// What is told of one NIC.
pub(crate) fn nic<T: Transport>(folder: &Folder<'_, T>) -> Result<Nic, Error> {
    let mac = folder.mac;
    let id = folder.id()?;
    // A NIC in a subnet of IPv6 alone has none.
    let all: Vec<Ipv4Addr> = folder.list(CLOUD.ipv4s, "an IPv4 address")?.unwrap_or_default();
    let ipv6: Vec<Ipv6Addr> = folder.list(CLOUD.ipv6s, "an IPv6 address")?.unwrap_or_default();
    let prefixes = folder.prefixes(&CLOUD.prefixes)?;
    let has_v6 = !ipv6.is_empty() || prefixes.iter().any(|block| block.addr().is_ipv6());
    let (primary, secondary) = match all.split_first() {
        Some((primary, secondary)) => (Some(*primary), secondary.to_vec()),
        None => (None, Vec::new()),
    };
    let subnet_v4: Option<Ipv4Net> = subnet(folder, "subnet-ipv4-cidr-block", primary.is_some())?;
    if primary.is_none() && (subnet_v4.is_some() || !has_v6) {
        let what = format!("it has no {}, though its subnet is not one of IPv6 alone", CLOUD.ipv4s);
        return Err(Error::Contradiction { mac, what });
    }
    // A subnet may have IPv6 that this NIC does not use.
    let subnet_v6: Option<Ipv6Net> = subnet(folder, "subnet-ipv6-cidr-blocks", has_v6)?;
    let nic = Nic {
        mac,
        id,
        primary,
        secondary,
        ipv6,
        prefixes,
        subnet_v4: subnet_v4.map(|subnet| subnet.trunc()),
        subnet_v6: subnet_v6.map(|subnet| subnet.trunc()),
        // The router has the first address behind the subnet's own (VPC user guide, "Subnet
        // sizing"); no path tells it.
        gateway_v4: subnet_v4.and_then(|subnet| subnet.hosts().next()),
        gateway_v6: subnet_v6.map(|_| GATEWAY_V6),
    };
    nic.checked()
}

/// The one block that a subnet has of a family; it has to be there if the NIC has addresses of it.
fn subnet<T: Transport, B>(
    folder: &Folder<'_, T>,
    name: &str,
    is_used: bool,
) -> Result<Option<B>, Error>
where
    B: FromStr + Ord + Copy,
{
    let blocks: Vec<B> = folder.list(name, "a CIDR block")?.unwrap_or_default();
    match blocks.as_slice() {
        [block] => Ok(Some(*block)),
        [] if !is_used => Ok(None),
        blocks => {
            let what = format!("{name} has {} blocks, of which there is one", blocks.len());
            Err(Error::Contradiction { mac: folder.mac, what })
        }
    }
}
