//! The interface that a plan is about, and everything that its parts ask about it.

use std::net::IpAddr;

use ipam_core::Family;
use ipnet::IpNet;

use crate::config::CoordinatorConfig;
use crate::error::PlanError;
use crate::ingredient::Ingredient;
use crate::mode::{Mode, Turn};
use crate::numbers::{HOST_RULE_PREFERENCE, MAIN_TABLE};
use crate::plan::in_pod;
use crate::scene::{NodeLink, PodLink, Scene};
use crate::step::{Change, Route, Step};
use crate::veth::{ALIAS_PREFIX, POD_END, VethPair};
use crate::wiring::Wiring;

/// One interface of one pod on one node, found to be fit for a plan.
pub(crate) struct Subject<'a> {
    pub(crate) config: &'a CoordinatorConfig,
    pub(crate) scene: &'a Scene,
    pub(crate) turn: Turn,
    /// The interface itself.
    pub(crate) nic: &'a PodLink,
    /// What will be recorded; it has the links and addresses that the plan is made of.
    pub(crate) wiring: Wiring,
}

impl<'a> Subject<'a> {
    pub(crate) fn new(
        config: &'a CoordinatorConfig,
        scene: &'a Scene,
        turn: Turn,
    ) -> Result<Self, PlanError> {
        let ifname = scene.attachment.ifname.as_str();
        let nic = scene.pod.link(ifname).ok_or_else(|| PlanError::NoLink {
            link: ifname.to_owned(),
            remedy: "run this plugin behind the one that makes it",
        })?;
        let of = |family| nic.addresses_of(family);
        let addresses: Vec<IpAddr> = of(Family::V4).chain(of(Family::V6)).collect();
        if addresses.is_empty() {
            return Err(PlanError::NoAddress { ifname: ifname.to_owned() });
        }
        let mut node_addresses = scene.node.addresses(&config.host_interface_exclude);
        if let Some(address) = addresses.iter().find(|address| node_addresses.contains(address)) {
            return Err(PlanError::AddressOfNode { address: *address });
        }
        keep_order(&mut node_addresses, &scene.wirings);
        let family_of = |address: &IpAddr| Family::of(*address);
        node_addresses.retain(|it| addresses.iter().map(family_of).any(|of| of == family_of(it)));
        if let Some(mtu) = config.veth_mtu.filter(|mtu| *mtu < 1280)
            && addresses.iter().any(IpAddr::is_ipv6)
        {
            return Err(PlanError::MtuTooSmall { mtu });
        }
        let joint = Joint::find(config, scene, turn)?;
        let wiring = Wiring {
            attachment: scene.attachment.clone(),
            netns: scene.netns.clone(),
            mode: turn.mode,
            ordinal: turn.ordinal,
            pod_link: joint.pod_link,
            pod_mac: joint.pod_mac,
            host_link: joint.host_link,
            host_mac: joint.host_mac,
            addresses,
            node_addresses,
            host_table: config.host_table,
            host_rule_preference: HOST_RULE_PREFERENCE,
        };
        Ok(Self { config, scene, turn, nic, wiring })
    }

    /// Families of the interface's addresses, IPv4 first.
    pub(crate) fn families(&self) -> Vec<Family> {
        self.wiring.families()
    }

    pub(crate) fn has(&self, family: Family) -> bool {
        self.families().contains(&family)
    }

    /// The address of the node that the pod's traffic to Services goes by.
    pub(crate) fn gateway(&self, family: Family) -> Option<IpAddr> {
        let is_it = |address: &&IpAddr| Family::of(**address) == family;
        self.wiring.node_addresses.iter().find(is_it).copied()
    }

    pub(crate) fn alias(&self) -> String {
        VethPair::of(&self.scene.attachment).alias
    }

    /// Whether no NIC before this one has an address of the family, so that the main table is for
    /// this one to fill.
    fn is_first_of(&self, family: Family) -> bool {
        let other =
            |link: &&PodLink| link.is_nic() && link.name != self.nic.name && link.name != POD_END;
        let mut others = self.scene.pod.links.iter().filter(other);
        self.turn.first || !others.any(|link| link.addresses_of(family).next().is_some())
    }

