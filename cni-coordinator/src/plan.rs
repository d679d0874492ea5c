//! What an ADD does to the kernel, as a value: computed first, applied afterwards.

use std::net::IpAddr;

use ipam_core::Family;
use ipnet::IpNet;

use crate::config::CoordinatorConfig;
use crate::error::PlanError;
use crate::ingredient::Ingredient;
use crate::mode::{Mode, turn};
use crate::numbers::{
    HOST_RULE_PREFERENCE, MAIN_TABLE, MARK_RULE_PREFERENCE, PROTOCOL, REPLY_TABLE,
};
use crate::scene::{PodLink, Scene};
use crate::step::{Change, Marks, Need, Neighbour, Place, Route, Rule, Step, Veth};
use crate::subject::Subject;
use crate::tuning;
use crate::wiring::{Wiring, host_steps};

/// Everything that an ADD does, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The changes. An ADD performs all of them or none.
    pub steps: Vec<Step>,
    /// What is to be recorded before the first of them, so that a DEL finds what a killed ADD left.
    /// `None`: the mode is disabled, and nothing is done.
    pub wiring: Option<Wiring>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The plan without one of its ingredients, for a test that wants to see what it is there for.
    #[must_use]
    pub fn without(mut self, ingredient: Ingredient) -> Self {
        self.steps.retain(|step| step.ingredient != ingredient);
        for step in &mut self.steps {
            match &mut step.change {
                Change::PutVeth(veth) if ingredient == Ingredient::Mtu => veth.mtu = None,
                Change::PutRule(rule)
                    if ingredient == Ingredient::MarkRulePreference && rule.mark.is_some() =>
                {
                    rule.preference = HOST_RULE_PREFERENCE;
                }
                _ => {}
            }
        }
        self
    }
}

/// The steps that wire the interface of `scene`, and what is to be recorded of it.
///
/// It depends on nothing else and has no choice: the same scene gives the same plan, and a second
/// plan after the first was carried out changes nothing.
///
/// # Errors
///
/// [`PlanError`]: configuration, pod and node do not fit together; the message has the remedy.
pub fn plan(config: &CoordinatorConfig, scene: &Scene) -> Result<Plan, PlanError> {
    let Some(turn) = turn(config, scene)? else {
        return Ok(Plan::default());
    };
    let subject = Subject::new(config, scene, turn)?;
    let mut warnings = subject.warnings();
    let mut steps = Vec::new();
    if turn.mode == Mode::Underlay && turn.first {
        steps.extend(pair(&subject));
    }
    steps.extend(settings(&subject));
    if turn.mode == Mode::Underlay && turn.first {
        steps.extend(ends(&subject));
    }
    steps.extend(to_the_node(&subject));
    steps.extend(by_the_node(&subject)?);
    if turn.mode == Mode::Underlay {
        steps.extend(replies(&subject));
    }
    let tuned = tuning::tune(&subject)?;
    steps.extend(tuned.steps);
    warnings.extend(tuned.warnings);
    steps.extend(policy_routes(&subject, &tuned.ruled));
    let wiring = subject.wiring;
    steps.extend(host_steps(std::slice::from_ref(&wiring)));
    Ok(Plan { steps, wiring: Some(wiring), warnings })
}

pub(crate) fn in_pod(ingredient: Ingredient, change: Change) -> Step {
    Step { place: Place::Pod, change, need: Need::Must, ingredient }
}

/// The pair, still down: what can be set before it carries anything is set before.
fn pair(subject: &Subject<'_>) -> Vec<Step> {
    let Subject { config, nic, wiring, .. } = subject;
    let node = |ingredient, need, change| Step { place: Place::Node, change, need, ingredient };
    let host = &wiring.host_link;
    let sysctl = |key: String| Change::SetSysctl { key, value: 0 };
    vec![
        in_pod(
            Ingredient::Veth,
            Change::PutVeth(Veth {
                pod: wiring.pod_link.clone(),
                node: host.clone(),
                pod_mac: wiring.pod_mac,
                node_mac: wiring.host_mac,
                mtu: Some(config.veth_mtu.unwrap_or(nic.mtu)),
            }),
        ),
        node(
            Ingredient::Alias,
            Need::Must,
            Change::SetAlias { link: host.clone(), alias: subject.alias() },
        ),
        // A pod must not be able to tell its node about routers and better ways.
        node(Ingredient::Hardening, Need::Must, sysctl(format!("ipv6/conf/{host}/accept_ra"))),
        node(
            Ingredient::Hardening,
            Need::Must,
            sysctl(format!("ipv6/conf/{host}/accept_redirects")),
        ),
        // The link has no address, so that strict and loose alike would drop what the pod sends,
        // unless the node's `all` decides it, which it does where it is higher.
        node(Ingredient::RpFilter, Need::Must, sysctl(format!("ipv4/conf/{host}/rp_filter"))),
    ]
}

