//! `SpiderMultusConfig`: the peer's document of a network.

use std::collections::BTreeMap;

use cni_net::MacAddr;
use cni_proto::IfName;
use ipam_core::PoolPattern;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::coordinator::CoordinatorSpec;

/// Annotation: the name of the definition that is made, if it is not the document's own.
const ANNOTATION_NAME: &str = "multus.spidernet.io/cr-name";
/// Annotation: the `cniVersion` of the configuration.
const ANNOTATION_CNI_VERSION: &str = "multus.spidernet.io/cni-version";
/// Annotation: the `name` of the configuration, if it is not the definition's.
const ANNOTATION_CONFIG_NAME: &str = "cni.spidernet.io/cniconfig-name";
/// Annotation of a definition: the device resource that its pods need.
const ANNOTATION_RESOURCE: &str = "k8s.v1.cni.cncf.io/resourceName";

/// The versions that the peer's webhook takes.
const CNI_VERSIONS: [&str; 4] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/// As it is written. A `null` is as good as absent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MultusDocument {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    spec: Value,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    #[serde(rename = "cniType")]
    _cni_type: String,
    ipvlan: Option<Ipvlan>,
    enable_coordinator: Option<bool>,
    #[serde(rename = "disableIPAM")]
    disable_ipam: Option<bool>,
    coordinator: Option<CoordinatorSpec>,
    #[serde(rename = "chainCNIJsonData")]
    chain: Option<Vec<String>>,
}

/// `spec.ipvlan`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Ipvlan {
    /// One NIC, or those that a bond is made of.
    pub(crate) master: Vec<String>,
    /// In bytes; 0 is as the master's.
    pub(crate) mtu: Option<u32>,
    /// 0 is none.
    #[serde(rename = "vlanID")]
    pub(crate) vlan_id: Option<u16>,
    pub(crate) bond: Option<Bond>,
    rdma_resource_name: Option<String>,
    ippools: Option<Pools>,
}

/// `spec.ipvlan.bond`, which the peer's plugin ifacer makes on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bond {
    pub(crate) name: String,
    pub(crate) mode: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) options: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pools {
    ipv4: Option<Vec<String>>,
    ipv6: Option<Vec<String>>,
    match_master_subnet: Option<bool>,
}

/// What it says, valid.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MultusConfig {
    /// Whether the document has a namespace; `default` otherwise.
    pub(crate) has_namespace: bool,
    pub(crate) namespace: String,
    /// The definition's name.
    pub(crate) definition_name: String,
    /// The definition's annotations: all of the document's.
    pub(crate) annotations: BTreeMap<String, String>,
    /// `name` of the configuration.
    pub(crate) config_name: String,
    /// `cniVersion` of the configuration, if the document has one.
    pub(crate) cni_version: Option<String>,
    pub(crate) ipvlan: Ipvlan,
    pub(crate) v4: Vec<String>,
    pub(crate) v6: Vec<String>,
    pub(crate) has_ipam: bool,
    /// Whether there is a coordinator, and what the document says about it, if anything.
    pub(crate) has_coordinator: bool,
    pub(crate) coordinator: Option<CoordinatorSpec>,
    /// The configurations that stand between the main plugin and the coordinator.
    pub(crate) chain: Vec<Value>,
}

impl MultusConfig {
    /// # Errors
    ///
    /// The field, its value and the rule.
    pub(crate) fn new(document: MultusDocument) -> Result<Self, String> {
        let MultusDocument { metadata, spec, .. } = document;
        // Before all other fields, which are those of its type.
        match spec["cniType"].as_str() {
            Some("ipvlan") => {}
            Some(other) => {
                return Err(format!(
                    "spec.cniType {other:?}: this is not ours: only ipvlan is rendered, which \
                     cni-ipvlan makes; keep the peer's definition, or change the type"
                ));
            }
            None => {
                return Err("spec.cniType: absent, which is \"custom\": this is not ours, only \
                            ipvlan is rendered"
                    .to_owned());
            }
        }
        let spec: Spec = serde_path_to_error::deserialize(spec).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { format!(".{path}") };
            format!("spec{path}: {}", error.inner())
        })?;
        let ipvlan = spec.ipvlan.ok_or("spec.ipvlan: absent: name the master there")?;
        ipvlan.check()?;
        let mut annotations = metadata.annotations.unwrap_or_default();
        let annotated = |key: &str| annotations.get(key).filter(|it| !it.is_empty()).cloned();
        let definition_name = annotated(ANNOTATION_NAME).unwrap_or_else(|| metadata.name.clone());
        for (field, name) in [
            ("metadata.name", Some(&metadata.name)),
            (ANNOTATION_NAME, Some(&definition_name)),
            ("metadata.namespace", metadata.namespace.as_ref()),
        ] {
            let name = name.filter(|name| !is_object_name(name));
            if let Some(name) = name {
                let rule = "it must be a DNS subdomain (RFC 1123): a-z, 0-9, '-' and '.'";
                return Err(format!("{field} {name:?}: {rule}"));
            }
        }
        let cni_version = annotated(ANNOTATION_CNI_VERSION);
        if let Some(version) = cni_version.as_deref().filter(|it| !CNI_VERSIONS.contains(it)) {
            let known = CNI_VERSIONS.join(", ");
            return Err(format!("{ANNOTATION_CNI_VERSION} {version:?}: it must be one of {known}"));
        }
        let config_name = annotated(ANNOTATION_CONFIG_NAME);
        if let Some(resource) = ipvlan.rdma_resource_name.as_ref().filter(|it| !it.is_empty()) {
            annotations.insert(ANNOTATION_RESOURCE.to_owned(), resource.clone());
        }
        let pools = ipvlan.ippools.clone();
        let (v4, v6) = pools.map_or_else(Default::default, |it| (it.ipv4, it.ipv6));
        if let Some(fault) = spec.coordinator.as_ref().and_then(CoordinatorSpec::fault) {
            return Err(format!("spec.coordinator.{fault}"));
        }
        let chain = spec.chain.unwrap_or_default();
        Ok(Self {
            has_namespace: metadata.namespace.is_some(),
            namespace: metadata.namespace.unwrap_or_else(|| "default".to_owned()),
            annotations,
            config_name: config_name.unwrap_or_else(|| definition_name.clone()),
            definition_name,
            cni_version,
            v4: v4.unwrap_or_default(),
            v6: v6.unwrap_or_default(),
            ipvlan,
            has_ipam: spec.disable_ipam != Some(true),
            has_coordinator: spec.enable_coordinator != Some(false),
            coordinator: spec.coordinator,
            chain: chain.iter().enumerate().map(chained).collect::<Result<_, _>>()?,
        })
    }
}

