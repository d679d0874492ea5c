//! A network as the peer's controller makes it of the same document, its webhook's defaults filled
//! in (Spiderpool, `pkg/multuscniconfig`: `multusconfig_mutate.go`, `multusconfig_informer.go`).

use super::conflist::{
    CoordinatorPlugin, IfacerPlugin, IpamPlugin, IpvlanPlugin, NetworkConfigList, Plugin,
};
use super::coordinator::CoordinatorSpec;
use super::multus::{Ipvlan, MultusConfig};

/// The list with the peer's plugins. What its agent adds while they run is not in it.
pub(crate) fn list(config: &MultusConfig, note: &mut dyn FnMut(String)) -> NetworkConfigList {
    let Ipvlan { master, mtu, vlan_id, bond, .. } = &config.ipvlan;
    let mut plugins = Vec::new();
    if config.ipvlan.is_made() {
        plugins.push(Plugin::Ifacer(IfacerPlugin {
            kind: "ifacer",
            interfaces: master.clone(),
            vlan_id: vlan_id.filter(|vlan| *vlan != 0),
            bond: bond.clone(),
        }));
    }
    plugins.push(Plugin::Ipvlan(IpvlanPlugin {
        kind: "ipvlan",
        master: config.ipvlan.link(),
        mtu: Some(mtu.unwrap_or_default()),
        detect: None,
        detect_gateway: None,
        capabilities: None,
        ipam: config.has_ipam.then(|| IpamPlugin {
            kind: "spiderpool",
            network: None,
            default_ipv4_ippool: config.v4.clone(),
            default_ipv6_ippool: config.v6.clone(),
        }),
    }));
    plugins.extend(config.chain.iter().cloned().map(Plugin::Chained));
    if config.has_coordinator {
        plugins.push(Plugin::Coordinator(coordinator(config.coordinator.clone(), note)));
    }
    let cni_version = config.cni_version.clone().unwrap_or_else(|| "0.3.1".to_owned());
    NetworkConfigList { cni_version, name: config.config_name.clone(), plugins }
}

fn coordinator(
    written: Option<CoordinatorSpec>,
    note: &mut dyn FnMut(String),
) -> CoordinatorPlugin {
    // The webhook's default is another one for who writes nothing at all.
    let tunes = written.is_none();
    let spec = written.unwrap_or_default();
    if spec.mode.as_deref() == Some("disabled") {
        note("the peer's plugin knows mode \"disable\" and no \"disabled\": its ADDs fail".into());
    }
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    CoordinatorPlugin {
        kind: "coordinator",
        mode: Some(spec.mode.unwrap_or_else(|| "auto".to_owned())),
        tune_pod_routes: Some(spec.tune_pod_routes.unwrap_or(tunes)),
        pod_default_route_nic: text(spec.pod_default_route_nic),
        hijack_cidr: spec.hijack_cidr.unwrap_or_default(),
        policy_routes: spec.policy_routes.unwrap_or_default(),
        // That it hangs on the other field is the controller's, not the schema's, doing.
        pod_rp_filter: spec.pod_cidr_type.map(|_| spec.pod_rp_filter.unwrap_or_default()),
        tx_queue_len: Some(spec.tx_queue_len.unwrap_or_default()),
        veth_link_address: text(spec.veth_link_address),
        veth_mtu: spec.veth_mtu,
        pod_mac_prefix: text(spec.pod_mac_prefix),
        ..CoordinatorPlugin::default()
    }
}
