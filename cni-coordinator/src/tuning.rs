//! Several NICs in one pod: each answers for its own addresses, and one has the default route.

use std::net::IpAddr;

use ipam_core::Family;

use crate::error::PlanError;
use crate::ingredient::Ingredient;
use crate::mode::Mode;
use crate::numbers::{MAIN_TABLE, PROTOCOL, REPLY_TABLE, source_rule_preference};
use crate::plan::in_pod;
use crate::scene::PodLink;
use crate::step::{Change, Route, Step};
use crate::subject::Subject;
use crate::wiring::{Wiring, source_rule};

/// What `tunePodRoutes` comes to.
#[derive(Default)]
pub(crate) struct Tuning {
    pub(crate) steps: Vec<Step>,
    /// Families in which the addresses of the interface at hand have source rules.
    pub(crate) ruled: Vec<Family>,
    pub(crate) warnings: Vec<String>,
}

/// A NIC of the pod that has a table of its own.
struct Nic<'a> {
    link: &'a PodLink,
    table: u32,
    preference: u32,
}

/// Moves default routes such that one NIC has its own in the main table; every other's is in the
/// table of that NIC, where source rules lead.
///
/// Rules come after what they lead to is there, and routes leave the main table last, so that the
/// pod is never without a way.
///
/// # Errors
///
/// [`PlanError::NoLink`]: the pod lacks `podDefaultRouteNIC`.
pub(crate) fn tune(subject: &Subject<'_>) -> Result<Tuning, PlanError> {
    let mut tuning = Tuning::default();
    let is_only_nic = subject.turn.first && subject.turn.mode == Mode::Underlay;
    if !subject.config.tune_pod_routes || is_only_nic {
        return Ok(tuning);
    }
    let wanted = subject.config.default_route_nic.as_deref();
    if let Some(name) = wanted.filter(|name| subject.scene.pod.link(name).is_none()) {
        return Err(PlanError::NoLink {
            link: name.to_owned(),
            remedy: "podDefaultRouteNIC must name an interface that the pod has by now",
        });
    }
    let nics = nics(subject);
    for family in subject.families() {
        tune_family(subject, &nics, family, &mut tuning);
    }
    Ok(tuning)
}

fn tune_family(subject: &Subject<'_>, nics: &[Nic<'_>], family: Family, tuning: &mut Tuning) {
    let pod = &subject.scene.pod;
    let in_main: Vec<&Route> = defaults(subject, family, MAIN_TABLE).collect();
    let has_default = |link: &str| {
        let of_nic = nics.iter().find(|nic| nic.link.name == link);
        let in_own = of_nic.is_some_and(|nic| nic.defaults(subject, family).next().is_some());
        in_own || in_main.iter().any(|route| route.link == link)
    };
    let own = subject.nic.name.as_str();
    if !pod.links.iter().any(|link| link.name != own && has_default(&link.name)) {
        // Alone in its family: its routes are right where they are.
        return;
    }
    // The one before this, else the one that this was made by an earlier ADD.
    let by_metric = |route: &&&Route| (route.link == own, route.metric.unwrap_or_default());
    let owner = in_main.iter().min_by_key(by_metric).map(|route| route.link.as_str());
    let wanted = subject.config.default_route_nic.as_deref().filter(|link| has_default(link));
    let Some(keeper) = wanted.or(owner) else {
        return;
    };
    let (mut leaves, mut returns) = (Vec::new(), Vec::new());
    for nic in nics {
        let is_keeper = nic.link.name == keeper;
        let of_main = in_main.iter().copied().filter(|route| route.link == nic.link.name);
        let of_own = || nic.defaults(subject, family);
        let mut defaults: Vec<Route> = Vec::new();
        for route in of_own().chain(of_main.clone()).map(|route| moved(route, nic.table)) {
            if !defaults.contains(&route) {
                defaults.push(route);
            }
        }
        if is_keeper {
            // Back from its table, if an earlier interface sent it there.
            if !in_main.iter().any(|route| route.link == keeper) {
                let back = of_own().map(|route| moved(route, MAIN_TABLE));
                returns.extend(back.map(|it| put(Ingredient::DefaultRoute, it)));
            }
            if !nic.is_overlays_first(subject) {
                continue;
            }
        } else if defaults.is_empty() {
            // It leads nowhere beyond its subnets, which the main table has.
            continue;
        } else {
            let others = nic.others(subject, family);
            tuning.steps.extend(others.map(|it| put(Ingredient::NicRoute, moved(it, nic.table))));
            leaves.extend(
                of_main.map(|route| {
                    in_pod(Ingredient::DefaultRoute, Change::DeleteRoute(route.clone()))
                }),
            );
        }
        tuning.steps.extend(defaults.into_iter().map(|it| put(Ingredient::NicRoute, it)));
        tuning.steps.extend(nic.rules(family));
        if nic.link.name == own {
            tuning.ruled.push(family);
        }
    }
    tuning.steps.extend(leaves);
    tuning.steps.extend(returns);
    let known = |link: &str| link == keeper || nics.iter().any(|nic| nic.link.name == link);
    for route in in_main.iter().filter(|route| !known(&route.link)) {
        tuning.warnings.push(format!(
            "{} has a default route of IPv{} beside that of {keeper}, and was not wired by this \
             plugin: its route stays",
            route.link,
            family.version()
        ));
    }
}

