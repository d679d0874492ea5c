//! What the plans of the steps mean to the crate.

use std::net::IpAddr;

use ipam_core::{
    Asker, Demand, Facts, Family, LiveNamespaces, Moment, NamedPools, Pin, Policy, PoolSpec,
    Reserved, ReservedSpec, Source, StickyNames, Strategy, ValidAttachments, WhenOnlyCooling,
};

use crate::oracle::{attachment, pod_ref, pool_name};
use crate::steps::{
    CONTAINERS, DemandPlan, FactsPlan, PLACES, PinPlan, Place, PolicyPlan, PoolPlan, Subnet,
};

/// The boot that all leases are of.
pub(crate) const BOOT: &str = "b0";

pub(crate) fn spec_of(plan: &PoolPlan) -> PoolSpec {
    let subnet = Subnet::of_pool(plan.pool);
    let texts = |bits| subnet.addresses(bits).map(|address| address.to_string()).collect();
    PoolSpec {
        subnet: subnet.cidr().into(),
        ips: texts(plan.ips),
        exclude_ips: texts(plan.excluded),
        gateway: plan.gateway.map(|number| subnet.address(number).to_string()),
        node_name: plan.node.into_iter().map(|node| format!("node{node}")).collect(),
        multus_name: plan.network.into_iter().map(|network| format!("net{network}")).collect(),
        default: Some(plan.default),
        disable: Some(plan.disable),
        ..PoolSpec::default()
    }
}

/// A document of each family.
pub(crate) fn reserved_of(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Reserved> {
    let (v4, v6): (Vec<IpAddr>, _) = addresses.into_iter().partition(IpAddr::is_ipv4);
    let document = |ips: Vec<IpAddr>| {
        let ips = ips.iter().map(ToString::to_string).collect();
        Reserved::new("r", &ReservedSpec { ip_version: None, ips }).expect("one family")
    };
    vec![document(v4), document(v6)]
}

pub(crate) fn pinned_of(plan: &PinPlan) -> Vec<Reserved> {
    let pod = pod_ref((plan.name, None));
    let place = |number: Option<u8>| number.unwrap_or_default();
    let (network, interface) = (place(plan.network), place(plan.interface));
    let named = attachment(Place { container: 0, network, interface });
    let pin = Pin {
        namespace: pod.namespace,
        name: pod.name,
        network: plan.network.map(|_| named.network),
        ifname: plan.interface.map(|_| named.ifname),
    };
    let documents = reserved_of(plan.subnet.addresses(plan.addresses)).into_iter();
    documents.map(|one| one.with_labels(pin.labels()).expect("names are labels")).collect()
}

pub(crate) fn demand_of(plan: &DemandPlan) -> Demand {
    let attachment = attachment(plan.place);
    let node = format!("node{}", plan.node).parse().expect("a name");
    let asker = Asker::new(node, attachment.network.clone().into());
    let list = |numbers: &[u8]| {
        let pattern = |number: &u8| pool_name(*number).parse().expect("a name");
        numbers.iter().map(pattern).collect()
    };
    let (v4, v6) = plan.required;
    let required = [(v4, Family::V4), (v6, Family::V6)];
    Demand {
        pod: plan.pod.map(pod_ref),
        source: match &plan.named {
            None => Source::Defaults,
            Some((v4, v6)) => Source::Named(NamedPools { v4: list(v4), v6: list(v6) }),
        },
        required: required.into_iter().filter(|(is, _)| *is).map(|(_, family)| family).collect(),
        requested: plan.requested.clone(),
        ..Demand::new(attachment, asker)
    }
}

pub(crate) fn policy_of(plan: PolicyPlan) -> Policy {
    Policy {
        strategy: match plan.strategy {
            0 => Strategy::Lowest,
            1 => Strategy::RoundRobin,
            2 => Strategy::Random { seed: plan.seed },
            _ => Strategy::OldestReleased,
        },
        cooldown_seconds: plan.cooldown_seconds,
        when_only_cooling: if plan.refuse {
            WhenOnlyCooling::Refuse
        } else {
            WhenOnlyCooling::TakeOldest
        },
        sticky: match plan.sticky {
            0 => StickyNames::None,
            1 => StickyNames::Ordinal,
            _ => StickyNames::All,
        },
        sticky_seconds: plan.sticky_seconds,
    }
}

pub(crate) fn facts_of(plan: &FactsPlan, now: u64) -> Facts {
    let containers = |bits: u8| (0..CONTAINERS).filter(move |container| bits >> container & 1 == 1);
    let boot = |is_later| if is_later { "b1" } else { BOOT };
    Facts {
        boot: plan.later_boot.map(|is_later| boot(is_later).parse().expect("a name")),
        now: Moment(now),
        snapshot: Moment(now - plan.snapshot_age),
        grace_seconds: plan.grace_seconds,
        valid: plan.valid.map(|(network, bits)| ValidAttachments {
            network: format!("net{network}").parse().expect("a name"),
            attachments: containers(bits)
                .flat_map(|container| {
                    let place = move |interface| Place { container, network, interface };
                    (0..PLACES).map(move |interface| attachment(place(interface)))
                })
                .map(|attachment| (attachment.container, attachment.ifname))
                .collect(),
        }),
        namespaces: plan.live.map(|bits| LiveNamespaces {
            inodes: containers(bits).map(u64::from).collect(),
            paths: containers(bits).map(|container| format!("/run/netns/{container}")).collect(),
        }),
        alive: plan.alive.iter().copied().collect(),
    }
}
