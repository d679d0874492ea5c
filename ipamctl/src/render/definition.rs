//! `NetworkAttachmentDefinition`: the document that Multus reads a network's configuration from.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::conflist::NetworkConfigList;
use super::multus::MultusConfig;

/// Kubernetes Network Plumbing Working Group, "Custom Resource Definition De-facto Standard",
/// section 3.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkAttachmentDefinition<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Spec,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Spec {
    config: String,
}

impl<'a> NetworkAttachmentDefinition<'a> {
    /// The definition of a network with this configuration.
    pub(crate) fn new(config: &'a MultusConfig, list: &NetworkConfigList) -> Result<Self> {
        Ok(Self {
            api_version: "k8s.cni.cncf.io/v1",
            kind: "NetworkAttachmentDefinition",
            metadata: Metadata {
                name: &config.definition_name,
                namespace: config.has_namespace.then_some(&*config.namespace),
                annotations: &config.annotations,
            },
            spec: Spec { config: serde_json::to_string_pretty(list)? },
        })
    }
}
