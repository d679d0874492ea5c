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
            let address = IpNet::new(lease.address, pool.subnet().prefix_len())
                .unwrap_or_else(|_| lease.address.into());
            result.ips.push(IpConfig { address, gateway: pool.gateway(), interface: None });
            for route in pool.routes() {
                result.routes.push(route_to(route.dst, Some(route.gateway)));
            }
            if let Some(gateway) = pool.gateway() {
                result.routes.push(route_to(everywhere(pool.family()), Some(gateway)));
            }
        }
        result
    }
}

fn route_to(dst: IpNet, gw: Option<std::net::IpAddr>) -> Route {
    Route { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
}

fn everywhere(family: Family) -> IpNet {
    match family {
        Family::V4 => Ipv4Net::default().into(),
        Family::V6 => Ipv6Net::default().into(),
    }
}
