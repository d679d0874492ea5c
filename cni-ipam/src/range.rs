//! One range of a range set, as host-local configures it.

use std::net::IpAddr;

use ipam_core::{AddressRange, Family, NamedPools, Pool, PoolSpec, Source};
use ipnet::IpNet;
use serde::Deserialize;

/// A range as it is written; an empty text is as good as none.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RangeText {
    #[serde(default)]
    pub(crate) subnet: Option<String>,
    #[serde(default, rename = "rangeStart")]
    pub(crate) range_start: Option<String>,
    #[serde(default, rename = "rangeEnd")]
    pub(crate) range_end: Option<String>,
    #[serde(default)]
    pub(crate) gateway: Option<String>,
}

/// A range with its defaults filled in: addresses of one subnet, and the subnet's gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    subnet: IpNet,
    addresses: AddressRange,
    gateway: IpAddr,
}

impl Range {
    /// By host-local's rules. The subnet's first address is the gateway unless another is named,
    /// the range goes from the first to the last that hosts may have.
    pub(crate) fn new(text: &RangeText) -> Result<Self, String> {
        let subnet = subnet(text.subnet.as_deref().unwrap_or_default())?;
        let stated = |field: &str, text: Option<&str>| match text.filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => {
                address(text).map(Some).map_err(|rule| format!("{field} {text:?}: {rule}"))
            }
        };
        let inside = |field: &str, text: Option<&str>| match stated(field, text)? {
            Some(address) if !subnet.contains(&address) => {
                Err(format!("{field} \"{address}\": it must lie in the subnet {subnet}"))
            }
            address => Ok(address),
        };
        let first = next(subnet.network());
        // It may be anywhere: what is not on the link is reached by a route of its own.
        let gateway = stated("gateway", text.gateway.as_deref())?.unwrap_or(first);
        let start = inside("rangeStart", text.range_start.as_deref())?.unwrap_or(first);
        let end = inside("rangeEnd", text.range_end.as_deref())?.unwrap_or_else(|| last(subnet));
        let addresses = AddressRange::new(start, end).map_err(|error| error.to_string())?;
        Ok(Self { subnet, addresses, gateway })
    }

    pub(crate) fn family(&self) -> Family {
        self.addresses.family()
    }

    pub(crate) fn gateway(&self) -> IpAddr {
        self.gateway
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(address)
    }

    /// Whether an address is in both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.addresses.first()) || other.contains(self.addresses.first())
    }

    /// The range as a pool, from which no gateway is handed out.
    ///
    /// Its name follows from the network and the range alone, not from the place among the others:
    /// sets that a runtime puts in front of them change nothing.
    pub(crate) fn pool(&self, network: &str, gateways: &[IpAddr]) -> Result<Pool, String> {
        let spec = PoolSpec {
            subnet: self.subnet.to_string(),
            ips: vec![self.addresses.to_string()],
            exclude_ips: gateways
                .iter()
                .filter(|gateway| self.contains(**gateway))
                .map(ToString::to_string)
                .collect(),
            // A pool's gateway is one of its subnet; results have the range's.
            gateway: Some(self.gateway)
                .filter(|gateway| self.subnet.contains(gateway))
                .map(|gateway| gateway.to_string()),
            ..PoolSpec::default()
        };
        Pool::new(&self.pool_name(network), &spec).map_err(|error| error.to_string())
    }

    /// The source that offers the pools of these ranges and no others.
    pub(crate) fn source(set: &[Self], network: &str) -> Result<Source, String> {
        let mut named = NamedPools::default();
        for range in set {
            let name = range.pool_name(network).parse();
            let patterns = match range.family() {
                Family::V4 => &mut named.v4,
                Family::V6 => &mut named.v6,
            };
            patterns.push(name.map_err(|error: ipam_core::PatternError| error.to_string())?);
        }
        Ok(Source::Named(named))
    }

    fn pool_name(&self, network: &str) -> String {
        let network: String = network
            .chars()
            .take(LONGEST_NETWORK)
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        let (first, last) = (self.addresses.first(), self.addresses.last());
        format!("{network}-{}-{}", written(first), written(last))
    }
}

/// How much of a network's name stands in those of its pools, in bytes: these have a bound, and
/// within a store the ranges alone tell them apart.
const LONGEST_NETWORK: usize = 128;

/// An address in the characters that names of pools may have, whole, so that two of them behind
/// each other can be read in one way only.
fn written(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|group| format!("{group:x}")).join("-"),
    }
}

fn subnet(text: &str) -> Result<IpNet, String> {
    let refused = |rule: &str| Err(format!("subnet {text:?}: {rule}"));
    let Ok(subnet) = text.parse::<IpNet>() else {
        return refused("it must be a CIDR, as in 10.1.0.0/16");
    };
    if subnet.prefix_len() > subnet.max_prefix_len() - 2 {
        return refused("it is too small to give addresses from");
    }
    if subnet.addr().to_canonical() != subnet.addr() {
        return refused("it must be IPv4 or IPv6, not one in the form of the other");
    }
    if subnet.addr() != subnet.network() {
        let trunc = subnet.trunc();
        return Err(format!("subnet {text:?}: it has host bits set: write {trunc}"));
    }
    Ok(subnet)
}

fn address(text: &str) -> Result<IpAddr, &'static str> {
    let address: IpAddr = text.parse().map_err(|_| "it must be an address")?;
    Ok(address.to_canonical())
}

/// The address behind one that is not the last of all.
fn next(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) + 1).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) + 1).into()),
    }
}

/// The last address of a subnet that a host may have: IPv6 has no broadcast address.
fn last(subnet: IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(subnet) => IpAddr::V4((u32::from(subnet.broadcast()) - 1).into()),
        IpNet::V6(subnet) => IpAddr::V6(subnet.broadcast()),
    }
}
