//! The plugin's own part of the network configuration.

use std::net::IpAddr;
use std::path::PathBuf;

use cni_proto::{DelConfig, Error, NetworkConfig, PodAnnotations, field_names};
use ipam_core::Family;
use ipnet::IpNet;
use serde::Deserialize;

use crate::field::{
    cidr, host_table, invalid, link, link_address, parsed, rp_filter, tx_queue_len, veth_mtu, word,
};
use crate::mark::Mark;
use crate::pattern::LinkPattern;

/// What a configuration says about the pod's traffic, every value valid and every default filled
/// in.
///
/// The fields are the peer's (Spiderpool's coordinator), with its names and defaults; what the peer
/// asks of its agent has to be written down here. `mark`, `stateDir` and
/// `hostInterfaceExclude` are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorConfig {
    /// `mode`.
    pub mode: WantedMode,
    /// `tunePodRoutes`: whether a further NIC gets source rules, and only one NIC keeps its default
    /// route in the main table.
    pub tune_pod_routes: bool,
    /// The pod's annotation [`ANNOTATION_DEFAULT_ROUTE_NIC`], else `podDefaultRouteNIC`: the NIC
    /// of the pod that keeps its default route in the main table; `None` for the one that has it
    /// there.
    pub default_route_nic: Option<String>,
    /// `podDefaultCniNic`: the name of the pod's first NIC.
    pub first_nic: String,
    /// `overlayPodCIDR`, `serviceCIDR` and `hijackCIDR`: what the pod reaches by way of its node,
    /// in this order, each destination once.
    pub hijacked: Vec<Hijacked>,
    /// `policyRoutes`.
    pub policy_routes: Vec<PolicyRoute>,
    /// `hostRuleTable`: the node's table with a route to each pod.
    pub host_table: u32,
    /// `podRPFilter`: the pod's `rp_filter`; `None` leaves it alone.
    pub rp_filter: Option<u8>,
    /// `txQueueLen`: of the pod's NIC, in packets; `None` leaves it alone.
    pub tx_queue_len: Option<u32>,
    /// `vethLinkAddress`: one more address of the pod, on the veth.
    pub veth_address: Option<IpAddr>,
    /// `vethMTU`: of both ends, in bytes; `None` is as the pod's NIC.
    pub veth_mtu: Option<u32>,
    /// `mark`: of connections that came in by the veth.
    pub mark: Mark,
    /// `stateDir`: where what was made is recorded.
    pub state_dir: PathBuf,
    /// `debug`: the steps of an ADD are on stderr, as commands.
    pub debug: bool,
    /// `hostInterfaceExclude`: links of the node whose addresses are not the node's for its pods.
    pub host_interface_exclude: Vec<LinkPattern>,
}

/// Pod annotation: the NIC that keeps the pod's default route in the main table. The pod's word
/// comes before the configuration's.
pub const ANNOTATION_DEFAULT_ROUTE_NIC: &str = "ipam.spidernet.io/default-route-nic";

/// Where what was made is recorded unless `stateDir` says otherwise. It says what is in the kernel,
/// so a reboot ends both.
pub const DEFAULT_STATE_DIR: &str = "/run/node-ipam/coordinator";

/// `mode`: how the pod's traffic reaches its node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WantedMode {
    /// `auto`: underlay for the pod's first NIC and where a veth of ours is, else overlay.
    #[default]
    Auto,
    /// `underlay`: by a veth pair of ours.
    Underlay,
    /// `overlay`: by the pod's first NIC, a veth of another plugin.
    Overlay,
    /// `disabled`, `disable`: nothing is done.
    Disabled,
}

/// A destination that the pod reaches by way of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hijacked {
    /// Without host bits.
    pub cidr: IpNet,
    /// Whether it is of `serviceCIDR`: without a way there no Service works.
    pub service: bool,
}

/// A route of the pod that is written in the configuration, over the NIC at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRoute {
    /// Without host bits.
    pub dst: IpNet,
    /// The next hop, of the same family.
    pub gw: IpAddr,
}

