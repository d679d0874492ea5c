//! Whether a description can be built.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;

use crate::description::{Cluster, PodSpec, port};

/// Linux's `IFNAMSIZ` less the terminating zero.
const INTERFACE_NAME_MAX_BYTES: usize = 15;

impl Cluster {
    /// Whether the description can be built.
    ///
    /// # Errors
    ///
    /// The first thing that cannot: a name or an address that is there twice, an address outside
    /// its subnet, a reference to nothing, a name too long for an interface, an IPv6 address
    /// (the VPC does not yet know any).
    pub fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        let mut macs = BTreeSet::new();
        for vswitch in &self.vswitches {
            once(&mut names, &format!("vswitch {}", vswitch.name))?;
            let what = format!("gateway of vswitch {}", vswitch.name);
            address_of(&what, vswitch.gateway, vswitch.subnet)?;
            once(&mut addresses, &vswitch.gateway)?;
        }
        for node in &self.nodes {
            once(&mut names, &format!("node {}", node.name))?;
            ensure!(!node.nics.is_empty(), "node {} has no nic", node.name);
        }
        for (node, nic) in self.nics() {
            let port = port(node, nic);
            interface_name(&port)?;
            once(&mut names, &format!("nic {port}"))?;
            once(&mut macs, &nic.mac)?;
            let subnet = self.vswitch(&nic.vswitch).with_context(|| port.clone())?.subnet;
            for address in nic.addresses() {
                address_of(&port, address, subnet)?;
                once(&mut addresses, &address)?;
            }
        }
        for pod in &self.pods {
            self.check_pod(pod)?;
            once(&mut names, &format!("pod {}/{}", pod.namespace, pod.name))?;
        }
        for outside in self.nat.iter().flat_map(|nat| &nat.outside) {
            once(&mut names, &format!("outside host {}", outside.name))?;
            interface_name(&outside.name)?;
            address_of(&outside.name, outside.address.addr(), outside.address)?;
            address_of(&outside.name, outside.gateway, outside.address)?;
        }
        Ok(())
    }

    /// Whether this pod can be run here.
    ///
    /// # Errors
    ///
    /// Its node is not in the description.
    pub fn check_pod(&self, pod: &PodSpec) -> Result<()> {
        if self.nodes.iter().any(|node| node.name == pod.node) {
            return Ok(());
        }
        bail!("pod {}/{} runs on node {:?}, which is not here", pod.namespace, pod.name, pod.node)
    }
}

fn once<T: Ord + Debug + Clone>(seen: &mut BTreeSet<T>, item: &T) -> Result<()> {
    ensure!(seen.insert(item.clone()), "{item:?} is described twice");
    Ok(())
}

fn interface_name(name: &str) -> Result<()> {
    ensure!(
        name.len() <= INTERFACE_NAME_MAX_BYTES,
        "interface name {name:?} has {} bytes, at most {INTERFACE_NAME_MAX_BYTES} fit",
        name.len()
    );
    Ok(())
}

fn address_of(what: &str, address: IpAddr, subnet: IpNet) -> Result<()> {
    ensure!(address.is_ipv4(), "{what}: {address} is IPv6, which the lab does not know yet");
    ensure!(subnet.contains(&address), "{what}: {address} is outside {subnet}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Cluster;
    use crate::seed::{CLIENT, cluster};

    #[test]
    fn an_impossible_description_is_refused_by_name() {
        let refused = |break_it: fn(&mut Cluster), with: &str| {
            let mut cluster = cluster();
            break_it(&mut cluster);
            let error = format!("{:#}", cluster.check().unwrap_err());
            assert!(error.contains(with), "{error}");
        };
        refused(|c| c.nodes[1].nics[0].primary = c.nodes[0].nics[0].primary, "172.31.199.183");
        refused(|c| c.nodes[0].nics[0].vswitch = "vsw-9".to_owned(), "no vswitch \"vsw-9\"");
        refused(|c| c.nodes[0].nics[0].primary = CLIENT, "outside 172.31.192.0/20");
        refused(|c| c.nodes[0].nics[0].primary = "fd00::1".parse().unwrap(), "IPv6");
        refused(|c| c.nodes[0].name = "a-long-node-name".to_owned(), "at most 15");
        refused(|c| c.pods[0].node = "gone".to_owned(), "\"gone\"");
        refused(|c| c.nodes[0].nics[1].mac = c.nodes[0].nics[0].mac, "described twice");
    }
}
