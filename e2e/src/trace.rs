//! All that one attachment can change, to be compared before and after.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::deployment::Deployment;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::pod::Pod;
use crate::snapshot::Snapshot;

/// The links, addresses, routes, rules and neighbours of the pod and of its node, the pod's
/// interface-independent settings, and the leases of the node's database.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    node: Snapshot,
    pod: Snapshot,
    sysctls: BTreeMap<String, String>,
    leases: Vec<Value>,
}

impl Trace {
    /// As it is now.
    ///
    /// # Errors
    ///
    /// `ip` or `ipamctl` failed.
    pub fn of(lab: &Lab, deployment: &Deployment<'_>, pod: &Pod) -> Result<Self> {
        Ok(Self {
            node: lab.node(&pod.spec().node)?.snapshot()?,
            pod: pod.snapshot()?,
            sysctls: sysctls(pod)?,
            leases: deployment.leases(&pod.spec().node)?,
        })
    }

    /// What the later one has more, as `+ line`, and less, as `- line`.
    pub fn changes(&self, later: &Self) -> Vec<String> {
        let mut changes = self.node.changes(&later.node);
        changes.extend(self.pod.changes(&later.pod));
        for (key, value) in &self.sysctls {
            let after = later.sysctls.get(key);
            if after != Some(value) {
                changes.push(format!("sysctl {key}: {value} is {after:?}"));
            }
        }
        let lacks = |some: &[Value], lease| !some.contains(lease);
        let less = self.leases.iter().filter(|lease| lacks(&later.leases, lease));
        changes.extend(less.map(|lease| format!("- lease {lease}")));
        let more = later.leases.iter().filter(|lease| lacks(&self.leases, lease));
        changes.extend(more.map(|lease| format!("+ lease {lease}")));
        changes
    }
}

/// The settings for all interfaces, for future ones and for the loopback.
fn sysctls(namespace: &Namespace) -> Result<BTreeMap<String, String>> {
    namespace.enter(|| {
        let mut all = BTreeMap::new();
        for family in ["ipv4", "ipv6"] {
            for scope in ["all", "default", "lo"] {
                let folder = format!("/proc/sys/net/{family}/conf/{scope}");
                for entry in fs::read_dir(Path::new(&folder))? {
                    let path = entry?.path();
                    // Some cannot be read before they were written.
                    if let Ok(value) = fs::read_to_string(&path) {
                        all.insert(path.display().to_string(), value.trim().to_owned());
                    }
                }
            }
        }
        Ok(all)
    })
}
