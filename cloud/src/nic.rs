//! What the cloud gave to a NIC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_net::MacAddr;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::error::Error;
use crate::provider::ProviderName;

/// Everything that the cloud gave to the NICs of this node, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Who told.
    pub provider: ProviderName,
    /// The NICs, by MAC; at least one.
    pub nics: Vec<Nic>,
}

/// One NIC and what it may use.
///
/// Guarantees: each address and each prefix lies in the subnet of its family, which is there then,
/// and belongs to one NIC of a [`Reading`] only; the primary address is not among the secondary
/// ones; no address is the gateway's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The MAC, the only one that the cloud takes frames from.
    pub mac: MacAddr,
    /// The cloud's name of it, as `eni-0a1b2c`.
    pub id: String,
    /// The IPv4 address that the node itself uses; `None` where the subnet has no IPv4.
    pub primary: Option<Ipv4Addr>,
    /// The other IPv4 addresses, in ascending order.
    pub secondary: Vec<Ipv4Addr>,
    /// The IPv6 addresses, in ascending order. The clouds know no primary one: whichever the node
    /// has taken for itself is among them.
    pub ipv6: Vec<Ipv6Addr>,
    /// Whole blocks of either family.
    pub prefixes: Vec<IpNet>,
    /// The IPv4 subnet (`VSwitch`) that the NIC is in.
    pub subnet_v4: Option<Ipv4Net>,
    /// The IPv6 subnet that the NIC is in.
    pub subnet_v6: Option<Ipv6Net>,
    /// The router of the IPv4 subnet.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The router of the IPv6 subnet; it may be a link-local address.
    pub gateway_v6: Option<Ipv6Addr>,
}

impl Nic {
    /// Whether the cloud gave this address to the NIC.
    pub fn has(&self, address: IpAddr) -> bool {
        let is_single = match address {
            IpAddr::V4(v4) => self.primary == Some(v4) || self.secondary.contains(&v4),
            IpAddr::V6(v6) => self.ipv6.contains(&v6),
        };
        is_single || self.prefixes.iter().any(|prefix| prefix.contains(&address))
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.primary.iter().chain(&self.secondary).copied().map(IpAddr::from);
        v4.chain(self.ipv6.iter().copied().map(IpAddr::from))
    }

    /// The NIC in order, if its answers fit each other.
    pub(crate) fn checked(mut self) -> Result<Self, Error> {
        let contradiction = |what: String| Error::Contradiction { mac: self.mac, what };
        if self.primary.is_some_and(|primary| self.secondary.contains(&primary)) {
            return Err(contradiction("its primary address is a secondary one too".to_owned()));
        }
        let gateways = [self.gateway_v4.map(IpAddr::from), self.gateway_v6.map(IpAddr::from)];
        for address in self.addresses() {
            if !self.is_in_subnet(address.into()) {
                return Err(contradiction(format!("{address} is not in {}", self.subnets())));
            }
            if gateways.contains(&Some(address)) {
                return Err(contradiction(format!("{address} is the gateway's")));
            }
        }
        for (index, prefix) in self.prefixes.iter().enumerate() {
            if prefix.addr() != prefix.network() || !self.is_in_subnet(*prefix) {
                return Err(contradiction(format!("prefix {prefix} is not in {}", self.subnets())));
            }
            if let Some(inside) = self.addresses().find(|address| prefix.contains(address)) {
                return Err(contradiction(format!("{inside} is in its prefix {prefix} too")));
            }
            let of_gateway = gateways.iter().flatten().find(|gateway| prefix.contains(*gateway));
            if let Some(gateway) = of_gateway {
                return Err(contradiction(format!("prefix {prefix} has the gateway {gateway}")));
            }
            let others = &mut self.prefixes[..index].iter();
            if let Some(other) = others.find(|it| it.contains(prefix) || prefix.contains(*it)) {
                return Err(contradiction(format!("prefixes {other} and {prefix} overlap")));
            }
        }
        if let (Some(gateway), Some(subnet)) = (self.gateway_v4, self.subnet_v4)
            && !subnet.contains(&gateway)
        {
            return Err(contradiction(format!("gateway {gateway} is not in {subnet}")));
        }
        if let (Some(gateway), Some(subnet)) = (self.gateway_v6, self.subnet_v6)
            && !gateway.is_unicast_link_local()
            && !subnet.contains(&gateway)
        {
            return Err(contradiction(format!("gateway {gateway} is not in {subnet}")));
        }
        self.secondary.sort_unstable();
        self.ipv6.sort_unstable();
        self.prefixes.sort_unstable();
        Ok(self)
    }

    /// Whether a whole block lies in the subnet of its family.
    fn is_in_subnet(&self, block: IpNet) -> bool {
        match block {
            IpNet::V4(v4) => self.subnet_v4.is_some_and(|subnet| subnet.contains(&v4)),
            IpNet::V6(v6) => self.subnet_v6.is_some_and(|subnet| subnet.contains(&v6)),
        }
    }

    fn subnets(&self) -> String {
        let v4 = self.subnet_v4.map(|subnet| subnet.to_string());
        let v6 = self.subnet_v6.map(|subnet| subnet.to_string());
        let both: Vec<String> = v4.into_iter().chain(v6).collect();
        if both.is_empty() { "any subnet".to_owned() } else { both.join(" or ") }
    }
}

impl Reading {
    /// The NICs in order, if no address belongs to two of them.
    pub(crate) fn checked(provider: ProviderName, mut nics: Vec<Nic>) -> Result<Self, Error> {
        let mut blocks = Vec::new();
        for nic in &nics {
            let all = nic.addresses().map(IpNet::from).chain(nic.prefixes.iter().copied());
            blocks.extend(all.map(|block| (block.network(), block.broadcast(), nic.mac)));
        }
        // In this order whatever overlaps anything overlaps what is beside it; within one NIC
        // nothing does.
        blocks.sort_unstable();
        for pair in blocks.windows(2) {
            let ((_, last, _), (first, _, mac)) = (pair[0], pair[1]);
            if first <= last {
                let what = format!("{first} belongs to another NIC too");
                return Err(Error::Contradiction { mac, what });
            }
        }
        nics.sort_by_key(|nic| nic.mac);
        Ok(Self { provider, nics })
    }
}
