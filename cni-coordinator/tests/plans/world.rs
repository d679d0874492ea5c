//! A model of pod and node: carries out plans, and tells where a packet goes afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cni_coordinator::numbers::MAIN_TABLE;
use cni_coordinator::{
    Change, CoordinatorConfig, Mark, Marks, NodeLink, Place, Plan, PodLink, Route, Rule, Scene,
    Step, VethPair, Wiring,
};
use ipam_core::Family;

use crate::pods::{attachment, planned, wiring};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) node_routes: Vec<Route>,
    pub(crate) node_rules: Vec<Rule>,
    pub(crate) node_neighbours: BTreeSet<(IpAddr, String, String)>,
    pod_neighbours: BTreeSet<(IpAddr, String, String)>,
    sysctls: BTreeMap<(bool, String), u8>,
    tx_queue_len: BTreeMap<String, u32>,
    marks: Option<Marks>,
}

impl World {
    pub(crate) fn new(scene: Scene) -> Self {
        Self {
            scene,
            node_routes: Vec::new(),
            node_rules: Vec::new(),
            node_neighbours: BTreeSet::new(),
            pod_neighbours: BTreeSet::new(),
            sysctls: BTreeMap::new(),
            tx_queue_len: BTreeMap::new(),
            marks: None,
        }
    }

    /// An ADD: plans, records, performs.
    pub(crate) fn add(&mut self, config: &CoordinatorConfig) -> Plan {
        let plan = planned(config, &self.scene);
        let wiring = wiring(&plan);
        self.scene.wirings.retain(|it| it.attachment != wiring.attachment);
        self.scene.wirings.push(wiring);
        self.perform(&plan.steps);
        plan
    }

    /// The same pod with so many wirings that every ordinal up to `last` is taken.
    pub(crate) fn wirings_up_to(&self, last: u16) -> Scene {
        let template = &self.scene.wirings[0];
        let wiring = |ordinal| Wiring {
            attachment: attachment(&format!("net{ordinal}")),
            ordinal,
            ..template.clone()
        };
        Scene { wirings: (1..=last).map(wiring).collect(), ..self.scene.clone() }
    }

    pub(crate) fn perform(&mut self, steps: &[Step]) {
        for step in steps {
            self.change(step);
        }
    }

