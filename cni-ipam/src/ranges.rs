//! The configuration of the plugin host-local: ranges of addresses in the network's own words.
//!
//! Facts about it: the plugin's documentation and `plugins/ipam/host-local/backend/allocator` of
//! containernetworking/plugins.

use std::net::IpAddr;
use std::path::PathBuf;

use cni_proto::{CniArgs, Code, Error, NetworkConfig, Route, Version};
use ipam_core::{Asker, Attachment, Demand, Family, NetworkRef, NodeName, PodRef, Pool, PoolName};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::fields_of_add;
use crate::place::Place;
use crate::range::{Range, RangeText};
use crate::requested::{self, Requested};

/// A network whose configuration has ranges of its own, with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranges {
    /// Where the leases are, and by which rules.
    pub(crate) place: Place,
    /// One pool a range.
    pub(crate) pools: Vec<Pool>,
    /// The routes of every result.
    pub(crate) routes: Vec<Route>,
    /// The file whose servers every result names.
    pub(crate) resolv_conf: Option<PathBuf>,
    network: String,
    /// Each set gives one address.
    sets: Vec<Vec<Range>>,
    requested: Requested,
}

#[derive(Debug, Default, Deserialize)]
struct Outer {
    #[serde(default)]
    ipam: Option<Ipam>,
    #[serde(default, rename = "runtimeConfig")]
    runtime: Option<RuntimeConfig>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Ipam {
    #[serde(default)]
    subnet: Option<String>,
    #[serde(default, rename = "rangeStart")]
    range_start: Option<String>,
    #[serde(default, rename = "rangeEnd")]
    range_end: Option<String>,
    #[serde(default)]
    gateway: Option<String>,
    #[serde(default)]
    ranges: Option<Vec<Vec<RangeText>>>,
    #[serde(default)]
    routes: Option<Vec<Route>>,
    #[serde(default, rename = "resolvConf")]
    resolv_conf: Option<PathBuf>,
    // What chooses among applied pools.
    #[serde(default)]
    network: Option<IgnoredAny>,
    #[serde(default, rename = "nodeName")]
    node_name: Option<IgnoredAny>,
    #[serde(default)]
    default_ipv4_ippool: Option<IgnoredAny>,
    #[serde(default)]
    default_ipv6_ippool: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
struct RuntimeConfig {
    #[serde(default, rename = "ipRanges")]
    ip_ranges: Option<Vec<Vec<RangeText>>>,
}

impl Ipam {
    /// The first of the fields that only host-local has.
    fn of_ranges(&self) -> Option<&'static str> {
        [
            ("ranges", self.ranges.is_some()),
            ("subnet", self.subnet.is_some()),
            ("rangeStart", self.range_start.is_some()),
            ("rangeEnd", self.range_end.is_some()),
            ("gateway", self.gateway.is_some()),
            ("routes", self.routes.is_some()),
            ("resolvConf", self.resolv_conf.is_some()),
        ]
        .into_iter()
        .find_map(|(name, is_there)| is_there.then_some(name))
    }

    /// The first of the fields that choose among applied pools.
    fn of_pools(&self) -> Option<&'static str> {
        [
            ("default_ipv4_ippool", self.default_ipv4_ippool.is_some()),
            ("default_ipv6_ippool", self.default_ipv6_ippool.is_some()),
            ("network", self.network.is_some()),
            ("nodeName", self.node_name.is_some()),
        ]
        .into_iter()
        .find_map(|(name, is_there)| is_there.then_some(name))
    }

    /// The form without `ranges`: one set of one range.
    fn flat(&mut self) -> Option<Vec<RangeText>> {
        let subnet = self.subnet.take().filter(|subnet| !subnet.is_empty())?;
        Some(vec![RangeText {
            subnet: Some(subnet),
            range_start: self.range_start.take(),
            range_end: self.range_end.take(),
            gateway: self.gateway.take(),
        }])
    }
}

