//! The pool document as the user writes it: `SpiderIPPool` of `spiderpool.spidernet.io/v2beta1`.
//!
//! These types only carry text. [`crate::Pool`] is what a document becomes once it is valid.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize};

use crate::labels::{LabelSelector, Labels, or_default};
use crate::pool::Pool;
use crate::reserved::Reserved;

/// `apiVersion` of the documents that are read.
pub const API_VERSION: &str = "spiderpool.spidernet.io/v2beta1";
/// `kind` of a pool document.
pub const POOL_KIND: &str = "SpiderIPPool";
/// `kind` of a document of reserved addresses.
pub const RESERVED_KIND: &str = "SpiderReservedIP";

/// A `SpiderIPPool` document. Further fields of `metadata` and a `status` are ignored, as the
/// output of `kubectl get -o yaml` has both; unknown fields of `spec` are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolDocument {
    /// Must be [`API_VERSION`].
    pub api_version: String,
    /// Must be [`POOL_KIND`].
    pub kind: String,
    /// Carries the name.
    pub metadata: Metadata,
    /// What the pool is.
    pub spec: PoolSpec,
    /// Written by others, never read here.
    #[serde(default, skip_serializing)]
    pub status: serde::de::IgnoredAny,
}

impl PoolDocument {
    /// The document of a pool with this name and content, without labels.
    pub fn new(name: String, spec: PoolSpec) -> Self {
        Self {
            api_version: API_VERSION.into(),
            kind: POOL_KIND.into(),
            metadata: Metadata { name, labels: Labels::new() },
            spec,
            status: serde::de::IgnoredAny,
        }
    }
}

impl From<&Pool> for PoolDocument {
    /// The document that gives this pool again, in canonical form.
    fn from(pool: &Pool) -> Self {
        let mut document = Self::new(pool.name().as_str().into(), pool.spec());
        document.metadata.labels.clone_from(pool.labels());
        document
    }
}

/// `metadata` of a document; pools have no namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The pool's name.
    pub name: String,
    /// Who made the document, and the like: kept, and of no effect on decisions.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

/// A `SpiderReservedIP` document: addresses that no pool hands out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReservedDocument {
    /// Must be [`API_VERSION`].
    pub api_version: String,
    /// Must be [`RESERVED_KIND`].
    pub kind: String,
    /// Carries the name.
    pub metadata: Metadata,
    /// The addresses.
    pub spec: ReservedSpec,
    /// Written by others, never read here.
    #[serde(default, skip_serializing)]
    pub status: serde::de::IgnoredAny,
}

impl ReservedDocument {
    /// The document of a reservation with this name, without labels.
    pub fn new(name: String, spec: ReservedSpec) -> Self {
        Self {
            api_version: API_VERSION.into(),
            kind: RESERVED_KIND.into(),
            metadata: Metadata { name, labels: Labels::new() },
            spec,
            status: serde::de::IgnoredAny,
        }
    }
}

impl From<&Reserved> for ReservedDocument {
    /// The document that gives this reservation again, in canonical form.
    fn from(reserved: &Reserved) -> Self {
        let mut document = Self::new(reserved.name().as_str().into(), reserved.spec());
        document.metadata.labels.clone_from(reserved.labels());
        document
    }
}

/// `spec` of a document of reserved addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReservedSpec {
    /// 4 or 6; taken from the first address when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<u8>,
    /// The addresses, all of one family, in the grammar of [`crate::AddressRange`].
    #[serde(default, deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
}

/// `spec` of a pool document. A `null` counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolSpec {
    /// 4 or 6; taken from `subnet` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<u8>,
    /// The network that the addresses belong to, in CIDR form without host bits.
    pub subnet: String,
    /// The addresses, in the grammar of [`crate::AddressRange`].
    #[serde(default, deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// Addresses of `subnet` that must not be handed out.
    #[serde(
        rename = "excludeIPs",
        default,
        deserialize_with = "or_empty",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub exclude_ips: Vec<String>,
    /// The next hop of the pod's default route, in `subnet` or an IPv6 link-local address; no
    /// default route without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Further routes of the pod.
    #[serde(default, deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSpec>,
    /// Names of the nodes that may use the pool; any node when empty.
    #[serde(default, deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub node_name: Vec<String>,
    /// The networks that may use the pool, `namespace/name` or `name`; any network when empty.
    #[serde(default, deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub multus_name: Vec<String>,
    /// Names of the namespaces whose pods may use the pool; any namespace when empty.
    #[serde(default, deserialize_with = "or_empty", skip_serializing_if = "Vec::is_empty")]
    pub namespace_name: Vec<String>,
    /// Labels of the nodes that may use the pool; not heard if `nodeName` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_affinity: Option<LabelSelector>,
    /// Labels of the namespaces whose pods may use the pool; not heard if `namespaceName` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_affinity: Option<LabelSelector>,
    /// Labels of the pods that may use the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_affinity: Option<LabelSelector>,
    /// A field of older documents that has no effect; [`PoolSpec::warnings`] says so.
    #[serde(default, skip_serializing)]
    pub vlan: Option<i64>,
    /// Whether the pool serves pods for which nobody named a pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<bool>,
    /// Whether the pool gives no new addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<bool>,
}

impl PoolSpec {
    /// What the document says that has no effect, for the user to know.
    pub fn warnings(&self) -> Vec<String> {
        let vlan = self.vlan.map(|vlan| {
            alloc::format!("spec.vlan {vlan}: it has no effect, the network's interface decides")
        });
        vlan.into_iter().collect()
    }
}

/// One of `spec.routes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// The destination, in CIDR form.
    pub dst: String,
    /// The next hop, inside `subnet`.
    pub gw: String,
}

fn or_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
