//! A pod: a sandbox's network namespace, as a runtime makes it before it calls a plugin.

use std::ops::Deref;

use crate::description::PodSpec;
use crate::namespace::Namespace;
use crate::step::Step;

/// A running pod. It is its namespace, with an identity; dropping it ends the sandbox without
/// telling any plugin, as a crash does.
#[derive(Debug)]
pub struct Pod {
    spec: PodSpec,
    namespace: Namespace,
}

impl Pod {
    pub(crate) fn new(spec: PodSpec, namespace: Namespace) -> Self {
        Self { spec, namespace }
    }

    /// What it was made from.
    pub fn spec(&self) -> &PodSpec {
        &self.spec
    }

    /// `CNI_ARGS` as containerd sets it for this pod.
    pub fn cni_args(&self) -> String {
        let PodSpec { namespace, name, uid, sandbox_id, .. } = &self.spec;
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};\
             K8S_POD_INFRA_CONTAINER_ID={sandbox_id};K8S_POD_UID={uid}"
        )
    }
}

impl Deref for Pod {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

/// What a runtime does in the namespace itself.
pub(crate) fn steps() -> Vec<Step> {
    vec![Step::Ip(vec!["link set dev lo up".to_owned()])]
}
