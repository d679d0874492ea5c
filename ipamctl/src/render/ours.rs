//! A network with the plugins of this project.

use anyhow::{Context, Result, bail};
use cni_coordinator::CoordinatorConfig;
use cni_proto::NetworkConfig;
use ipnet::IpNet;
use serde_json::Value;

use super::conflist::{
    Capabilities, CoordinatorPlugin, IpamPlugin, IpvlanPlugin, NetworkConfigList, Plugin,
};
use super::coordinator::{CoordinatorDocument, CoordinatorSpec};
use super::multus::MultusConfig;

/// The newest that the containerd of Debian 12 reads.
const CNI_VERSION: &str = "1.0.0";

/// What is known beside the network's own document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) coordinator: Option<&'a CoordinatorDocument>,
    /// Of the command line: they come before a document's.
    pub(crate) service_cidrs: &'a [IpNet],
    pub(crate) pod_cidrs: &'a [IpNet],
}

/// The list with our plugins, valid for them.
///
/// # Errors
///
/// The document asks for what they cannot do.
pub(crate) fn list(
    config: &MultusConfig,
    known: &Known<'_>,
    note: &mut dyn FnMut(String),
) -> Result<NetworkConfigList> {
    if !config.has_ipam {
        bail!("spec.disableIPAM: cni-ipvlan makes no interface without an address");
    }
    let MultusConfig { namespace, definition_name, .. } = config;
    if !config.has_namespace {
        note(format!("no metadata.namespace: pools name it by default/{definition_name}"));
    }
    let link = config.ipvlan.link();
    if config.ipvlan.is_made() {
        note(format!(
            "{link} has to be there before the first pod: nothing makes it, as ifacer does"
        ));
    }
    let written = config.coordinator.clone();
    if written.as_ref().is_some_and(|it| it.tune_pod_routes.is_none()) {
        note(
            "spec.coordinator.tunePodRoutes: absent, which is false for the peer, and true here"
                .into(),
        );
    }
    let common = known.coordinator.map(|it| it.spec.clone()).unwrap_or_default();
    if let Some(fault) = common.fault() {
        bail!("SpiderCoordinator: spec.{fault}");
    }
    let spec = written.unwrap_or_default().or(common);
    let annotations = || Some(Capabilities { pod_annotations: true });
    let mut plugins = vec![Plugin::Ipvlan(IpvlanPlugin {
        kind: "cni-ipvlan",
        master: link,
        mtu: config.ipvlan.mtu.filter(|mtu| *mtu > 0),
        detect: (spec.detect_ip_conflict == Some(true)).then_some("auto"),
        detect_gateway: spec.detect_gateway.filter(|detects| *detects),
        capabilities: annotations(),
        ipam: Some(IpamPlugin {
            kind: "cni-ipam",
            network: Some(format!("{namespace}/{definition_name}")),
            default_ipv4_ippool: config.v4.clone(),
            default_ipv6_ippool: config.v6.clone(),
        }),
    })];
    plugins.extend(config.chain.iter().cloned().map(Plugin::Chained));
    if config.has_coordinator {
        let plugin = coordinator(spec, known, note);
        plugins
            .push(Plugin::Coordinator(CoordinatorPlugin { capabilities: annotations(), ..plugin }));
    }
    let cni_version = config.cni_version.clone().unwrap_or_else(|| CNI_VERSION.to_owned());
    let list = NetworkConfigList { cni_version, name: config.config_name.clone(), plugins };
    check(&list)?;
    Ok(list)
}

fn coordinator(
    spec: CoordinatorSpec,
    known: &Known<'_>,
    note: &mut dyn FnMut(String),
) -> CoordinatorPlugin {
    if spec.host_rp_filter.is_some_and(|value| value != 0) {
        note("coordinator.hostRPFilter: without effect, here as with the peer".into());
    }
    let status = known.coordinator.and_then(|it| it.status.clone()).unwrap_or_default();
    let cidrs = |given: &[IpNet], found: Option<Vec<String>>| match given {
        [] => found.unwrap_or_default(),
        given => given.iter().map(ToString::to_string).collect(),
    };
    let service_cidr = cidrs(known.service_cidrs, status.service_cidr);
    let overlay_pod_cidr = cidrs(known.pod_cidrs, status.overlay_pod_cidr);
    if spec.mode.as_deref() != Some("disabled") {
        if service_cidr.is_empty() {
            note(
                "serviceCIDR is not known, and no pod reaches a Service: give --service-cidr"
                    .into(),
            );
        }
        let kind = spec.pod_cidr_type.as_deref().unwrap_or("auto");
        if overlay_pod_cidr.is_empty() && kind != "none" {
            note(format!(
                "overlayPodCIDR is not known: podCIDRType {kind} asks the API server: give --pod-cidr"
            ));
        }
    }
    CoordinatorPlugin {
        kind: "cni-coordinator",
        mode: spec.mode,
        tune_pod_routes: spec.tune_pod_routes,
        pod_default_route_nic: spec.pod_default_route_nic,
        service_cidr,
        overlay_pod_cidr,
        hijack_cidr: spec.hijack_cidr.unwrap_or_default(),
        policy_routes: spec.policy_routes.unwrap_or_default(),
        host_rule_table: spec.host_rule_table,
        pod_rp_filter: spec.pod_rp_filter,
        tx_queue_len: spec.tx_queue_len,
        veth_link_address: spec.veth_link_address,
        veth_mtu: spec.veth_mtu,
        pod_mac_prefix: spec.pod_mac_prefix,
        capabilities: None,
    }
}

/// As the plugins read it.
fn check(list: &NetworkConfigList) -> Result<()> {
    let value = serde_json::to_value(list)?;
    for plugin in value["plugins"].as_array().into_iter().flatten() {
        let mut own = plugin.clone();
        for key in ["cniVersion", "name"] {
            own[key] = value[key].clone();
        }
        let kind = plugin["type"].as_str().unwrap_or_default();
        read(&own).with_context(|| format!("{kind} would refuse it"))?;
    }
    Ok(())
}

fn read(own: &Value) -> Result<()> {
    let config = NetworkConfig::parse(own.to_string().as_bytes())?;
    if config.plugin_type == "cni-coordinator" {
        CoordinatorConfig::new(&config)?;
    }
    Ok(())
}
