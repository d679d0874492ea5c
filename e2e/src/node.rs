//! A node: a namespace with the NICs of a cloud server.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::description::{Cluster, NodeSpec};
use crate::namespace::Namespace;
use crate::runtime::Runtime;
use crate::step::Step;

/// The first table, and the first rule's priority, of the source routing between the NICs.
const FIRST_TABLE: usize = 2000;
const FIRST_PRIORITY: usize = 30_000;

/// A running node. It is its namespace, with a name and a directory.
#[derive(Debug)]
pub struct Node {
    spec: NodeSpec,
    namespace: Namespace,
    data_dir: PathBuf,
}

impl Node {
    pub(crate) fn new(spec: NodeSpec, namespace: Namespace, data_dir: PathBuf) -> Self {
        Self { spec, namespace, data_dir }
    }

    /// What it was made from.
    pub fn spec(&self) -> &NodeSpec {
        &self.spec
    }

    /// A directory of its own, empty at the start, removed with the lab.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The container runtime on this node, with the plugins of this build.
    ///
    /// # Errors
    ///
    /// The folder of the built plugins cannot be told.
    pub fn runtime(&self) -> Result<Runtime<'_>> {
        Runtime::new(&self.namespace)
    }
}

impl Deref for Node {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

/// What to do in the node's namespace, once its NICs are there.
pub(crate) fn steps(cluster: &Cluster, node: &NodeSpec) -> Result<Vec<Step>> {
    let mut steps = vec![Step::sysctl("ipv4/ip_forward", "1")];
    steps.extend(Step::no_rp_filter(node.nics.iter().map(|nic| nic.name.as_str())));
    if node.nics.iter().any(|nic| !nic.ipv6.is_empty()) {
        steps.push(Step::sysctl("ipv6/conf/all/forwarding", "1"));
    }
    let own = node.sysctls.iter();
    steps.extend(own.map(|(path, value)| Step::sysctl(path.as_str(), value.as_str())));
    let (mut ip, mut of_ipv6) = (vec!["link set dev lo up".to_owned()], Vec::new());
    for (index, nic) in node.nics.iter().enumerate() {
        let vswitch = cluster.vswitch(&nic.vswitch)?;
        let name = &nic.name;
        ip.push(format!("link set dev {name} up"));
        let ipv6 = vswitch.ipv6.zip(nic.ipv6.first());
        let ipv6 = ipv6.map(|(ipv6, address)| (*address, ipv6.subnet, ipv6.gateway));
        let families = [(nic.primary, vswitch.subnet, vswitch.gateway)].into_iter().chain(ipv6);
        for (address, subnet, gateway) in families {
            let (subnet, length) = (subnet.trunc(), subnet.prefix_len());
            let lines = if address.is_ipv6() { &mut of_ipv6 } else { &mut ip };
            // The cloud answers for every address, also for one that asks about itself.
            let flag = if address.is_ipv6() { " nodad" } else { "" };
            lines.push(format!("address add {address}/{length} dev {name}{flag}"));
            if index == 0 {
                lines.push(format!("route add default via {gateway} dev {name}"));
            }
            if node.nics.len() > 1 {
                // An address leaves by the NIC that owns it: by another, the cloud drops it.
                let table = FIRST_TABLE + index;
                let priority = FIRST_PRIORITY + index;
                lines.push(format!("route add {subnet} dev {name} src {address} table {table}"));
                lines.push(format!("route add default via {gateway} dev {name} table {table}"));
                lines.push(format!("rule add from {address} lookup {table} priority {priority}"));
            }
        }
    }
    steps.extend([Step::Ip(ip), Step::Ip6(of_ipv6)]);
    Ok(steps)
}