/// The NICs that are wired, and in overlay mode the one that they are beside; in the order of their
/// tables.
fn nics<'a>(subject: &Subject<'a>) -> Vec<Nic<'a>> {
    let Subject { scene, turn, wiring, .. } = subject;
    let mut nics = Vec::new();
    if turn.mode == Mode::Overlay
        && let Some(link) = scene.pod.link(&wiring.pod_link)
    {
        nics.push(Nic { link, table: REPLY_TABLE, preference: source_rule_preference(0) });
    }
    let own = &scene.attachment.ifname;
    let recorded = scene.wirings.iter().filter(|wiring| wiring.attachment.ifname != *own);
    nics.extend(recorded.filter_map(|wiring: &Wiring| {
        let link = scene.pod.link(wiring.attachment.ifname.as_str())?;
        let turn = wiring.turn();
        Some(Nic { link, table: turn.table(), preference: turn.rule_preference() })
    }));
    let (table, preference) = (turn.table(), turn.rule_preference());
    nics.push(Nic { link: subject.nic, table, preference });
    nics.sort_by_key(|nic| nic.table);
    nics
}

impl<'a> Nic<'a> {
    /// The default routes that are in its table by now.
    fn defaults(
        &self,
        subject: &Subject<'a>,
        family: Family,
    ) -> impl Iterator<Item = &'a Route> + use<'a> {
        let name = self.link.name.as_str();
        defaults(subject, family, self.table).filter(move |route| route.link == name)
    }

    /// Its routes of the main table that are not default ones and not a step of ours towards the
    /// node: its subnets, mostly.
    fn others(
        &self,
        subject: &Subject<'a>,
        family: Family,
    ) -> impl Iterator<Item = &'a Route> + use<'a> {
        let (name, joint) = (self.link.name.as_str(), subject.wiring.pod_link.clone());
        subject.scene.pod.routes.iter().filter(move |route| {
            let ours = route.protocol == PROTOCOL && route.link == joint;
            route.table == MAIN_TABLE
                && route.link == name
                && Family::of(route.dst.addr()) == family
                && route.dst.prefix_len() > 0
                && !is_of_every_link(route)
                && !ours
        })
    }

    /// The rules by which packets from its addresses look into its table.
    fn rules(&self, family: Family) -> impl Iterator<Item = Step> {
        self.link.addresses_of(family).map(|address| {
            let rule = source_rule(address, self.preference, self.table);
            in_pod(Ingredient::SourceRule, Change::PutRule(rule))
        })
    }

    /// Whether it is the NIC of another plugin that overlay mode goes by. It has a source rule
    /// whether or not it has the default route: its addresses must not leave by the subnet of
    /// another NIC (the peer's issue 3683).
    fn is_overlays_first(&self, subject: &Subject<'_>) -> bool {
        subject.turn.mode == Mode::Overlay && self.link.name == subject.wiring.pod_link
    }
}

fn defaults<'a>(
    subject: &Subject<'a>,
    family: Family,
    table: u32,
) -> impl Iterator<Item = &'a Route> + use<'a> {
    subject.scene.pod.routes.iter().filter(move |route| {
        route.table == table
            && route.dst.prefix_len() == 0
            && Family::of(route.dst.addr()) == family
    })
}

/// Link-local and multicast routes of IPv6: each link has its own, by which it is reached anyway.
fn is_of_every_link(route: &Route) -> bool {
    match route.dst.addr() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
    }
}

fn moved(route: &Route, table: u32) -> Route {
    Route { table, protocol: PROTOCOL, ..route.clone() }
}

fn put(ingredient: Ingredient, route: Route) -> Step {
    in_pod(ingredient, Change::PutRoute(route))
}
