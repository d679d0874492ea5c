//! The wiring of a pod to its node, which a coordinator does after the main plugin: as a choice of
//! the test, so that one test proves any way to do it.

use std::fmt::Debug;

use anyhow::Result;
use ipnet::IpNet;
use serde_json::Value;

use crate::node::Node;
use crate::pod::Pod;

/// A way to wire a pod: commands, or a plugin.
pub trait Wiring: Debug + Send + Sync {
    /// Wires the last of the pod's interfaces, those before it being wired already.
    ///
    /// # Errors
    ///
    /// It could not be done, and what is half done stays.
    fn wire(
        &self,
        node: &Node,
        pod: &Pod,
        interfaces: &[Attached],
        coordination: &Coordination,
    ) -> Result<()>;
}

/// A pod's interface as the main plugin left it.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its name in the pod.
    pub interface: String,
    /// The CNI result of its ADD.
    pub result: Value,
}

/// What the coordinator's configuration says.
#[derive(Clone, Debug, Default)]
pub struct Coordination {
    /// `serviceCIDR`.
    pub service_cidrs: Vec<IpNet>,
    /// `hijackCIDR`.
    pub hijack_cidrs: Vec<IpNet>,
    /// `podDefaultRouteNIC`; `None` leaves the default route with the first interface.
    pub default_route_nic: Option<String>,
    /// `vethMTU`; `None` takes that of the pod's interface.
    pub veth_mtu_bytes: Option<u32>,
    /// What is left out, to see that it is needed.
    pub without: Option<Ingredient>,
}

/// A part of the wiring that some flow needs (`e2e/tests/service` has the flows).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ingredient {
    /// The node's routes to the pod's addresses.
    NodeRoutes,
    /// The node's permanent neighbours for the pod's addresses.
    NodeNeighbours,
    /// The pod's routes to the node's addresses.
    PodRoutes,
    /// The pod's permanent neighbours for the node's addresses.
    PodNeighbours,
    /// The pod's routes to the Services and to what else the node is to carry.
    Hijack,
    /// The marks on connections that come by the veth, and on their answers.
    Marks,
    /// The kind of the chain that marks answers: `route`, which looks the route up again.
    RouteChain,
    /// That only what comes by the veth is marked.
    MarkedInterface,
    /// That a mark's other bits stay as they are.
    MarkMask,
    /// The rule that leads what is marked to a table of its own.
    MarkRule,
    /// That the rule for marks comes before the rules for sources.
    MarkRuleFirst,
    /// Reverse path filtering switched off in the pod.
    ReversePathFilter,
    /// The rules and tables by which each interface's address leaves by that interface.
    SourceRules,
    /// The MTU of the veth's end on the node: without, it is larger than the pod's end's.
    NodeMtu,
}
