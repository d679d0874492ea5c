//! A named set of addresses of one subnet, impossible to build wrong.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::addr::Family;
use crate::document::{PoolDocument, PoolSpec, RouteSpec};
use crate::labels::{Labels, Selector, note_labels};
use crate::owner::{NamespaceName, NetworkRef, NodeName, PoolName};
use crate::pin::Pins;
use crate::range_set::RangeSet;
use crate::violation::{Violation, Violations};

mod field;
mod kept;

/// How many entries `ips` and `excludeIPs` may have each: more is a mistake, or belongs into ranges.
pub const MOST_RANGES: usize = 65_536;

/// A route that pods of a pool get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The destination; host bits are cleared.
    pub dst: IpNet,
    /// The next hop.
    pub gateway: IpAddr,
}

/// A valid pool.
///
/// Guarantees: the subnet has no host bits; every address, exclusion, gateway and next hop lies
/// in it, but for a gateway that is an IPv6 link-local address; [`Pool::assignable`] holds neither
/// the gateway, nor a network or broadcast address (IPv4 up to /30), nor the subnet-router anycast
/// address (IPv6, RFC 4291 §2.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    name: PoolName,
    labels: Labels,
    subnet: IpNet,
    ips: RangeSet,
    excluded: RangeSet,
    assignable: RangeSet,
    reserved: RangeSet,
    /// The addresses that are kept for pods, and for which.
    pinned: RangeSet,
    pins: Arc<Pins>,
    gateway: Option<IpAddr>,
    routes: Vec<Route>,
    nodes: Vec<NodeName>,
    node_affinity: Option<Selector>,
    networks: Vec<NetworkRef>,
    namespaces: Vec<NamespaceName>,
    namespace_affinity: Option<Selector>,
    pod_affinity: Option<Selector>,
    is_default: bool,
    is_disabled: bool,
}

impl Pool {
    /// The pool that `spec` describes.
    ///
    /// # Errors
    ///
    /// Every rule that the document breaks, at once; nothing is guessed or clipped.
    pub fn new(name: &str, spec: &PoolSpec) -> Result<Self, Violations> {
        let mut broken = Violations::default();
        let name = broken.note("metadata.name", name, name.parse::<PoolName>());
        let subnet = broken.note("spec.subnet", &spec.subnet, field::subnet(&spec.subnet));
        // Without a subnet nothing else can be judged, but syntax still is: one report for all.
        let ips = field::ranges(&mut broken, "spec.ips", &spec.ips, subnet);
        let excluded = field::ranges(&mut broken, "spec.excludeIPs", &spec.exclude_ips, subnet);
        let gateway = spec
            .gateway
            .as_ref()
            .and_then(|text| broken.note("spec.gateway", text, field::gateway(text, subnet)));
        let routes = field::routes(&mut broken, &spec.routes, subnet);
        let nodes = field::names(&mut broken, "spec.nodeName", &spec.node_name);
        let networks = field::names(&mut broken, "spec.multusName", &spec.multus_name);
        let namespaces = field::names(&mut broken, "spec.namespaceName", &spec.namespace_name);
        let node_affinity =
            field::selector(&mut broken, "spec.nodeAffinity", spec.node_affinity.as_ref());
        let namespace_affinity = field::selector(
            &mut broken,
            "spec.namespaceAffinity",
            spec.namespace_affinity.as_ref(),
        );
        let pod_affinity =
            field::selector(&mut broken, "spec.podAffinity", spec.pod_affinity.as_ref());
        if pod_affinity.as_ref().is_some_and(Selector::is_empty) {
            let rule = "it has no requirement: leave it out for all pods".to_string();
            broken.push(Violation::new("spec.podAffinity", "{}", rule));
        }
        if let (Some(version), Some(subnet)) = (spec.ip_version, subnet) {
            let family = Family::of(subnet.addr());
            if version != family.version() {
                let rule = alloc::format!("the subnet {subnet} is {family}");
                broken.push(Violation::new("spec.ipVersion", &version.to_string(), rule));
            }
        }
        match (name, subnet) {
            (Some(name), Some(subnet)) if broken.is_empty() => {
                let edges = never_assigned(subnet, gateway);
                let assignable = ips.difference(&excluded).difference(&edges);
                Ok(Self {
                    name,
                    labels: Labels::new(),
                    subnet,
                    ips,
                    excluded,
                    assignable,
                    reserved: RangeSet::new(),
                    pinned: RangeSet::new(),
                    pins: Arc::default(),
                    gateway,
                    routes,
                    nodes,
                    node_affinity,
                    networks,
                    namespaces,
                    namespace_affinity,
                    pod_affinity,
                    is_default: spec.default.unwrap_or(false),
                    is_disabled: spec.disable.unwrap_or(false),
                })
            }
            _ => Err(broken),
        }
    }

    /// The same pool with the `metadata.labels` of its document.
    ///
    /// # Errors
    ///
    /// Every label that Kubernetes would refuse.
    pub fn with_labels(self, labels: Labels) -> Result<Self, Violations> {
        let mut broken = Violations::default();
        note_labels(&mut broken, &labels);
        broken.into_result().map(|()| Self { labels, ..self })
    }

