//! The cluster that the runtimes' tests run in.

use anyhow::Result;

use crate::description::{Cloud, Cluster};
use crate::lab::Lab;
use crate::runtimes::boot::Boot;
use crate::seed;

/// Pools `v4` and `v6` of NIC `eth0`, and `second` of `eth1`; none is a default.
pub const POOLS: &str = include_str!("../../seed/runtimes.yaml");

/// The node on which the runtimes are.
pub const NODE: &str = "master";

/// The other one, which has the gateway's IPv6 address.
pub const OTHER_NODE: &str = "worker";

/// The gateway of the pool `v4`: the VPC.
pub const GATEWAY_V4: &str = "172.31.207.253";

/// The gateway of the pool `v6`: the other node.
pub const GATEWAY_V6: &str = "fd00:172::fd";

/// A portmap whose ADD does not end.
pub const STUCK_PORTMAP: &str = "#!/bin/sh
if [ $CNI_COMMAND = ADD ]; then exec tail -f /dev/null; fi
exec /usr/lib/cni/portmap
";

/// The seed's two nodes in an ordinary network, which carries IPv6 as well, without a way out.
pub fn cluster() -> Cluster {
    Cluster { cloud: Cloud::PLAIN, ..strict_cloud() }
}

/// The seed's two nodes in its strict cloud, without a way out. The pods are the runtimes'.
pub fn strict_cloud() -> Cluster {
    let mut cluster = seed::cluster();
    cluster.nat = None;
    cluster.pods.clear();
    cluster
}

/// Gives the other node its part.
///
/// # Errors
///
/// `ip` refuses.
pub fn give_gateway(lab: &Lab) -> Result<()> {
    lab.node(OTHER_NODE)?.ip(&format!("address add {GATEWAY_V6}/64 dev eth0 nodad"))
}

/// `ipamctl apply` of these documents, as an operator does it on a node.
///
/// # Errors
///
/// It refuses.
pub fn apply(boot: &Boot<'_>, documents: &str) -> Result<()> {
    std::fs::write(boot.path("/run/pools.yaml"), documents)?;
    boot.ipamctl(&["apply", "--node-in-container", "-f", "/run/pools.yaml"])?.success().map(drop)
}
