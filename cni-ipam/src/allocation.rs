//! What an attachment was given, as a CNI result says it.

use cni_proto::{AddResult, IpConfig, Route};
use ipam_core::Family;
use ipam_store::Grant;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The addresses of one attachment: at most one per family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    grants: Vec<Grant>,
}

impl Allocation {
    pub(crate) fn new(grants: Vec<Grant>) -> Self {
        Self { grants }
    }

    /// The result of an IPAM plugin: addresses with the prefix length of their subnet, the pools'
    /// routes, and a default route per family whose pool has a gateway. No interfaces: these are
    /// the calling plugin's.
    pub fn to_result(&self) -> AddResult {
        let mut result = AddResult::default();
        for Grant { lease, pool } in &self.grants {
            let address = pool.network_address(lease.address);
            result.ips.push(IpConfig { address, gateway: pool.gateway(), interface: None });
            for route in pool.routes() {
                result.routes.push(Route { gw: Some(route.gateway), ..Route::to(route.dst) });
            }
            if let Some(gateway) = pool.gateway() {
                result
                    .routes
                    .push(Route { gw: Some(gateway), ..Route::to(everywhere(pool.family())) });
            }
        }
        result
    }
}

fn everywhere(family: Family) -> IpNet {
    match family {
        Family::V4 => Ipv4Net::default().into(),
        Family::V6 => Ipv6Net::default().into(),
    }
}