    /// A route over the pod's link to the node: in the NIC's own table, which is whole before any
    /// rule leads there, and in the main one if nobody was first.
    ///
    /// IPv6 routes have no preferred source: the kernel refuses one that is still tentative
    /// (`ip6_route_info_create` in `net/ipv6/route.c`), and without one chooses among the pod's
    /// addresses by RFC 6724, of which every one is reachable from the node.
    pub(crate) fn by_veth(
        &self,
        ingredient: Ingredient,
        dst: IpNet,
        via: Option<IpAddr>,
    ) -> Vec<Step> {
        let family = Family::of(dst.addr());
        let own = (self.turn.table(), source(self.nic, family));
        let joint = self.scene.pod.link(&self.wiring.pod_link);
        let joint = joint.filter(|_| self.turn.mode == Mode::Overlay);
        let of_main = joint.and_then(|link| source(link, family)).or(own.1);
        let main = self.is_first_of(family).then_some((MAIN_TABLE, of_main));
        let route = |(table, source)| Route {
            source,
            link_scope: via.is_none() && family == Family::V4,
            ..Route::new(dst, via, self.wiring.pod_link.as_str(), table)
        };
        let tables = [own].into_iter().chain(main);
        tables.map(|it| in_pod(ingredient, Change::PutRoute(route(it)))).collect()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.turn.mode == Mode::Underlay && matches!(self.config.rp_filter, Some(1 | 2)) {
            let text = "podRPFilter is not 0: connections by the veth whose client's address is \
                        kept (externalTrafficPolicy: Local) are dropped in the pod";
            warnings.push(text.to_owned());
        }
        for family in self.families().into_iter().filter(|it| self.gateway(*it).is_none()) {
            warnings.push(format!(
                "the node has no IPv{} address that its pods could reach it by: that family has no \
                 way to the node",
                family.version()
            ));
        }
        if let Some(address) = self.config.veth_address
            && !self.has(Family::of(address))
        {
            warnings.push(format!("vethLinkAddress {address} is of a family that the pod lacks"));
        }
        warnings
    }
}

fn source(link: &PodLink, family: Family) -> Option<IpAddr> {
    link.addresses_of(family).next().filter(IpAddr::is_ipv4)
}

/// What is recorded comes first, in its order: the source that the node has towards a pod is
/// another once there is a route to it by the veth, and all NICs of a pod have the same gateway.
fn keep_order(addresses: &mut [IpAddr], wirings: &[Wiring]) {
    let mut wirings: Vec<&Wiring> = wirings.iter().collect();
    wirings.sort_by_key(|wiring| wiring.ordinal);
    let recorded: Vec<&IpAddr> = wirings.iter().flat_map(|it| &it.node_addresses).collect();
    let place = |address: &IpAddr| recorded.iter().position(|known| *known == address);
    addresses.sort_by_key(|address| place(address).unwrap_or(usize::MAX));
}

/// The two links by which pod and node are joined.
struct Joint {
    pod_link: String,
    pod_mac: cni_net::MacAddr,
    host_link: String,
    host_mac: cni_net::MacAddr,
}

impl Joint {
    fn find(config: &CoordinatorConfig, scene: &Scene, turn: Turn) -> Result<Self, PlanError> {
        match turn.mode {
            Mode::Underlay if turn.first => Self::to_make(scene),
            Mode::Underlay => Self::there(scene, POD_END),
            Mode::Overlay => Self::there(scene, &config.first_nic),
        }
    }

    /// The pair that is made, in the place of an older one of its container at most.
    fn to_make(scene: &Scene) -> Result<Self, PlanError> {
        let pair = VethPair::of(&scene.attachment);
        let taken = |place, link: &str| PlanError::NameTaken { place, link: link.to_owned() };
        // One that another container left in this namespace is told by its other end.
        let is_left = |link: &PodLink| {
            let other = link.peer.and_then(|index| scene.node.link_by_index(index));
            is_veth(link.kind.as_deref())
                && other.is_some_and(|other| {
                    let alias = other.alias.as_deref().unwrap_or_default();
                    other.name == pair.host || alias.starts_with(ALIAS_PREFIX)
                })
        };
        if scene.pod.link(POD_END).is_some_and(|link| !is_left(link)) {
            return Err(taken("the pod", POD_END));
        }
        // A veth of that name without an alias is one that a killed ADD left, or the peer's.
        let is_ours = |link: &NodeLink| {
            let alias = link.alias.as_deref().unwrap_or_default();
            is_veth(link.kind.as_deref()) && (!alias.starts_with(ALIAS_PREFIX) || pair.owns(alias))
        };
        if scene.node.link(&pair.host).is_some_and(|link| !is_ours(link)) {
            return Err(taken("the node", &pair.host));
        }
        Ok(Self {
            pod_link: POD_END.to_owned(),
            pod_mac: pair.pod_mac,
            host_link: pair.host,
            host_mac: pair.host_mac,
        })
    }

    /// The pair that is there, whoever made it.
    fn there(scene: &Scene, pod_link: &str) -> Result<Self, PlanError> {
        let link = scene.pod.link(pod_link).ok_or_else(|| PlanError::NoLink {
            link: pod_link.to_owned(),
            remedy: "podDefaultCniNic must name the pod's first interface",
        })?;
        let peer = link.peer.and_then(|index| scene.node.link_by_index(index));
        let macs = |peer: &NodeLink| link.mac.zip(peer.mac);
        let found = peer.and_then(|peer| Some((peer, macs(peer)?)));
        let (peer, (pod_mac, host_mac)) =
            found.ok_or_else(|| PlanError::NoPeer { link: pod_link.to_owned() })?;
        Ok(Self { pod_link: pod_link.to_owned(), pod_mac, host_link: peer.name.clone(), host_mac })
    }
}

fn is_veth(kind: Option<&str>) -> bool {
    kind == Some("veth")
}
