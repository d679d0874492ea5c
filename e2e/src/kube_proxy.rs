//! What kube-proxy does on a node, by nftables rules: Services and their endpoints.
//!
//! The behaviour is that of Kubernetes' "Virtual IPs and Service Proxies" and "Source IP" pages;
//! endpoints are chosen anew for each connection, by chance.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use ipnet::IpNet;

use crate::node::Node;
use crate::peer::Protocol;

/// The bit of the packet mark by which kube-proxy remembers what it is to masquerade.
const MASQUERADE_BIT: u32 = 0x4000;

/// Distinguishes the tables of one node.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A Service of one family, as a node's proxy sees it.
#[derive(Clone, Debug)]
pub struct Service {
    /// What its port carries.
    pub protocol: Protocol,
    /// Its cluster IP and port.
    pub cluster: SocketAddr,
    /// Its port on every node; `None` if it has none.
    pub node_port: Option<u16>,
    /// Which endpoints its node port reaches.
    pub external_traffic_policy: TrafficPolicy,
    /// The pods behind it.
    pub endpoints: Vec<Endpoint>,
}

/// A pod behind a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod's address and port.
    pub address: SocketAddr,
    /// The pod's node.
    pub node: String,
}

/// `externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Every endpoint; they see the node's address.
    Cluster,
    /// Those of the node that was asked; they see the client's address. What the node itself asks
    /// goes to every endpoint.
    Local,
}

/// To whom an endpoint of a cluster IP answers: to the node that masqueraded, or to the client.
/// A pod that reaches itself by a Service is masqueraded in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Masquerade {
    /// `--masquerade-all`.
    All,
    /// All but what comes from these: `--cluster-cidr`. Pods in there are also free of a node
    /// port's policy.
    OutsideOf(Vec<IpNet>),
    /// Neither option.
    HairpinOnly,
}

/// The proxy's rules on a node; any number can be there for different Services. Dropping it
/// removes them; connections that they have translated live on.
#[derive(Debug)]
pub struct KubeProxy<'node> {
    node: &'node Node,
    table: String,
}

impl<'node> KubeProxy<'node> {
    /// Loads the rules for these Services.
    ///
    /// # Errors
    ///
    /// A Service and an endpoint are of different families, or `nft` refused.
    pub fn start(node: &'node Node, masquerade: &Masquerade, services: &[Service]) -> Result<Self> {
        for service in services {
            let family = service.cluster.is_ipv4();
            let same = service.endpoints.iter().all(|it| it.address.is_ipv4() == family);
            ensure!(same, "{}: an endpoint is of the other family", service.cluster);
        }
        let table = format!("kube-proxy-{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        node.nft(&ruleset(&table, &node.spec().name, masquerade, services))?;
        Ok(Self { node, table })
    }
}

impl Drop for KubeProxy<'_> {
    fn drop(&mut self) {
        let _ = self.node.nft(&format!("delete table inet {}\n", self.table));
    }
}

fn ruleset(table: &str, node: &str, masquerade: &Masquerade, services: &[Service]) -> String {
    let mut text = format!("table inet {table} {{\n");
    for (index, service) in services.iter().enumerate() {
        endpoints(&mut text, &format!("service-{index}"), service, |_| true);
        if service.node_port.is_some() {
            endpoints(&mut text, &format!("local-{index}"), service, |it| it.node == node);
            external(&mut text, index, masquerade, service);
        }
    }
    text.push_str("chain services {\n");
    for (index, service) in services.iter().enumerate() {
        let (ip, protocol) = (family(service), service.protocol.name());
        let (address, port) = (service.cluster.ip(), service.cluster.port());
        let flow = format!("{ip} daddr {address} {protocol} dport {port}");
        if let Some(source) = masqueraded(masquerade, ip) {
            let _ = writeln!(text, "{flow} {source} {}", mark());
        }
        let _ = writeln!(text, "{flow} goto service-{index}");
        if let Some(port) = service.node_port {
            // Of both families, a table's own nodes only: a Service has one.
            let local = format!("meta nfproto {} fib daddr type local", nfproto(service));
            let _ = writeln!(text, "{local} {protocol} dport {port} goto external-{index}");
        }
    }
    let _ = writeln!(
        text,
        "}}\n\
         chain prerouting {{ type nat hook prerouting priority dstnat; jump services; }}\n\
         chain output {{ type nat hook output priority -100; jump services; }}\n\
         chain postrouting {{ type nat hook postrouting priority srcnat;\n\
         meta mark and {MASQUERADE_BIT:#x} == 0 return\n\
         meta mark set meta mark xor {MASQUERADE_BIT:#x}\n\
         masquerade fully-random\n}}\n}}"
    );
    text
}

