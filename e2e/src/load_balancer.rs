//! A load balancer between the hosts outside and the nodes' ports.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::peer::Protocol;

/// As whom the nodes see a client whose address is not kept: of the range that clouds use for
/// their own servers (RFC 6598).
pub const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(100, 64, 0, 1));

/// Distinguishes the load balancers of one gateway.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A running load balancer, on the way from the hosts outside into the VPC: it gives each
/// connection to one of its targets by chance. IPv4 only, as is all that is outside. Dropping it
/// removes it.
#[derive(Debug)]
pub struct LoadBalancer<'lab> {
    gateway: &'lab Namespace,
    table: String,
}

/// What the nodes see of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// The client's own address.
    Kept,
    /// [`SOURCE`].
    Replaced,
}

impl<'lab> LoadBalancer<'lab> {
    /// Forwards what outside hosts send to an address and port that nobody has.
    ///
    /// # Errors
    ///
    /// The lab has no NAT gateway, there is no target, or `nft` refused.
    pub fn start(
        lab: &'lab Lab,
        protocol: Protocol,
        address: SocketAddrV4,
        targets: &[SocketAddrV4],
        client: ClientAddress,
    ) -> Result<Self> {
        let gateway = lab.nat().context("a load balancer is at the NAT gateway: there is none")?;
        ensure!(!targets.is_empty(), "load balancer {address} has no target");
        let table = format!("balancer-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        gateway.nft(&ruleset(&table, protocol, address, targets, client))?;
        Ok(Self { gateway, table })
    }
}

impl Drop for LoadBalancer<'_> {
    fn drop(&mut self) {
        let _ = self.gateway.nft(&format!("delete table ip {}\n", self.table));
    }
}

fn ruleset(
    table: &str,
    protocol: Protocol,
    address: SocketAddrV4,
    targets: &[SocketAddrV4],
    client: ClientAddress,
) -> String {
    let (protocol, ip, port) = (protocol.name(), address.ip(), address.port());
    let mut text = format!("table ip {table} {{\n");
    for (index, target) in targets.iter().enumerate() {
        let _ =
            writeln!(text, "chain target-{index} {{ meta l4proto {protocol} dnat to {target}; }}");
    }
    let jumps: Vec<_> = (0..targets.len()).map(|it| format!("{it} : goto target-{it}")).collect();
    let _ = writeln!(
        text,
        "chain prerouting {{ type nat hook prerouting priority dstnat;\n\
         iifname != \"vpc\" ip daddr {ip} {protocol} dport {port} \
         numgen random mod {} vmap {{ {} }}\n}}",
        jumps.len(),
        jumps.join(", ")
    );
    if client == ClientAddress::Replaced {
        let _ = writeln!(
            text,
            "chain postrouting {{ type nat hook postrouting priority srcnat;\n\
             oifname \"vpc\" ct original ip daddr {ip} {protocol} dport != 0 snat to {SOURCE}\n}}"
        );
    }
    text.push_str("}\n");
    text
}
