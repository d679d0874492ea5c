//! The flows of Services, node ports, the node and several NICs (E1 to E16 of the coordinator's
//! specification) in the strict VPC on real ipvlan, each seen to fail without what it needs. As
//! root.

mod cluster_ip;
mod direct;
mod flow;
mod large;
mod node_port;
mod reverse_path;
mod scene;
mod two_nics;

use e2e::plugin_wiring::PluginWiring;
use e2e::wiring::Wiring;

/// Who wires the pods of all these tests.
static WIRING: &dyn Wiring = &PluginWiring { state_dir: None };
