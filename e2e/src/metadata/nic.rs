//! What a cloud gave to a NIC, and the files in which each cloud tells it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail, ensure};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::description::{Cluster, NicSpec};
use crate::mac::Mac;

/// Whose service it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Alibaba Cloud, in the hardened mode.
    Alibaba,
    /// AWS, version 2.
    Aws,
}

impl Dialect {
    /// Where the service is on every machine of this cloud.
    pub fn address(self) -> IpAddr {
        match self {
            Self::Alibaba => IpAddr::from([100, 100, 100, 200]),
            Self::Aws => IpAddr::from([169, 254, 169, 254]),
        }
    }

    /// What the firmware of this cloud's machines says about their maker.
    pub fn vendor(self) -> &'static str {
        match self {
            Self::Alibaba => "Alibaba Cloud",
            Self::Aws => "Amazon EC2",
        }
    }
}

/// What the cloud gave to one NIC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataNic {
    /// Whose it is: a machine is told of its own NICs alone.
    pub node: String,
    /// Its MAC.
    pub mac: Mac,
    /// The cloud's name of it.
    pub id: String,
    /// The address that the node itself uses.
    pub primary: Ipv4Addr,
    /// The others.
    pub secondary: Vec<Ipv4Addr>,
    /// The IPv6 addresses.
    pub ipv6: Vec<Ipv6Addr>,
    /// Whole blocks.
    pub prefixes: Vec<IpNet>,
    /// The subnet.
    pub subnet_v4: Ipv4Net,
    /// The subnet of IPv6.
    pub subnet_v6: Option<Ipv6Net>,
    /// The router, which AWS does not tell.
    pub gateway_v4: Ipv4Addr,
    /// The router of IPv6, which AWS does not tell.
    pub gateway_v6: Option<Ipv6Addr>,
}

impl MetadataNic {
    /// A NIC with IPv4 addresses alone.
    pub fn new(mac: Mac, primary: Ipv4Addr, subnet: Ipv4Net, gateway: Ipv4Addr) -> Self {
        Self {
            node: String::new(),
            mac,
            id: format!("eni-{}", mac.to_string().replace(':', "")),
            primary,
            secondary: Vec::new(),
            ipv6: Vec::new(),
            prefixes: Vec::new(),
            subnet_v4: subnet,
            subnet_v6: None,
            gateway_v4: gateway,
            gateway_v6: None,
        }
    }

    /// What the lab's cloud gave to the NICs of one of its nodes.
    ///
    /// # Errors
    ///
    /// There is no such node, or a primary address is not of IPv4.
    pub fn of_node(cluster: &Cluster, node: &str) -> Result<Vec<Self>> {
        let mut nics = Self::of_cluster(cluster)?;
        nics.retain(|nic| nic.node == node);
        ensure!(!nics.is_empty(), "no node {node:?}");
        Ok(nics)
    }

    /// What the lab's cloud gave to all of its NICs.
    ///
    /// # Errors
    ///
    /// A NIC names no `VSwitch`.
    pub fn of_cluster(cluster: &Cluster) -> Result<Vec<Self>> {
        let told = |nic: &NicSpec| -> Result<Self> {
            let vswitch = cluster.vswitch(&nic.vswitch)?;
            let (IpAddr::V4(primary), IpNet::V4(subnet), IpAddr::V4(gateway)) =
                (nic.primary, vswitch.subnet, vswitch.gateway)
            else {
                bail!("NIC {} is not of IPv4", nic.mac);
            };
            let mut told = Self::new(nic.mac, primary, subnet, gateway);
            for address in nic.secondary.iter().chain(&nic.ipv6) {
                match address {
                    IpAddr::V4(v4) => told.secondary.push(*v4),
                    IpAddr::V6(v6) => told.ipv6.push(*v6),
                }
            }
            if let Some(ipv6) = vswitch.ipv6
                && let (IpNet::V6(subnet), IpAddr::V6(gateway)) = (ipv6.subnet, ipv6.gateway)
            {
                (told.subnet_v6, told.gateway_v6) = (Some(subnet), Some(gateway));
            }
            Ok(told)
        };
        let nics = cluster.nics();
        nics.map(|(node, nic)| Ok(Self { node: node.name.clone(), ..told(nic)? })).collect()
    }

    /// Whether it has this address.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.primary == v4 || self.secondary.contains(&v4),
            IpAddr::V6(v6) => self.ipv6.contains(&v6),
        }
    }

    /// The files of its folder.
    pub(super) fn files(&self, dialect: Dialect) -> BTreeMap<&'static str, String> {
        let v4: Vec<String> =
            [&self.primary].into_iter().chain(&self.secondary).map(ToString::to_string).collect();
        let v6: Vec<String> = self.ipv6.iter().map(ToString::to_string).collect();
        let of = |is_v4: bool| {
            let blocks = self.prefixes.iter().filter(|block| block.addr().is_ipv4() == is_v4);
            blocks.map(ToString::to_string).collect::<Vec<_>>()
        };
        let subnet_v6 = self.subnet_v6.map(|subnet| subnet.to_string());
        let mut files = BTreeMap::new();
        match dialect {
            Dialect::Alibaba => {
                let quoted = |items: &[String]| {
                    format!(
                        "[{}]",
                        items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(",")
                    )
                };
                files.insert("network-interface-id", self.id.clone());
                files.insert("primary-ip-address", self.primary.to_string());
                files.insert("private-ipv4s", quoted(&v4));
                files.insert("vswitch-cidr-block", self.subnet_v4.to_string());
                files.insert("gateway", self.gateway_v4.to_string());
                if !v6.is_empty() {
                    files.insert("ipv6s", format!("[{}]", v6.join(",")));
                }
                for (name, is_v4) in [("ipv4-prefixes", true), ("ipv6-prefixes", false)] {
                    if !of(is_v4).is_empty() {
                        files.insert(name, quoted(&of(is_v4)));
                    }
                }
                files.extend(subnet_v6.map(|subnet| ("vswitch-ipv6-cidr-block", subnet)));
                let gateway = self.gateway_v6.map(|gateway| gateway.to_string());
                files.extend(gateway.map(|gateway| ("ipv6-gateway", gateway)));
            }
            Dialect::Aws => {
                files.insert("interface-id", self.id.clone());
                files.insert("local-ipv4s", v4.join("\n"));
                files.insert("subnet-ipv4-cidr-block", self.subnet_v4.to_string());
                if !v6.is_empty() {
                    files.insert("ipv6s", v6.join("\n"));
                }
                for (name, is_v4) in [("ipv4-prefix", true), ("ipv6-prefix", false)] {
                    if !of(is_v4).is_empty() {
                        files.insert(name, of(is_v4).join("\n"));
                    }
                }
                files.extend(subnet_v6.map(|subnet| ("subnet-ipv6-cidr-blocks", subnet)));
            }
        }
        files
    }
}