#[derive(Debug, Default, Deserialize)]
struct Raw {
    #[serde(default)]
    mode: Option<String>,
    #[serde(default, rename = "tunePodRoutes")]
    tune_pod_routes: Option<bool>,
    #[serde(default, rename = "podDefaultRouteNIC")]
    pod_default_route_nic: Option<String>,
    #[serde(default, rename = "podDefaultCniNic")]
    pod_default_cni_nic: Option<String>,
    #[serde(default, rename = "overlayPodCIDR")]
    overlay_pod_cidr: Option<Vec<String>>,
    #[serde(default, rename = "serviceCIDR")]
    service_cidr: Option<Vec<String>>,
    #[serde(default, rename = "hijackCIDR")]
    hijack_cidr: Option<Vec<String>>,
    #[serde(default, rename = "policyRoutes")]
    policy_routes: Option<Vec<RawPolicyRoute>>,
    #[serde(default, rename = "hostRuleTable")]
    host_rule_table: Option<i64>,
    #[serde(default, rename = "podRPFilter")]
    pod_rp_filter: Option<i64>,
    #[serde(default, rename = "txQueueLen")]
    tx_queue_len: Option<i64>,
    #[serde(default, rename = "vethLinkAddress")]
    veth_link_address: Option<String>,
    #[serde(default, rename = "vethMTU")]
    veth_mtu: Option<i64>,
    #[serde(default, rename = "podMACPrefix")]
    pod_mac_prefix: Option<String>,
    #[serde(default)]
    mark: Option<TextOrNumber>,
    #[serde(default, rename = "hostInterfaceExclude")]
    host_interface_exclude: Option<Vec<String>>,
    #[serde(default)]
    debug: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct RawPolicyRoute {
    #[serde(default)]
    dst: String,
    #[serde(default)]
    gw: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "it must be a number, or a text as \"0x80/0x80\"")]
enum TextOrNumber {
    Number(u32),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
struct OfPlace {
    #[serde(default, rename = "stateDir")]
    state_dir: Option<PathBuf>,
}

/// The chart's: where a node-local DNS cache listens.
const DEFAULT_HIJACKED: &str = "169.254.0.0/16";

impl CoordinatorConfig {
    /// Reads and checks the fields. The peer's fields without an effect ([`Self::TOLERATED`]) are
    /// tolerated, as any unknown one.
    ///
    /// # Errors
    ///
    /// Code 7 with field, value, limit and remedy: the configuration has to change.
    pub fn new(config: &NetworkConfig) -> Result<Self, Error> {
        let raw: Raw = config.plugin()?;
        if let Some(prefix) = raw.pod_mac_prefix.filter(|prefix| !prefix.is_empty()) {
            let reason = "an ipvlan link has the MAC of its NIC, which the cloud knows, and cannot \
                          be given another: leave it out";
            return Err(invalid("podMACPrefix", prefix, reason));
        }
        let mark = match raw.mark {
            None => Mark::default(),
            Some(TextOrNumber::Number(number)) => parsed("mark", &number.to_string())?,
            Some(TextOrNumber::Text(text)) if text.is_empty() => Mark::default(),
            Some(TextOrNumber::Text(text)) => parsed("mark", &text)?,
        };
        let exclude = raw
            .host_interface_exclude
            .map(|names| names.iter().map(|name| parsed("hostInterfaceExclude", name)).collect());
        let first_nic = raw.pod_default_cni_nic.filter(|name| !name.is_empty());
        let first_nic = first_nic.unwrap_or_else(|| "eth0".to_owned());
        let veth_address = raw.veth_link_address.filter(|text| !text.is_empty());
        Ok(Self {
            mode: word("mode", raw.mode.as_deref(), &MODES)?,
            tune_pod_routes: raw.tune_pod_routes.unwrap_or(true),
            default_route_nic: default_route_nic(config, raw.pod_default_route_nic)?,
            first_nic: link("podDefaultCniNic", first_nic)?,
            hijacked: hijacked([
                ("overlayPodCIDR", raw.overlay_pod_cidr.unwrap_or_default()),
                ("serviceCIDR", raw.service_cidr.unwrap_or_default()),
                ("hijackCIDR", raw.hijack_cidr.unwrap_or_else(|| vec![DEFAULT_HIJACKED.into()])),
            ])?,
            policy_routes: raw
                .policy_routes
                .unwrap_or_default()
                .iter()
                .map(PolicyRoute::new)
                .collect::<Result<_, _>>()?,
            host_table: host_table(raw.host_rule_table)?,
            rp_filter: rp_filter(raw.pod_rp_filter)?,
            tx_queue_len: tx_queue_len(raw.tx_queue_len)?,
            veth_address: veth_address.map(|text| link_address(&text)).transpose()?,
            veth_mtu: veth_mtu(raw.veth_mtu)?,
            mark,
            state_dir: state_dir(config.plugin()?)?,
            debug: raw.debug == Some(true),
            host_interface_exclude: exclude.transpose()?.unwrap_or_else(LinkPattern::defaults),
        })
    }

