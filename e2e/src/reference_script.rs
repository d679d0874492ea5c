//! The wiring as `ip`, `nft` and `sysctl` lines, which are pure data until they are run.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use anyhow::{Context, Result};
use ipnet::IpNet;

use crate::description::NodeSpec;
use crate::mac::Mac;
use crate::node::Node;
use crate::pod::Pod;
use crate::wiring::{Attached, Coordination, Ingredient};

/// The pod's end of the veth.
pub const VETH: &str = "veth0";

/// The packet and connection mark of what came by the veth, as value and mask.
const MARK: &str = "0x80/0x80";
const MARK_BIT: &str = "0x80";

/// The pod's table for what is marked; those of its interfaces follow it.
const MARK_TABLE: usize = 100;
const MARK_PREFERENCE: u32 = 500;
/// Behind every rule for a source: where [`Ingredient::MarkRuleFirst`] is left out.
const LATE_MARK_PREFERENCE: u32 = 1000;
const SOURCE_PREFERENCE: usize = 600;

/// The node's table of all its pods.
const NODE_TABLE: u32 = 500;
const NODE_PREFERENCE: u32 = 1000;

/// The node's end's MTU where [`Ingredient::NodeMtu`] is left out.
const LARGE_MTU_BYTES: u32 = 9000;

/// Where a line is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the node's namespace.
    Node,
    /// In the pod's.
    Pod,
}

/// What a line is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `ip`, with `-4` or `-6`.
    Ip {
        /// Which of both.
        ipv6: bool,
    },
    /// A path below `/proc/sys/net` and a value.
    Sysctl,
    /// A whole ruleset.
    Nft,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it is run.
    pub place: Place,
    /// What runs it.
    pub program: Program,
    /// What it says.
    pub text: String,
    /// Whether it may be done already, by another pod's wiring.
    pub shared: bool,
}

/// An address of one of the pod's interfaces, with what leads out of its subnet.
#[derive(Clone, Copy, Debug)]
struct Own<'a> {
    interface: &'a str,
    ordinal: usize,
    address: IpNet,
    gateway: Option<IpAddr>,
}

impl Own<'_> {
    fn table(self) -> usize {
        MARK_TABLE + 1 + self.ordinal
    }
}

/// What wires the last of the pod's interfaces, in this order.
///
/// # Errors
///
/// A result has no addresses, or an address that is none.
pub fn lines(
    node: &Node,
    pod: &Pod,
    interfaces: &[Attached],
    coordination: &Coordination,
) -> Result<Vec<Line>> {
    let mut owns = Vec::new();
    for (ordinal, attached) in interfaces.iter().enumerate() {
        for ip in attached.result["ips"].as_array().context("a result has ips")? {
            let address: IpNet = ip["address"].as_str().context("an address")?.parse()?;
            let gateway = ip["gateway"].as_str().map(str::parse).transpose()?;
            owns.push(Own { interface: &attached.interface, ordinal, address, gateway });
        }
    }
    let interface = interfaces.last().context("an interface to wire")?.interface.as_str();
    let id = &pod.spec().sandbox_id;
    let mut script = Script {
        lines: Vec::new(),
        coordination,
        node: node.spec(),
        host_veth: format!("veth{}", &id[..id.len().min(11)]),
        pod_mac: mac(id, "pod"),
        node_mac: mac(id, "node"),
        owns,
        last: interfaces.len() - 1,
    };
    script.write(node.name(), interface);
    Ok(script.lines)
}

/// A MAC that follows from the sandbox: locally administered, not multicast.
fn mac(sandbox_id: &str, end: &str) -> Mac {
    let mut hasher = DefaultHasher::new();
    (sandbox_id, end).hash(&mut hasher);
    let mut mac = [0x02; 6];
    mac[1..].copy_from_slice(&hasher.finish().to_be_bytes()[..5]);
    Mac(mac)
}

/// The lines while they are written.
struct Script<'a> {
    lines: Vec<Line>,
    coordination: &'a Coordination,
    node: &'a NodeSpec,
    host_veth: String,
    pod_mac: Mac,
    node_mac: Mac,
    owns: Vec<Own<'a>>,
    /// The ordinal of the interface that is to be wired.
    last: usize,
}