/// What is asked on a node port: a node's own processes, and pods whose addresses the proxy knows,
/// ask the Service itself whatever its policy.
fn external(text: &mut String, index: usize, masquerade: &Masquerade, service: &Service) {
    let _ = writeln!(text, "chain external-{index} {{");
    match service.external_traffic_policy {
        TrafficPolicy::Cluster => {
            let _ = writeln!(text, "{}\ngoto service-{index}", mark());
        }
        TrafficPolicy::Local => {
            let ip = family(service);
            if let Some(cidrs) = cluster_cidrs(masquerade, ip) {
                let _ = writeln!(text, "{ip} saddr {{ {cidrs} }} goto service-{index}");
            }
            let _ = writeln!(
                text,
                "fib saddr type local {}\nfib saddr type local goto service-{index}\n\
                 goto local-{index}",
                mark()
            );
        }
    }
    text.push_str("}\n");
}

/// A chain that sends to one of these endpoints by chance; without any it drops.
fn endpoints(text: &mut String, chain: &str, service: &Service, is_it: impl Fn(&Endpoint) -> bool) {
    let (ip, protocol) = (family(service), service.protocol.name());
    let chosen: Vec<_> = service.endpoints.iter().filter(|endpoint| is_it(endpoint)).collect();
    for (index, endpoint) in chosen.iter().enumerate() {
        let _ = writeln!(
            text,
            "chain {chain}-{index} {{\n{ip} saddr {} {}\nmeta l4proto {protocol} dnat {ip} to {}\n}}",
            endpoint.address.ip(),
            mark(),
            endpoint.address
        );
    }
    let jumps: Vec<_> = (0..chosen.len()).map(|it| format!("{it} : goto {chain}-{it}")).collect();
    let choice = if jumps.is_empty() {
        "drop".to_owned()
    } else {
        format!("numgen random mod {} vmap {{ {} }}", jumps.len(), jumps.join(", "))
    };
    let _ = writeln!(text, "chain {chain} {{\n{choice}\n}}");
}

fn mark() -> String {
    format!("meta mark set meta mark or {MASQUERADE_BIT:#x}")
}

/// The match for what is to be masqueraded on its way to a cluster IP; `None` for nothing.
fn masqueraded(masquerade: &Masquerade, ip: &str) -> Option<String> {
    match masquerade {
        Masquerade::All => Some(String::new()),
        Masquerade::HairpinOnly => None,
        // Without a CIDR of this family the proxy cannot tell a pod from others.
        Masquerade::OutsideOf(_) => {
            cluster_cidrs(masquerade, ip).map(|cidrs| format!("{ip} saddr != {{ {cidrs} }}"))
        }
    }
}

fn cluster_cidrs(masquerade: &Masquerade, ip: &str) -> Option<String> {
    let Masquerade::OutsideOf(cidrs) = masquerade else { return None };
    let cidrs: Vec<_> = cidrs
        .iter()
        .filter(|cidr| family_of(cidr.addr()) == ip)
        .map(|cidr| cidr.trunc().to_string())
        .collect();
    if cidrs.is_empty() { None } else { Some(cidrs.join(", ")) }
}

fn family(service: &Service) -> &'static str {
    family_of(service.cluster.ip())
}

fn family_of(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

fn nfproto(service: &Service) -> &'static str {
    if service.cluster.is_ipv4() { "ipv4" } else { "ipv6" }
}