impl Ranges {
    /// `None` if the configuration has none of host-local's fields: applied pools serve it.
    ///
    /// # Errors
    ///
    /// Code 7 with the field and the rule it breaks.
    pub(crate) fn new(config: &NetworkConfig) -> Result<Option<Self>, Error> {
        let Outer { ipam, runtime } = config.plugin()?;
        let mut ipam = ipam.unwrap_or_default();
        let mut texts = runtime.and_then(|runtime| runtime.ip_ranges).unwrap_or_default();
        let asks = if texts.is_empty() { ipam.of_ranges() } else { Some("ipRanges") };
        let Some(asks) = asks else { return Ok(None) };
        if let Some(pools) = ipam.of_pools() {
            let msg = format!(
                "ipam.{pools} is for applied pools, {asks} for ranges of the configuration: leave \
                 one of them out"
            );
            return Err(Error::new(Code::INVALID_CONFIG, msg));
        }
        let fields = fields_of_add(config)?;
        texts.extend(ipam.flat());
        texts.extend(ipam.ranges.unwrap_or_default());
        if texts.is_empty() {
            return Err(refused(format!(
                "ipam has {asks} and no range: give ranges or subnet, or leave it out for applied \
                 pools"
            )));
        }
        let sets = sets(&texts, config.cni_version)?;
        let network = config.name.as_str().to_owned();
        let gateways: Vec<IpAddr> = sets.iter().flatten().map(Range::gateway).collect();
        let pools = sets.iter().flatten().map(|range| range.pool(&network, &gateways));
        Ok(Some(Self {
            place: Place::of_ranges(&fields, &network),
            pools: pools.collect::<Result<_, _>>().map_err(refused)?,
            routes: ipam.routes.unwrap_or_default(),
            resolv_conf: ipam.resolv_conf.filter(|path| !path.as_os_str().is_empty()),
            network,
            sets,
            requested: Requested::new(config)?,
        }))
    }

    /// The gateway of the range whose pool this is.
    pub(crate) fn gateway_of(&self, pool: &PoolName) -> Option<IpAddr> {
        let place = self.pools.iter().position(|one| one.name() == pool)?;
        self.sets.iter().flatten().nth(place).map(Range::gateway)
    }

    /// What an attachment asks for: one address of each set.
    ///
    /// # Errors
    ///
    /// Code 4 for `CNI_ARGS`, 7 for a requested address that no set can give.
    pub(crate) fn demands(
        &self,
        attachment: &Attachment,
        pod: Option<&PodRef>,
        args: &CniArgs,
    ) -> Result<Vec<Demand>, Error> {
        let mut requested = self.requested.with(args)?;
        // Pools of a configuration have no filters: whoever asks may use them.
        let node: NodeName = "localhost".parse().map_err(refused)?;
        let asker = Asker::new(node, NetworkRef::from(attachment.network.clone()));
        let mut demands = Vec::with_capacity(self.sets.len());
        for set in &self.sets {
            let is_here = |address: &IpAddr| set.iter().any(|range| range.contains(*address));
            let address = requested.iter().position(is_here).map(|place| requested.remove(place));
            if let Some(address) = address.filter(|address| self.is_gateway(*address)) {
                return Err(refused(format!(
                    "requested address {address} is a gateway: request another one"
                )));
            }
            demands.push(Demand {
                pod: pod.cloned(),
                source: Range::source(set, &self.network).map_err(refused)?,
                requested: address.into_iter().collect(),
                ..Demand::new(attachment.clone(), asker.clone())
            });
        }
        requested::none_is_left(&requested)?;
        Ok(demands)
    }

    fn is_gateway(&self, address: IpAddr) -> bool {
        self.sets.iter().flatten().any(|range| range.gateway() == address)
    }
}

/// Whether ADDs bring ranges that other verbs do not see.
pub(crate) fn may_come(config: &NetworkConfig) -> bool {
    config.raw()["capabilities"]["ipRanges"] == true
}

fn sets(texts: &[Vec<RangeText>], version: Version) -> Result<Vec<Vec<Range>>, Error> {
    let mut sets: Vec<Vec<Range>> = Vec::with_capacity(texts.len());
    for (index, texts) in texts.iter().enumerate() {
        let broken = |rule: &str| refused(format!("range set {index}: {rule}"));
        if texts.is_empty() {
            return Err(broken("it is empty"));
        }
        let mut set: Vec<Range> = Vec::with_capacity(texts.len());
        for text in texts {
            let range = Range::new(text).map_err(|rule| broken(&rule))?;
            if set.iter().any(|other| other.family() != range.family()) {
                return Err(broken("its ranges are of both families: make two sets"));
            }
            if set.iter().any(|other| other.overlaps(&range)) {
                return Err(broken("two of its ranges overlap"));
            }
            if let Some(other) =
                sets.iter().position(|set| set.iter().any(|other| other.overlaps(&range)))
            {
                return Err(broken(&format!("it overlaps set {other}")));
            }
            set.push(range);
        }
        sets.push(set);
    }
    for family in [Family::V4, Family::V6] {
        let count =
            sets.iter().filter_map(|set| set.first()).filter(|r| r.family() == family).count();
        if count > 1 && version < Version::V0_3_0 {
            let rule = format!("{count} range sets of {family}: at most one before 0.3.0");
            return Err(refused(format!("cniVersion {version}: {rule}")));
        }
    }
    Ok(sets)
}

fn refused(cause: impl std::fmt::Display) -> Error {
    Error::new(Code::INVALID_CONFIG, cause.to_string())
}

#[cfg(test)]
mod tests;
