//! What is recorded of a wired interface, and what of it can be done again or undone from the
//! record alone.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use cni_net::MacAddr;
use ipam_core::{Attachment, Family};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::json;

use crate::ingredient::Ingredient;
use crate::mode::{Mode, Turn};
use crate::numbers::{PROTOCOL, REPLY_TABLE};
use crate::step::{Change, Need, Neighbour, Place, Route, Rule, Step};
use crate::veth::VethPair;

/// One interface that was wired.
///
/// It is enough for a DEL without namespace, agent or result, for GC, for a repair of the node's
/// rules and routes, and for a CHECK to know what to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wiring {
    /// Which interface.
    pub attachment: Attachment,
    /// `CNI_NETNS` of its ADD; empty if that was not a text.
    pub netns: PathBuf,
    /// How the pod's traffic reaches the node.
    pub mode: Mode,
    /// The NIC's place among those of its pod, which numbers its table and its rules.
    pub ordinal: u16,
    /// The pod's link to the node.
    pub pod_link: String,
    /// Its MAC.
    pub pod_mac: MacAddr,
    /// The node's link to the pod.
    pub host_link: String,
    /// Its MAC.
    pub host_mac: MacAddr,
    /// The interface's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The node's addresses that the pod has routes to; the first of a family is its gateway to
    /// Services.
    pub node_addresses: Vec<IpAddr>,
    /// The node's table with the route to the pod.
    pub host_table: u32,
    /// The preference of the node's rule that leads there.
    pub host_rule_preference: u32,
}

/// A text that is no record of a wiring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WiringError {
    /// Not the JSON that [`Wiring::to_json`] writes.
    #[error("the record of a wiring cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A later version of this program wrote it.
    #[error("the record of a wiring has version {0}, and this program reads {VERSION}: update it")]
    Version(u32),
    /// A value that cannot be.
    #[error("the record of a wiring has {field} {value:?}, which cannot be")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
}

/// The version of the JSON. Another is needed when a field changes its meaning; not when one is
/// added that may be missing.
const VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    network: String,
    container: String,
    ifname: String,
    /// Missing if it is no text: then everything outside of the pod can be undone all the same.
    netns: Option<String>,
    mode: String,
    ordinal: u16,
    pod_link: String,
    pod_mac: String,
    host_link: String,
    host_mac: String,
    addresses: Vec<IpAddr>,
    node_addresses: Vec<IpAddr>,
    host_table: u32,
    host_rule_preference: u32,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Wiring {
    /// The record as one line of JSON.
    pub fn to_json(&self) -> String {
        let text = |mac: MacAddr| mac.to_string();
        let Attachment { network, container, ifname } = &self.attachment;
        let record = json!({
            "version": VERSION,
            "network": network.as_str(),
            "container": container.as_str(),
            "ifname": ifname.as_str(),
            "netns": self.netns.to_str(),
            "mode": self.mode.as_str(),
            "ordinal": self.ordinal,
            "podLink": self.pod_link,
            "podMac": text(self.pod_mac),
            "hostLink": self.host_link,
            "hostMac": text(self.host_mac),
            "addresses": self.addresses,
            "nodeAddresses": self.node_addresses,
            "hostTable": self.host_table,
            "hostRulePreference": self.host_rule_preference,
        });
        record.to_string()
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`WiringError::Version`]: keep the record and update the program. The others: the record is
    /// damaged, and what it stood for has to be found by alias and protocol.
    pub fn from_json(text: &str) -> Result<Self, WiringError> {
        // First the version alone: fields may have another shape in the next.
        let Versioned { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(WiringError::Version(version));
        }
        let record: Record = serde_json::from_str(text)?;
        Ok(Self {
            attachment: Attachment {
                network: value("network", &record.network)?,
                container: value("container", &record.container)?,
                ifname: value("ifname", &record.ifname)?,
            },
            netns: record.netns.unwrap_or_default().into(),
            mode: match record.mode.as_str() {
                "underlay" => Mode::Underlay,
                "overlay" => Mode::Overlay,
                _ => return Err(WiringError::Value { field: "mode", value: record.mode }),
            },
            ordinal: record.ordinal,
            pod_link: record.pod_link,
            pod_mac: value("podMac", &record.pod_mac)?,
            host_link: record.host_link,
            host_mac: value("hostMac", &record.host_mac)?,
            addresses: record.addresses,
            node_addresses: record.node_addresses,
            host_table: record.host_table,
            host_rule_preference: record.host_rule_preference,
        })
    }

    /// Its place among the NICs of its pod.
    pub fn turn(&self) -> Turn {
        Turn { mode: self.mode, first: self.ordinal == 1, ordinal: self.ordinal }
    }

    /// Families of its addresses, IPv4 first.
    pub fn families(&self) -> Vec<Family> {
        let has = |family| self.addresses.iter().any(|address| Family::of(*address) == family);
        [Family::V4, Family::V6].into_iter().filter(|family| has(*family)).collect()
    }

    /// The rule of the node for a family's table of pods.
    pub fn host_rule(&self, family: Family) -> Rule {
        Rule {
            family,
            preference: self.host_rule_preference,
            from: None,
            mark: None,
            table: self.host_table,
            protocol: PROTOCOL,
        }
    }

    fn host_route(&self, address: IpAddr) -> Route {
        let link = self.host_link.as_str();
        Route { link_scope: true, ..Route::new(address.into(), None, link, self.host_table) }
    }

    /// What makes the pod reachable from its node, once the node's link is up. The last part of an
    /// ADD: until then nobody reaches a pod that is not whole.
    fn reach(&self) -> impl Iterator<Item = Step> {
        let link = || self.host_link.clone();
        self.addresses.iter().flat_map(move |&address| {
            let route = self.host_route(address);
            let neighbour = Neighbour { address, mac: self.pod_mac, link: link() };
            [
                on_node(
                    Ingredient::HostNeighbour,
                    Change::ForgetNeighbours { address, link: link() },
                ),
                on_node(Ingredient::HostNeighbour, Change::PutNeighbour(neighbour)),
                on_node(
                    Ingredient::HostRoute,
                    Change::ForgetRoutes { dst: route.dst, table: route.table, link: link() },
                ),
                on_node(Ingredient::HostRoute, Change::PutRoute(route)),
            ]
        })
    }
}

