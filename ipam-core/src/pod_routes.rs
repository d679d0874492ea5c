//! Routes that a pod asks for by an annotation.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use crate::addr::Family;
use crate::hints::{ANNOTATION_ROUTES, HintError, read};
use crate::pool::Route;

/// The most routes that one pod can ask for: each is a request to the kernel.
pub const MOST_POD_ROUTES: usize = 256;

/// The routes of a pod's [`ANNOTATION_ROUTES`], as the peer has it: a list of `{"dst": CIDR or
/// address, "gw": address}`. Host bits of a destination are cleared.
///
/// Which of the pod's interfaces a route is for, its next hop says: the one whose subnet has it.
///
/// # Errors
///
/// It is no such list, has more than [`MOST_POD_ROUTES`], or a route mixes families: correct it.
pub fn pod_routes(text: &str) -> Result<Vec<Route>, HintError> {
    let refused = |rule: String| HintError::Route { rule };
    let listed: Vec<Listed> = read(ANNOTATION_ROUTES, text)?;
    if listed.len() > MOST_POD_ROUTES {
        return Err(refused(alloc::format!("{} routes: at most {MOST_POD_ROUTES}", listed.len())));
    }
    let route = |Listed { dst, gw }: &Listed| {
        let net = dst.parse::<IpNet>().or_else(|_| dst.parse::<IpAddr>().map(IpNet::from));
        let (Ok(net), Ok(gateway)) = (net, gw.parse::<IpAddr>()) else {
            return Err(refused(alloc::format!(
                "route to {dst:?} by {gw:?}: dst must be a CIDR or an address, gw an address"
            )));
        };
        if Family::of(net.addr()) != Family::of(gateway) {
            return Err(refused(alloc::format!(
                "route to {net} by {gateway}: both must be of one family"
            )));
        }
        Ok(Route { dst: net.trunc(), gateway })
    };
    listed.iter().map(route).collect()
}

#[derive(Debug, Deserialize)]
struct Listed {
    dst: String,
    gw: String,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn routes_are_read_as_the_peer_reads_them() {
        let routes = pod_routes(
            r#"[{"dst":"10.1.2.3/16","gw":"10.0.0.1"},{"dst":"fd00::5","gw":"fd01::1"}]"#,
        );
        let shown: Vec<_> = routes
            .unwrap()
            .iter()
            .map(|route| alloc::format!("{} {}", route.dst, route.gateway))
            .collect();
        assert_eq!(shown, ["10.1.0.0/16 10.0.0.1", "fd00::5/128 fd01::1"]);
        assert_eq!(pod_routes("[]"), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_a_route_is_refused_with_its_value() {
        let many =
            alloc::format!("[{}]", [r#"{"dst":"10.0.0.0/8","gw":"10.0.0.1"}"#; 257].join(","));
        for (text, expected) in [
            ("{}", "annotation ipam.spidernet.io/routes: invalid type: map"),
            (r#"[{"dst":"10.0.0.0/8"}]"#, "missing field `gw`"),
            (r#"[{"dst":"x","gw":"10.0.0.1"}]"#, r#"route to "x" by "10.0.0.1": dst must be"#),
            (r#"[{"dst":"::/0","gw":"10.0.0.1"}]"#, "route to ::/0 by 10.0.0.1: both must be"),
            (&many, "257 routes: at most 256"),
        ] {
            let error = pod_routes(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