    /// The fields that have an effect, or are refused. Keys match in any ASCII case.
    pub fn fields() -> impl Iterator<Item = &'static str> {
        field_names::<Raw>().iter().chain(field_names::<OfPlace>()).copied()
    }

    /// Fields of the peer's without an effect here: told apart from what somebody mistyped.
    pub const TOLERATED: [&str; 7] = [
        "detectGateway",
        "detectIPConflict",
        "detectOptions",
        "hostRPFilter",
        "multusNicPrefix",
        "logOptions",
        "podCIDRType",
    ];

    /// `stateDir` for a DEL: nothing but the place of the records is needed then, and nothing else
    /// of the configuration can make a DEL fail.
    pub fn state_dir_of_del(config: &DelConfig) -> PathBuf {
        state_dir(config.plugin()).unwrap_or_else(|_| DEFAULT_STATE_DIR.into())
    }
}

/// The pod's own choice, else the configuration's.
fn default_route_nic(
    config: &NetworkConfig,
    configured: Option<String>,
) -> Result<Option<String>, Error> {
    let pods = PodAnnotations::new(config)?.text(ANNOTATION_DEFAULT_ROUTE_NIC)?;
    if let Some(name) = pods.filter(|name| !name.is_empty()) {
        // It may be of any length: what begins it is enough to find it.
        let told = name.chars().take(MOST_TOLD).collect();
        return link(&format!("annotation {ANNOTATION_DEFAULT_ROUTE_NIC}"), told).map(Some);
    }
    let configured = configured.filter(|name| !name.is_empty());
    configured.map(|name| link("podDefaultRouteNIC", name)).transpose()
}

/// More characters than the name of a link has bytes.
const MOST_TOLD: usize = 64;

const MODES: [(&str, WantedMode); 5] = [
    ("auto", WantedMode::Auto),
    ("underlay", WantedMode::Underlay),
    ("overlay", WantedMode::Overlay),
    ("disabled", WantedMode::Disabled),
    // The peer's plugin and its resource definition differ in this word.
    ("disable", WantedMode::Disabled),
];

fn hijacked(lists: [(&str, Vec<String>); 3]) -> Result<Vec<Hijacked>, Error> {
    let mut all: Vec<Hijacked> = Vec::new();
    for (field, texts) in lists {
        let service = field == "serviceCIDR";
        for text in texts {
            let cidr = cidr(field, &text)?;
            match all.iter_mut().find(|known| known.cidr == cidr) {
                Some(known) => known.service |= service,
                None => all.push(Hijacked { cidr, service }),
            }
        }
    }
    Ok(all)
}

impl PolicyRoute {
    fn new(raw: &RawPolicyRoute) -> Result<Self, Error> {
        let dst = cidr("policyRoutes: dst", &raw.dst)?;
        let gw = raw.gw.parse::<IpAddr>();
        let gw = gw.map_err(|_| {
            invalid("policyRoutes: gw", &raw.gw, "it must be an address, the next hop")
        })?;
        if Family::of(gw) != Family::of(dst.addr()) {
            let reason = format!("dst {dst} is of the other family: write one route per family");
            return Err(invalid("policyRoutes: gw", &raw.gw, reason));
        }
        Ok(Self { dst, gw })
    }
}

fn state_dir(raw: OfPlace) -> Result<PathBuf, Error> {
    let given = raw.state_dir.filter(|path| !path.as_os_str().is_empty());
    let path = given.unwrap_or_else(|| DEFAULT_STATE_DIR.into());
    if path.is_absolute() {
        return Ok(path);
    }
    Err(invalid("stateDir", path, "it must be an absolute path, as every plugin's on the node"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::documentation::documented;

    #[test]
    fn the_documentation_has_every_field_and_no_other() {
        let expected: BTreeSet<_> = CoordinatorConfig::fields().map(str::to_owned).collect();
        assert_eq!(documented("cni-coordinator", "field"), expected);
        let text = include_str!("../../docs/config.md");
        let [first @ .., last] = CoordinatorConfig::TOLERATED;
        let tolerated = format!("`{}` and `{last}` are tolerated", first.join("`, `"));
        assert!(text.replace('\n', " ").contains(&tolerated), "{tolerated}");
    }
}
