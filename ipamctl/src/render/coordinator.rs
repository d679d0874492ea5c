//! `SpiderCoordinator`, and `spec.coordinator` of a `SpiderMultusConfig`: the same fields.

use ipam_core::RouteSpec;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// What all coordinators of a cluster have in common.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CoordinatorDocument {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "metadata")]
    _metadata: IgnoredAny,
    /// What a person says.
    #[serde(default)]
    pub(crate) spec: CoordinatorSpec,
    /// What the peer's controller has found out.
    #[serde(default)]
    pub(crate) status: Option<CoordinatorStatus>,
}

/// A `null` is as good as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CoordinatorSpec {
    pub(crate) mode: Option<String>,
    #[serde(rename = "podCIDRType")]
    pub(crate) pod_cidr_type: Option<String>,
    #[serde(rename = "hijackCIDR")]
    pub(crate) hijack_cidr: Option<Vec<String>>,
    pub(crate) policy_routes: Option<Vec<RouteSpec>>,
    #[serde(rename = "podMACPrefix")]
    pub(crate) pod_mac_prefix: Option<String>,
    pub(crate) tune_pod_routes: Option<bool>,
    #[serde(rename = "podDefaultRouteNIC")]
    pub(crate) pod_default_route_nic: Option<String>,
    pub(crate) host_rule_table: Option<i64>,
    #[serde(rename = "hostRPFilter")]
    pub(crate) host_rp_filter: Option<i64>,
    #[serde(rename = "podRPFilter")]
    pub(crate) pod_rp_filter: Option<i64>,
    pub(crate) tx_queue_len: Option<i64>,
    pub(crate) veth_link_address: Option<String>,
    #[serde(rename = "vethMTU")]
    pub(crate) veth_mtu: Option<i64>,
    /// Of documents before v1.1.
    #[serde(rename = "detectIPConflict")]
    pub(crate) detect_ip_conflict: Option<bool>,
    /// Of documents before v1.1.
    pub(crate) detect_gateway: Option<bool>,
}

/// The fields of `status` that matter; others are tolerated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct CoordinatorStatus {
    #[serde(default, rename = "overlayPodCIDR")]
    pub(crate) overlay_pod_cidr: Option<Vec<String>>,
    #[serde(default, rename = "serviceCIDR")]
    pub(crate) service_cidr: Option<Vec<String>>,
}

/// `podCIDRType`, of which only `none` says all by itself.
pub(crate) const POD_CIDR_TYPES: [&str; 5] = ["auto", "cluster", "calico", "cilium", "none"];

const MODES: [&str; 4] = ["auto", "underlay", "overlay", "disabled"];

impl CoordinatorSpec {
    /// What the resource definition's own schema would refuse, with the path below the spec.
    pub(crate) fn fault(&self) -> Option<String> {
        let word = |field: &str, word: &Option<String>, words: &[&str]| {
            let word = word.as_deref().filter(|word| !words.contains(word))?;
            Some(format!("{field} {word:?}: it must be one of {}", words.join(", ")))
        };
        word("mode", &self.mode, &MODES)
            .or_else(|| word("podCIDRType", &self.pod_cidr_type, &POD_CIDR_TYPES))
    }

    /// Its fields, and those of `other` that it lacks. An empty list or text is as good as absent,
    /// as it is for the peer.
    pub(crate) fn or(self, other: Self) -> Self {
        let text = |own: Option<String>, other| own.filter(|it| !it.is_empty()).or(other);
        Self {
            mode: text(self.mode, other.mode),
            pod_cidr_type: text(self.pod_cidr_type, other.pod_cidr_type),
            hijack_cidr: self.hijack_cidr.filter(|it| !it.is_empty()).or(other.hijack_cidr),
            policy_routes: self.policy_routes.filter(|it| !it.is_empty()).or(other.policy_routes),
            pod_mac_prefix: text(self.pod_mac_prefix, other.pod_mac_prefix),
            tune_pod_routes: self.tune_pod_routes.or(other.tune_pod_routes),
            pod_default_route_nic: text(self.pod_default_route_nic, other.pod_default_route_nic),
            host_rule_table: self.host_rule_table.or(other.host_rule_table),
            host_rp_filter: self.host_rp_filter.or(other.host_rp_filter),
            pod_rp_filter: self.pod_rp_filter.or(other.pod_rp_filter),
            tx_queue_len: self.tx_queue_len.or(other.tx_queue_len),
            veth_link_address: text(self.veth_link_address, other.veth_link_address),
            veth_mtu: self.veth_mtu.or(other.veth_mtu),
            detect_ip_conflict: self.detect_ip_conflict.or(other.detect_ip_conflict),
            detect_gateway: self.detect_gateway.or(other.detect_gateway),
        }
    }
}