fn value<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, WiringError> {
    text.parse().map_err(|_| WiringError::Value { field, value: text.to_owned() })
}

fn on_node(ingredient: Ingredient, change: Change) -> Step {
    Step { place: Place::Node, change, need: Need::Must, ingredient }
}

/// What the node has for these wirings: its rules, and the neighbours and routes of each. An ADD
/// ends with the steps of its own; a repair performs those of all that are recorded and whose
/// link on the node is still there.
pub fn host_steps(wirings: &[Wiring]) -> Vec<Step> {
    let mut rules = BTreeSet::new();
    let mut steps = Vec::new();
    for wiring in wirings {
        for family in wiring.families() {
            if rules.insert((wiring.host_rule_preference, wiring.host_table, family.version())) {
                let rule = Change::PutRule(wiring.host_rule(family));
                steps.push(on_node(Ingredient::HostRule, rule));
            }
        }
    }
    steps.extend(wirings.iter().flat_map(Wiring::reach));
    steps
}

/// What a DEL does: the reverse of what an ADD did, from the record alone.
///
/// `others` is what is recorded for other interfaces of the same container. While there is any, the
/// veth pair stays; with the last it goes, and with it the node's routes and neighbours that lead
/// there. The node's rule stays: it is for all pods. Steps in the pod are for one that goes on
/// without this interface, and are left out where its namespace is gone: if the interface has the
/// default route, the first of the others that has one in its own table gets it back.
///
/// Everything that is gone already counts as done.
pub fn unplan(wiring: &Wiring, others: &[Wiring]) -> Vec<Step> {
    if wiring.mode == Mode::Underlay && others.is_empty() {
        let alias = VethPair::of(&wiring.attachment).alias;
        let (link, mac) = (wiring.host_link.clone(), wiring.host_mac);
        return vec![on_node(Ingredient::Veth, Change::DeleteLink { link, alias, mac })];
    }
    let mut steps = Vec::new();
    for &address in &wiring.addresses {
        let route = Change::DeleteRoute(wiring.host_route(address));
        steps.push(on_node(Ingredient::HostRoute, route));
        let neighbour = Change::DeleteNeighbour { address, link: wiring.host_link.clone() };
        steps.push(on_node(Ingredient::HostNeighbour, neighbour));
    }
    let in_pod =
        |ingredient, change| Step { place: Place::Pod, change, need: Need::Should, ingredient };
    let turn = wiring.turn();
    for &address in &wiring.addresses {
        let rule = source_rule(address, turn.rule_preference(), turn.table());
        steps.push(in_pod(Ingredient::SourceRule, Change::DeleteRule(rule)));
    }
    for family in wiring.families() {
        let leaving = wiring.attachment.ifname.as_str();
        steps.extend(tables_of_others(wiring, others).into_iter().map(|table| {
            let change = Change::ReturnDefault { family, table, leaving: leaving.to_owned() };
            in_pod(Ingredient::DefaultRoute, change)
        }));
        let flush = Change::FlushTable { family, table: turn.table() };
        steps.push(in_pod(Ingredient::NicRoute, flush));
    }
    steps
}

/// In the order of the NICs.
fn tables_of_others(wiring: &Wiring, others: &[Wiring]) -> BTreeSet<u32> {
    let first = (wiring.mode == Mode::Overlay).then_some(REPLY_TABLE);
    first.into_iter().chain(others.iter().map(|other| other.turn().table())).collect()
}

/// The pod's rule by which packets from an address leave by its NIC.
pub(crate) fn source_rule(address: IpAddr, preference: u32, table: u32) -> Rule {
    Rule {
        family: Family::of(address),
        preference,
        from: Some(IpNet::from(address)),
        mark: None,
        table,
        protocol: PROTOCOL,
    }
}
