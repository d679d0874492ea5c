//! The cluster that the runtimes' tests run in.

use std::time::Duration;

use anyhow::Result;

use crate::description::{Cloud, Cluster};
use crate::lab::Lab;
use crate::node::Node;
use crate::runtimes::boot::{Boot, wait_for};
use crate::runtimes::disk::Disk;
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

/// On a machine that is emulated and busy.
const PATIENCE: Duration = Duration::from_secs(240);

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

/// A node that is up, with these pools.
///
/// # Errors
///
/// It does not come up, or `ipamctl` refuses them.
pub fn boot<'lab>(node: &'lab Node, documents: &str) -> Result<Boot<'lab>> {
    let boot = Boot::start(node, &Disk::of(node)?)?;
    apply(&boot, documents)?;
    Ok(boot)
}

/// Waits until [`STUCK_PORTMAP`] has its turn.
///
/// # Errors
///
/// It never has.
pub fn wait_for_stuck_portmap(boot: &Boot<'_>) -> Result<()> {
    wait_for("portmap's turn", PATIENCE, || {
        let processes = boot.processes()?;
        Ok(processes.values().any(|name| name == "tail").then_some(()))
    })
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
