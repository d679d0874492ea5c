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
    says: Says,
}

/// Whose word counts for gateways and routes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Says {
    Pools(Asked),
    Configuration(Stated),
}

/// What the pod or its network asks for beside the routes of the pools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// No default route.
    pub(crate) clean_gateway: bool,
    /// Of the pod, on whichever of its interfaces.
    pub(crate) routes: Vec<ipam_core::Route>,
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
    pub(crate) fn from_pools(grants: Vec<Grant>, asked: Asked) -> Self {
        Self { grants, says: Says::Pools(asked) }
    }

    pub(crate) fn from_ranges(grants: Vec<Grant>, stated: Stated) -> Self {
        Self { grants, says: Says::Configuration(stated) }
    }

    /// The result of an IPAM plugin: addresses with the prefix length of their subnet, and no
    /// interfaces, which are the calling plugin's.
    ///
    /// With applied pools it has their routes, and a default route per family whose pool has a
    /// gateway, unless the pod or the configuration asks for none; then those routes that the pod
    /// asks for whose next hop is in the subnet of one of the addresses, in place of others to the
    /// same destination. With ranges it has the routes and the `dns` of the configuration and no others, as
    /// host-local's.
    pub fn to_result(&self) -> AddResult {
        let mut result = AddResult::default();
        for Grant { lease, pool } in &self.grants {
            let address = pool.network_address(lease.address);
            result.ips.push(IpConfig { address, gateway: pool.gateway(), interface: None });
        }
        match &self.says {
            Says::Configuration(Stated { gateways, routes, dns }) => {
                for (ip, gateway) in result.ips.iter_mut().zip(gateways) {
                    ip.gateway = *gateway;
                }
                result.routes.clone_from(routes);
                result.dns = dns.clone();
            }
            Says::Pools(asked) => result.routes = self.routes(asked),
        }
        result
    }

    fn routes(&self, asked: &Asked) -> Vec<Route> {
        let pools = || self.grants.iter().map(|grant| &grant.pool);
        let mut routes = Vec::new();
        for pool in pools() {
            for route in pool.routes() {
                routes.push(Route { gw: Some(route.gateway), ..Route::to(route.dst) });
            }
            if let Some(gateway) = pool.gateway().filter(|_| !asked.clean_gateway) {
                routes.push(Route { gw: Some(gateway), ..Route::to(everywhere(pool.family())) });
            }
        }
        for ipam_core::Route { dst, gateway } in &asked.routes {
            // Another interface's, or nobody's: which, only the last ADD of the pod could tell.
            if pools().any(|pool| pool.subnet().contains(gateway)) {
                routes.retain(|route| route.dst != *dst);
                routes.push(Route { gw: Some(*gateway), ..Route::to(*dst) });
            }
        }
        routes
    }
}

fn everywhere(family: Family) -> IpNet {
    match family {
        Family::V4 => Ipv4Net::default().into(),
        Family::V6 => Ipv6Net::default().into(),
    }
}