impl Ipvlan {
    fn check(&self) -> Result<(), String> {
        let field = |field: &str, value: &str, rule: &str| {
            Err(format!("spec.ipvlan.{field} {value:?}: {rule}"))
        };
        if self.master.is_empty() {
            return field("master", "", "one NIC is needed");
        }
        let is_nic = |name: &str| IfName::new(name).is_ok() || name.parse::<MacAddr>().is_ok();
        if let Some(name) = self.master.iter().find(|name| !is_nic(name)) {
            return field("master", name, "it must be the name of a link, or a MAC");
        }
        if let Some(vlan) = self.vlan_id.filter(|vlan| *vlan > 4094) {
            return field("vlanID", &vlan.to_string(), "it must be from 0 to 4094");
        }
        match &self.bond {
            None if self.master.len() > 1 => {
                return field("bond", "", "several masters are made one by a bond: name it");
            }
            Some(bond) if IfName::new(&*bond.name).is_err() => {
                return field("bond.name", &bond.name, "it must be the name of a link");
            }
            Some(bond) if !(0..=6).contains(&bond.mode) => {
                return field("bond.mode", &bond.mode.to_string(), "it must be from 0 to 6");
            }
            _ => {}
        }
        let Some(pools) = &self.ippools else { return Ok(()) };
        if pools.match_master_subnet == Some(true) {
            return field("ippools.matchMasterSubnet", "true", "it is for sriov alone");
        }
        for (family, names) in [("ipv4", &pools.ipv4), ("ipv6", &pools.ipv6)] {
            for name in names.iter().flatten() {
                name.parse::<PoolPattern>()
                    .map_err(|error| format!("spec.ipvlan.ippools.{family}: {error}"))?;
            }
        }
        Ok(())
    }

    /// The link that pods share: the NIC or the bond, and the VLAN on it.
    pub(crate) fn link(&self) -> String {
        let base = match (&*self.master, &self.bond) {
            ([_, _, ..], Some(bond)) => &bond.name,
            (masters, _) => &masters[0],
        };
        match self.vlan_id {
            None | Some(0) => base.clone(),
            Some(vlan) => format!("{base}.{vlan}"),
        }
    }

    /// Whether that link is made of others first.
    pub(crate) fn is_made(&self) -> bool {
        self.master.len() > 1 || self.vlan_id.is_some_and(|vlan| vlan != 0)
    }
}

fn chained((index, text): (usize, &String)) -> Result<Value, String> {
    let field = format!("spec.chainCNIJsonData[{index}]");
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{field}: {error}"))?;
    match value["type"].as_str() {
        Some(plugin) if !plugin.is_empty() => Ok(value),
        _ => Err(format!("{field}: it must be an object with the type of a plugin")),
    }
}

/// RFC 1123, as Kubernetes asks for it; nothing that leads out of a directory.
fn is_object_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(edge)
            && label.ends_with(edge)
            && label.chars().all(|c| edge(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cni_proto::field_names;

    use super::*;
    use crate::documentation::documented;
    use crate::render::coordinator::CoordinatorStatus;

    const SECTION: &str = "From SpiderMultusConfig and SpiderCoordinator";

    fn prefixed(prefix: &str, fields: &[&str], without: &[&str]) -> BTreeSet<String> {
        let named = fields.iter().filter(|field| !without.contains(field));
        named.map(|field| format!("{prefix}{field}")).collect()
    }

    #[test]
    fn the_documentation_has_every_field_and_no_other() {
        let mut expected = prefixed("metadata.", field_names::<Metadata>(), &[]);
        let elsewhere = ["cniType", "ipvlan", "coordinator"];
        expected.extend(prefixed("", field_names::<Spec>(), &elsewhere));
        expected.extend(prefixed("ipvlan.", field_names::<Ipvlan>(), &[]));
        expected.extend(
            [ANNOTATION_NAME, ANNOTATION_CONFIG_NAME, ANNOTATION_CNI_VERSION].map(str::to_owned),
        );
        assert_eq!(documented(SECTION, "field of `SpiderMultusConfig`"), expected);
    }

    #[test]
    fn the_documentation_has_every_field_of_a_coordinator() {
        let mut expected = prefixed("", field_names::<CoordinatorSpec>(), &[]);
        expected.extend(prefixed("status.", field_names::<CoordinatorStatus>(), &[]));
        let column = "field of `coordinator`, or of `SpiderCoordinator`";
        assert_eq!(documented(SECTION, column), expected);
    }
}
