//! The network configuration list, fields in the order in which a person reads them.

use ipam_core::RouteSpec;
use serde::Serialize;
use serde_json::Value;

use super::multus::Bond;

/// CNI specification, section 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkConfigList {
    pub(crate) cni_version: String,
    pub(crate) name: String,
    pub(crate) plugins: Vec<Plugin>,
}

/// One plugin's configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Plugin {
    /// Makes a bond or VLAN on the node.
    Ifacer(IfacerPlugin),
    /// Makes the pod's interface.
    Ipvlan(IpvlanPlugin),
    /// Whatever the document has.
    Chained(Value),
    /// Joins the pod with its node.
    Coordinator(CoordinatorPlugin),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct IfacerPlugin {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) interfaces: Vec<String>,
    #[serde(rename = "vlanID", skip_serializing_if = "Option::is_none")]
    pub(crate) vlan_id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bond: Option<Bond>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IpvlanPlugin {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) master: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detect: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detect_gateway: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Capabilities>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ipam: Option<IpamPlugin>,
}

/// What a runtime is to put into `runtimeConfig`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Capabilities {
    #[serde(rename = "io.kubernetes.cri.pod-annotations")]
    pub(crate) pod_annotations: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct IpamPlugin {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) default_ipv4_ippool: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) default_ipv6_ippool: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CoordinatorPlugin {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tune_pod_routes: Option<bool>,
    /// Spelled as the peer's plugin does, unlike its resource definition; ours reads both.
    #[serde(rename = "podDefaultRouteNic", skip_serializing_if = "Option::is_none")]
    pub(crate) pod_default_route_nic: Option<String>,
    #[serde(rename = "serviceCIDR", skip_serializing_if = "Vec::is_empty")]
    pub(crate) service_cidr: Vec<String>,
    #[serde(rename = "overlayPodCIDR", skip_serializing_if = "Vec::is_empty")]
    pub(crate) overlay_pod_cidr: Vec<String>,
    #[serde(rename = "hijackCIDR", skip_serializing_if = "Vec::is_empty")]
    pub(crate) hijack_cidr: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) policy_routes: Vec<RouteSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host_rule_table: Option<i64>,
    #[serde(rename = "podRPFilter", skip_serializing_if = "Option::is_none")]
    pub(crate) pod_rp_filter: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tx_queue_len: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) veth_link_address: Option<String>,
    #[serde(rename = "vethMTU", skip_serializing_if = "Option::is_none")]
    pub(crate) veth_mtu: Option<i64>,
    #[serde(rename = "podMACPrefix", skip_serializing_if = "Option::is_none")]
    pub(crate) pod_mac_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) capabilities: Option<Capabilities>,
}