impl Script<'_> {
    fn write(&mut self, node: &str, interface: &str) {
        if self.last == 0 {
            self.veth(node);
        }
        self.sysctls(interface);
        self.neighbours();
        self.routes_to_the_node();
        self.routes_to_the_pod();
        self.hijack();
        if self.last == 0 {
            self.marks();
        } else {
            self.sources();
        }
    }

    fn has(&self, ingredient: Ingredient) -> bool {
        self.coordination.without != Some(ingredient)
    }

    fn push(&mut self, place: Place, program: Program, text: String) {
        self.lines.push(Line { place, program, text, shared: false });
    }

    fn ip(&mut self, place: Place, ipv6: bool, text: String) {
        self.push(place, Program::Ip { ipv6 }, text);
    }

    /// The addresses of the interface that is to be wired.
    fn of_last(&self) -> Vec<IpAddr> {
        let of_last = self.owns.iter().filter(|own| own.ordinal == self.last);
        of_last.map(|own| own.address.addr()).collect()
    }

    fn has_ipv6(&self) -> bool {
        self.owns.iter().any(|own| own.address.addr().is_ipv6())
    }

    /// The node's addresses of the families that the pod has, those of the subnets of the pod's
    /// first interface before others: the first of a family is the next hop.
    fn node_addresses(&self) -> Vec<IpAddr> {
        let near = |address: &IpAddr| {
            self.owns.iter().any(|own| own.ordinal == 0 && own.address.contains(address))
        };
        let known = |address: &IpAddr| {
            self.owns.iter().any(|own| same_family(own.address.addr(), *address))
        };
        let all = self.node.nics.iter().flat_map(crate::NicSpec::own_addresses).filter(known);
        let (near, far): (Vec<_>, Vec<_>) = all.partition(near);
        [near, far].concat()
    }

    fn next_hop(&self, like: IpAddr) -> Option<IpAddr> {
        self.node_addresses().into_iter().find(|address| same_family(*address, like))
    }

    /// The `src` of the pod's routes of this family by the veth, which has no address itself. The
    /// kernel chooses by itself for IPv6.
    fn source_hint(&self, ipv6: bool) -> String {
        let first = self.owns.iter().find(|own| own.address.addr().is_ipv4());
        match first {
            Some(own) if !ipv6 => format!(" src {}", own.address.addr()),
            _ => String::new(),
        }
    }

    /// The MTU of the NIC that has the pod's first address, which its first interface shares.
    fn mtu_bytes(&self) -> u32 {
        let own = self.owns.first().map(|own| own.address.addr());
        let is_its = |nic: &&crate::NicSpec| nic.addresses().any(|it| Some(it) == own);
        let nic = self.node.nics.iter().find(is_its);
        self.coordination.veth_mtu_bytes.or(nic.map(|nic| nic.mtu_bytes)).unwrap_or(1500)
    }

    fn veth(&mut self, node: &str) {
        let mtu = self.mtu_bytes();
        let (host, pod_mac, node_mac) = (self.host_veth.clone(), self.pod_mac, self.node_mac);
        let node_mtu = if self.has(Ingredient::NodeMtu) { mtu } else { LARGE_MTU_BYTES };
        self.ip(
            Place::Pod,
            false,
            format!(
                "link add {VETH} address {pod_mac} mtu {mtu} type veth \
                 peer name {host} netns {node} address {node_mac} mtu {node_mtu}"
            ),
        );
        for (path, value) in [
            (format!("ipv6/conf/{host}/accept_ra"), "0"),
            (format!("ipv6/conf/{host}/accept_redirects"), "0"),
            (format!("ipv4/conf/{host}/rp_filter"), "0"),
        ] {
            self.push(Place::Node, Program::Sysctl, format!("{path}={value}"));
        }
        self.ip(Place::Node, false, format!("link set dev {host} up"));
        self.ip(Place::Pod, false, format!("link set dev {VETH} up"));
    }

    fn sysctls(&mut self, interface: &str) {
        if self.has_ipv6() {
            for name in ["all", VETH, interface] {
                self.push(Place::Pod, Program::Sysctl, format!("ipv6/conf/{name}/disable_ipv6=0"));
            }
        }
        if self.has(Ingredient::ReversePathFilter) {
            for name in ["all", "default", VETH, interface] {
                let text = format!("ipv4/conf/{name}/rp_filter=0");
                self.push(Place::Pod, Program::Sysctl, text);
            }
        }
    }

    fn neighbours(&mut self) {
        let (host, pod_mac, node_mac) = (self.host_veth.clone(), self.pod_mac, self.node_mac);
        if self.has(Ingredient::NodeNeighbours) {
            for address in self.of_last() {
                let text =
                    format!("neigh replace {address} lladdr {pod_mac} dev {host} nud permanent");
                self.ip(Place::Node, address.is_ipv6(), text);
            }
        }
        if self.last == 0 && self.has(Ingredient::PodNeighbours) {
            for address in self.node_addresses() {
                let text =
                    format!("neigh replace {address} lladdr {node_mac} dev {VETH} nud permanent");
                self.ip(Place::Pod, address.is_ipv6(), text);
            }
        }
    }

    /// In the tables that the interface's traffic looks up: main for the first, and its own.
    fn tables(&self) -> Vec<String> {
        let own = format!(" table {}", MARK_TABLE + 1 + self.last);
        if self.last == 0 { vec![String::new(), own] } else { vec![own] }
    }

    fn routes_to_the_node(&mut self) {
        if !self.has(Ingredient::PodRoutes) {
            return;
        }
        for (address, table) in product(&self.node_addresses(), &self.tables()) {
            let hint = self.source_hint(address.is_ipv6());
            let scope = if address.is_ipv6() { "" } else { " scope link" };
            let text = format!("route replace {address} dev {VETH}{scope}{hint}{table}");
            self.ip(Place::Pod, address.is_ipv6(), text);
        }
    }

    fn routes_to_the_pod(&mut self) {
        let host = self.host_veth.clone();
        for address in self.of_last() {
            let ipv6 = address.is_ipv6();
            self.lines.push(Line {
                place: Place::Node,
                program: Program::Ip { ipv6 },
                text: format!("rule add lookup {NODE_TABLE} pref {NODE_PREFERENCE}"),
                shared: true,
            });
            if self.has(Ingredient::NodeRoutes) {
                let text = format!("route replace {address} dev {host} table {NODE_TABLE}");
                self.ip(Place::Node, ipv6, text);
            }
        }
    }

    fn hijack(&mut self) {
        // The kernel takes the next hop for one by the routes to the node.
        if !self.has(Ingredient::Hijack) || !self.has(Ingredient::PodRoutes) {
            return;
        }
        let cidrs = [&self.coordination.service_cidrs[..], &self.coordination.hijack_cidrs[..]];
        for (cidr, table) in product(&cidrs.concat(), &self.tables()) {
            let Some(next_hop) = self.next_hop(cidr.addr()) else { continue };
            let hint = self.source_hint(cidr.addr().is_ipv6());
            let text = format!("route replace {cidr} via {next_hop} dev {VETH}{hint}{table}");
            self.ip(Place::Pod, cidr.addr().is_ipv6(), text);
        }
    }

    fn marks(&mut self) {
        if self.has(Ingredient::Marks) {
            let interface = if self.has(Ingredient::MarkedInterface) {
                format!("iifname \"{VETH}\" ")
            } else {
                String::new()
            };
            let kind = if self.has(Ingredient::RouteChain) { "route" } else { "filter" };
            let restore = if self.has(Ingredient::MarkMask) {
                format!(
                    "ct mark and {MARK_BIT} == {MARK_BIT} meta mark set meta mark or {MARK_BIT}"
                )
            } else {
                "meta mark set ct mark".to_owned()
            };
            let ruleset = format!(
                "table inet cni_coordinator {{\n\
                 chain prerouting {{ type filter hook prerouting priority mangle;\n\
                 {interface}ct state new ct mark set ct mark or {MARK_BIT}\n}}\n\
                 chain output {{ type {kind} hook output priority mangle;\n{restore}\n}}\n}}\n"
            );
            self.push(Place::Pod, Program::Nft, ruleset);
        }
        if !self.has(Ingredient::MarkRule) {
            return;
        }
        let first = self.has(Ingredient::MarkRuleFirst);
        let preference = if first { MARK_PREFERENCE } else { LATE_MARK_PREFERENCE };
        for address in self.of_last() {
            let ipv6 = address.is_ipv6();
            let rule = format!("rule add fwmark {MARK} lookup {MARK_TABLE} pref {preference}");
            self.ip(Place::Pod, ipv6, rule);
            let Some(next_hop) = self.next_hop(address) else { continue };
            if !self.has(Ingredient::PodRoutes) {
                continue;
            }
            let hint = self.source_hint(ipv6);
            let route =
                format!("route replace default via {next_hop} dev {VETH}{hint} table {MARK_TABLE}");
            self.ip(Place::Pod, ipv6, route);
        }
    }

    /// Which interface keeps the default route in main: the chosen one. The other's, of the first
    /// and the last, moves to its own table, and its address looks there.
    fn sources(&mut self) {
        let (chosen, last) = (self.coordination.default_route_nic.as_deref(), self.last);
        let mut of_last = self.owns.iter().filter(|own| own.ordinal == last);
        let last_is_chosen = of_last.any(|own| chosen == Some(own.interface));
        let loser = if last_is_chosen { 0 } else { last };
        let moved = self.owns.iter().filter(|own| own.ordinal == loser);
        let moved: Vec<_> = moved.map(|own| (*own, own.interface.to_owned())).collect();
        let rules = self.has(Ingredient::SourceRules);
        let mut lines = Vec::new();
        for (own, interface) in moved {
            let (address, ipv6, table) =
                (own.address.addr(), own.address.addr().is_ipv6(), own.table());
            let subnet = own.address.trunc();
            let hint = if ipv6 { String::new() } else { format!(" scope link src {address}") };
            let mut line = |text: String| lines.push((ipv6, text));
            if rules {
                let preference = SOURCE_PREFERENCE + own.ordinal;
                line(format!("rule add from {address} lookup {table} pref {preference}"));
                line(format!("route replace {subnet} dev {interface}{hint} table {table}"));
            }
            if let Some(gateway) = own.gateway {
                if rules {
                    let route = format!("default via {gateway} dev {interface}");
                    line(format!("route replace {route} table {table}"));
                }
                line(format!("route del default via {gateway} dev {interface}"));
            }
        }
        for (ipv6, text) in lines {
            self.ip(Place::Pod, ipv6, text);
        }
    }
}

fn same_family(one: IpAddr, other: IpAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

/// Every pair of both.
fn product<A: Clone, B: Clone>(first: &[A], second: &[B]) -> Vec<(A, B)> {
    first.iter().flat_map(|a| second.iter().map(move |b| (a.clone(), b.clone()))).collect()
}