    /// The document's content that gives this pool again, in canonical form.
    pub fn spec(&self) -> PoolSpec {
        PoolSpec {
            ip_version: Some(self.family().version()),
            subnet: self.subnet.to_string(),
            ips: texts(self.ips.ranges()),
            exclude_ips: texts(self.excluded.ranges()),
            gateway: self.gateway.map(|gateway| gateway.to_string()),
            routes: self
                .routes
                .iter()
                .map(|route| RouteSpec {
                    dst: route.dst.to_string(),
                    gw: route.gateway.to_string(),
                })
                .collect(),
            node_name: texts(&self.nodes),
            multus_name: texts(&self.networks),
            namespace_name: texts(&self.namespaces),
            node_affinity: self.node_affinity.as_ref().map(Selector::to_document),
            namespace_affinity: self.namespace_affinity.as_ref().map(Selector::to_document),
            pod_affinity: self.pod_affinity.as_ref().map(Selector::to_document),
            vlan: None,
            default: Some(self.is_default),
            disable: Some(self.is_disabled),
        }
    }

    /// The pool's name.
    pub fn name(&self) -> &PoolName {
        &self.name
    }

    /// `metadata.labels` of its document. No decision looks at them.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The family of all its addresses.
    pub fn family(&self) -> Family {
        Family::of(self.subnet.addr())
    }

    /// The network that the addresses belong to; its prefix length is the pod's.
    pub fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// An address of the pool with the prefix length of the subnet.
    pub fn network_address(&self, address: IpAddr) -> IpNet {
        IpNet::new(address, self.subnet.prefix_len()).unwrap_or_else(|_| address.into())
    }

    /// The addresses of its document's `ips`, those that `excludeIPs` takes away among them.
    pub fn ips(&self) -> &RangeSet {
        &self.ips
    }

    /// The addresses that the pool claims: `ips` without `excludeIPs`. No two pools share one.
    pub fn claimed(&self) -> RangeSet {
        self.ips.difference(&self.excluded)
    }

    /// Whether the pool claims the address: it is in `ips` and not in `excludeIPs`.
    pub fn claims(&self, address: IpAddr) -> bool {
        self.ips.contains(address) && !self.excludes(address)
    }

    /// Whether `excludeIPs` has the address.
    pub(crate) fn excludes(&self, address: IpAddr) -> bool {
        self.excluded.contains(address)
    }

    /// The addresses that are handed out to those who ask for none in particular.
    pub fn assignable(&self) -> &RangeSet {
        &self.assignable
    }

    /// The next hop of the pod's default route.
    pub fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    /// Further routes of the pod.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The nodes that may use the pool; any when empty.
    pub fn nodes(&self) -> &[NodeName] {
        &self.nodes
    }

    /// The networks that may use the pool; any when empty.
    pub fn networks(&self) -> &[NetworkRef] {
        &self.networks
    }

    /// The namespaces whose pods may use the pool; any when empty.
    pub fn namespaces(&self) -> &[NamespaceName] {
        &self.namespaces
    }

    /// Labels of the nodes that may use the pool; heard only without [`Pool::nodes`].
    pub fn node_affinity(&self) -> Option<&Selector> {
        self.node_affinity.as_ref()
    }

    /// Labels of the namespaces that may use the pool; heard only without [`Pool::namespaces`].
    pub fn namespace_affinity(&self) -> Option<&Selector> {
        self.namespace_affinity.as_ref()
    }

    /// Labels of the pods that may use the pool.
    pub fn pod_affinity(&self) -> Option<&Selector> {
        self.pod_affinity.as_ref()
    }

    /// Whether the pool serves attachments for which nobody named a pool.
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// Whether the pool gives no new addresses.
    pub fn is_disabled(&self) -> bool {
        self.is_disabled
    }
}

impl TryFrom<&PoolDocument> for Pool {
    type Error = Violations;

    /// The pool that the document describes; `apiVersion` and `kind` are for the caller.
    fn try_from(document: &PoolDocument) -> Result<Self, Violations> {
        let labels = document.metadata.labels.clone();
        Self::new(&document.metadata.name, &document.spec)?.with_labels(labels)
    }
}

/// The addresses of `subnet` that a pod must not get whatever the ranges say.
fn never_assigned(subnet: IpNet, gateway: Option<IpAddr>) -> RangeSet {
    let edges: &[IpAddr] = match subnet {
        // RFC 3021: a /31 has neither network nor broadcast address, and a /32 is one host.
        IpNet::V4(net) if net.prefix_len() <= 30 => &[subnet.network(), subnet.broadcast()],
        // RFC 6164: a /127 link uses both addresses, and a /128 is one host.
        IpNet::V6(net) if net.prefix_len() <= 126 => &[subnet.network()],
        _ => &[],
    };
    edges.iter().copied().chain(gateway).collect()
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
