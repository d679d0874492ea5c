//! What an attachment was given, as a CNI result says it.

use std::net::IpAddr;

use cni_proto::{AddResult, Dns, IpConfig, Route};
use ipam_core::Family;
use ipam_store::Grant;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The addresses of one attachment: at most one per family from applied pools, one of each range
/// set from ranges of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    grants: Vec<Grant>,
    stated: Option<Stated>,
}

/// What the configuration says beside addresses, where that counts and not the pools' word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stated {
    /// In the order of the addresses.
    pub(crate) gateways: Vec<Option<IpAddr>>,
    pub(crate) routes: Vec<Route>,
    pub(crate) dns: Dns,
}

impl Allocation {
    pub(crate) fn from_pools(grants: Vec<Grant>) -> Self {
        Self { grants, stated: None }
    }

    pub(crate) fn from_ranges(grants: Vec<Grant>, stated: Stated) -> Self {
        Self { grants, stated: Some(stated) }
    }

    /// The result of an IPAM plugin: addresses with the prefix length of their subnet, and no
    /// interfaces, which are the calling plugin's.
    ///
    /// With applied pools it has their routes, and a default route per family whose pool has a
    /// gateway. With ranges it has the routes and the `dns` of the configuration and no others, as
    /// host-local's.
    pub fn to_result(&self) -> AddResult {
        let mut result = AddResult::default();
        for Grant { lease, pool } in &self.grants {
            let address = pool.network_address(lease.address);
            result.ips.push(IpConfig { address, gateway: pool.gateway(), interface: None });
        }
        if let Some(Stated { gateways, routes, dns }) = &self.stated {
            for (ip, gateway) in result.ips.iter_mut().zip(gateways) {
                ip.gateway = *gateway;
            }
            result.routes.clone_from(routes);
            result.dns = dns.clone();
            return result;
        }
        for Grant { pool, .. } in &self.grants {
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