/// The pod's settings. `all` alone is not enough for `rp_filter`: the kernel takes the higher of
/// `all` and the link's (`IN_DEV_RPFILTER` in `linux/inetdevice.h`), links begin with `default`, a
/// new namespace inherits that from the first one, and even the loose kind drops what comes in by a
/// link without an address.
fn settings(subject: &Subject<'_>) -> Vec<Step> {
    let Subject { config, nic, wiring, turn, .. } = subject;
    let links = [wiring.pod_link.as_str(), nic.name.as_str()];
    let sysctl =
        |ingredient, key: String, value| in_pod(ingredient, Change::SetSysctl { key, value });
    let mut steps = Vec::new();
    if subject.has(Family::V6) {
        steps.extend(
            ["all"]
                .iter()
                .chain(&links)
                .map(|link| sysctl(Ingredient::Ipv6, format!("ipv6/conf/{link}/disable_ipv6"), 0)),
        );
    }
    if turn.mode == Mode::Underlay && turn.first {
        let key = format!("ipv6/conf/{}/accept_ra", wiring.pod_link);
        steps.push(sysctl(Ingredient::Hardening, key, 0));
    }
    if let Some(value) = config.rp_filter {
        steps.extend(["all", "default"].iter().chain(&links).map(|link| {
            sysctl(Ingredient::RpFilter, format!("ipv4/conf/{link}/rp_filter"), value)
        }));
    }
    if let Some(packets) = config.tx_queue_len {
        let link = nic.name.clone();
        steps.push(Step {
            need: Need::Should,
            ..in_pod(Ingredient::TxQueueLen, Change::SetTxQueueLen { link, packets })
        });
    }
    steps
}

/// The address of the pod's end, and both ends up.
fn ends(subject: &Subject<'_>) -> Vec<Step> {
    let Subject { config, wiring, .. } = subject;
    let mut steps = Vec::new();
    if let Some(address) = config.veth_address.filter(|it| subject.has(Family::of(*it))) {
        let (link, address) = (wiring.pod_link.clone(), IpNet::from(address));
        steps.push(in_pod(Ingredient::VethAddress, Change::PutAddress { link, address }));
    }
    let up = |place, link: &String| Step {
        place,
        ..in_pod(Ingredient::Up, Change::SetUp { link: link.clone() })
    };
    steps.extend([up(Place::Node, &wiring.host_link), up(Place::Pod, &wiring.pod_link)]);
    steps
}

/// The pod knows its node, in the NIC's own table and, where nobody did it before, in the main one.
/// Before any route that has such an address as its next hop.
fn to_the_node(subject: &Subject<'_>) -> Vec<Step> {
    let wiring = &subject.wiring;
    let neighbours = wiring.node_addresses.iter().map(|&address| {
        let link = wiring.pod_link.clone();
        let neighbour = Neighbour { address, mac: wiring.host_mac, link };
        in_pod(Ingredient::NodeNeighbour, Change::PutNeighbour(neighbour))
    });
    let routes = wiring
        .node_addresses
        .iter()
        .flat_map(|&address| subject.by_veth(Ingredient::NodeRoute, address.into(), None));
    neighbours.chain(routes).collect()
}

/// What the pod reaches by way of its node.
fn by_the_node(subject: &Subject<'_>) -> Result<Vec<Step>, PlanError> {
    let mut steps = Vec::new();
    for hijacked in &subject.config.hijacked {
        let (cidr, family) = (hijacked.cidr, Family::of(hijacked.cidr.addr()));
        if !subject.has(family) {
            continue;
        }
        let Some(gateway) = subject.gateway(family) else {
            if hijacked.service {
                return Err(PlanError::NoNodeAddress { family, cidr });
            }
            continue;
        };
        // One of the node's own addresses has a better route already.
        let host_of = |address: &IpAddr| IpNet::from(*address) == cidr;
        if subject.wiring.node_addresses.iter().any(host_of) {
            continue;
        }
        let is_on = |link: &&PodLink| link.addresses.iter().any(|net| net.trunc() == cidr);
        if let Some(link) = subject.scene.pod.links.iter().find(is_on) {
            return Err(PlanError::HijackedSubnet { cidr, link: link.name.clone() });
        }
        steps.extend(subject.by_veth(Ingredient::Hijack, cidr, Some(gateway)));
    }
    Ok(steps)
}

/// Whoever came by the veth is answered by the veth, whatever NIC his connection is for: by mark,
/// before any source rule. The same for every NIC of the pod, so that it is there for each family
/// that any of them has.
fn replies(subject: &Subject<'_>) -> Vec<Step> {
    let mark = subject.config.mark;
    let link = || subject.wiring.pod_link.clone();
    let gateways: Vec<_> = subject
        .families()
        .into_iter()
        .filter_map(|family| Some((family, subject.gateway(family)?)))
        .collect();
    if gateways.is_empty() {
        return Vec::new();
    }
    let marks = Change::PutMarks(Marks { link: link(), mark });
    let mut steps = vec![in_pod(Ingredient::Marks, marks)];
    for (family, gateway) in gateways {
        let route = Route::new(everything(family), Some(gateway), link(), REPLY_TABLE);
        steps.push(in_pod(Ingredient::ReplyRoute, Change::PutRoute(route)));
        let rule = Rule {
            family,
            preference: MARK_RULE_PREFERENCE,
            from: None,
            mark: Some(mark),
            table: REPLY_TABLE,
            protocol: PROTOCOL,
        };
        steps.push(in_pod(Ingredient::MarkRule, Change::PutRule(rule)));
    }
    steps
}

/// `policyRoutes`, where packets of this NIC look: in the main table, or in its own if its
/// addresses have source rules.
fn policy_routes(subject: &Subject<'_>, ruled: &[Family]) -> Vec<Step> {
    let routes = subject.config.policy_routes.iter();
    let routes = routes.filter(|route| subject.has(Family::of(route.gw)));
    routes
        .map(|route| {
            let own = ruled.contains(&Family::of(route.gw));
            let table = if own { subject.turn.table() } else { MAIN_TABLE };
            let route = Route::new(route.dst, Some(route.gw), subject.nic.name.as_str(), table);
            in_pod(Ingredient::PolicyRoute, Change::PutRoute(route))
        })
        .collect()
}

fn everything(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::from(ipnet::Ipv4Net::default()),
        Family::V6 => IpNet::from(ipnet::Ipv6Net::default()),
    }
}