    fn change(&mut self, step: &Step) {
        let in_pod = step.place == Place::Pod;
        match &step.change {
            Change::PutVeth(veth) => self.put_veth(veth),
            Change::SetAlias { link, alias } => {
                self.node_link(link).alias = Some(alias.clone());
            }
            Change::SetUp { link } if in_pod => self.pod_link(link).up = true,
            Change::SetUp { .. } => {}
            Change::SetTxQueueLen { link, packets } => {
                self.tx_queue_len.insert(link.clone(), *packets);
            }
            Change::PutAddress { link, address } => {
                let addresses = &mut self.pod_link(link).addresses;
                if !addresses.contains(address) {
                    addresses.push(*address);
                }
            }
            Change::SetSysctl { key, value } => {
                self.sysctls.insert((in_pod, key.clone()), *value);
            }
            Change::ForgetNeighbours { address, link } => {
                assert!(!in_pod);
                self.node_neighbours.retain(|(who, _, on)| who != address || on == link);
            }
            Change::PutNeighbour(it) => {
                let all = if in_pod { &mut self.pod_neighbours } else { &mut self.node_neighbours };
                all.retain(|(who, _, on)| *who != it.address || *on != it.link);
                all.insert((it.address, it.mac.to_string(), it.link.clone()));
            }
            Change::DeleteNeighbour { address, link } => {
                self.node_neighbours.retain(|(who, _, on)| who != address || on != link);
            }
            Change::ForgetRoutes { dst, table, link } => {
                self.routes(in_pod)
                    .retain(|it| it.dst != *dst || it.table != *table || it.link == *link);
            }
            Change::PutRoute(route) => put_route(self.routes(in_pod), route),
            Change::DeleteRoute(route) => self.routes(in_pod).retain(|it| it != route),
            Change::FlushTable { family, table } => self
                .routes(in_pod)
                .retain(|it| it.table != *table || Family::of(it.dst.addr()) != *family),
            Change::ReturnDefault { family, table, leaving } => {
                let routes = self.routes(in_pod);
                let is_default = |it: &&Route| {
                    it.dst.prefix_len() == 0
                        && Family::of(it.dst.addr()) == *family
                        && it.link != *leaving
                };
                if !routes.iter().filter(is_default).any(|it| it.table == MAIN_TABLE) {
                    let own = routes.iter().filter(is_default).filter(|it| it.table == *table);
                    let back: Vec<_> =
                        own.map(|it| Route { table: MAIN_TABLE, ..it.clone() }).collect();
                    for route in &back {
                        put_route(routes, route);
                    }
                }
            }
            Change::PutRule(rule) => {
                let rules = self.rules(in_pod);
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
            Change::DeleteRule(rule) => self.rules(in_pod).retain(|it| it != rule),
            Change::PutMarks(marks) => self.marks = Some(marks.clone()),
            Change::DeleteLink { link, alias, .. } => {
                let pair = VethPair::of(&self.scene.wirings[0].attachment);
                assert!(pair.owns(alias), "{alias}");
                self.scene.node.links.retain(|it| it.name != *link);
                self.node_routes.retain(|it| it.link != *link);
                self.node_neighbours.retain(|(_, _, on)| on != link);
            }
        }
    }

    fn put_veth(&mut self, veth: &cni_coordinator::Veth) {
        if self.scene.pod.link(&veth.pod).is_some() {
            assert!(self.scene.node.link(&veth.node).is_some());
            return;
        }
        self.scene.node.links.push(NodeLink {
            index: 50,
            name: veth.node.clone(),
            mac: Some(veth.node_mac),
            kind: Some("veth".into()),
            ..NodeLink::default()
        });
        self.scene.pod.links.push(PodLink {
            index: 5,
            name: veth.pod.clone(),
            up: false,
            broadcast: true,
            multicast: true,
            mac: Some(veth.pod_mac),
            mtu: veth.mtu.unwrap_or(1500),
            addresses: Vec::new(),
            kind: Some("veth".into()),
            peer: Some(50),
        });
    }

    fn routes(&mut self, in_pod: bool) -> &mut Vec<Route> {
        if in_pod { &mut self.scene.pod.routes } else { &mut self.node_routes }
    }

    fn rules(&mut self, in_pod: bool) -> &mut Vec<Rule> {
        if in_pod { &mut self.scene.pod.rules } else { &mut self.node_rules }
    }

    fn pod_link(&mut self, name: &str) -> &mut PodLink {
        self.scene.pod.links.iter_mut().find(|link| link.name == name).unwrap()
    }

    fn node_link(&mut self, name: &str) -> &mut NodeLink {
        self.scene.node.links.iter_mut().find(|link| link.name == name).unwrap()
    }

    /// By which link a packet of the pod leaves: rules in their order, in a table the longest
    /// prefix, then the lowest metric.
    pub(crate) fn way(&self, from: Option<&str>, mark: bool, dst: &str) -> String {
        let dst: IpAddr = dst.parse().unwrap();
        let from: Option<IpAddr> = from.map(|from| from.parse().unwrap());
        let family = Family::of(dst);
        let pod = &self.scene.pod;
        let mut rules: Vec<&Rule> = pod.rules.iter().filter(|it| it.family == family).collect();
        rules.sort_by_key(|rule| rule.preference);
        let has_mark = |it: Mark| mark && self.marks.as_ref().is_some_and(|own| own.mark == it);
        let tables = rules.iter().filter_map(|rule| {
            let from = rule.from.is_none_or(|net| from.is_some_and(|from| net.contains(&from)));
            (from && rule.mark.is_none_or(has_mark)).then_some(rule.table)
        });
        for table in tables.chain([MAIN_TABLE]) {
            let fits = |it: &&Route| it.table == table && it.dst.contains(&dst);
            let better = |it: &&Route| {
                (std::cmp::Reverse(it.dst.prefix_len()), it.metric.unwrap_or_default())
            };
            if let Some(route) = pod.routes.iter().filter(fits).min_by_key(better) {
                let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
                return format!("{}{via}", route.link);
            }
        }
        "nowhere".to_owned()
    }
}

/// `NLM_F_CREATE | NLM_F_REPLACE`: in the place of one with the same destination and metric.
fn put_route(routes: &mut Vec<Route>, route: &Route) {
    let default = if matches!(route.dst, ipnet::IpNet::V6(_)) { 1024 } else { 0 };
    let metric = |it: &Route| it.metric.unwrap_or(default);
    let same =
        |it: &Route| (it.dst, it.table, metric(it)) == (route.dst, route.table, metric(route));
    match routes.iter().position(same) {
        Some(at) => routes[at] = route.clone(),
        None => routes.push(route.clone()),
    }
}
