//! Whether a description can be built.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;

use crate::description::{Cluster, Ipv6Subnet, PodSpec, port};

/// Linux's `IFNAMSIZ` less the terminating zero.
const INTERFACE_NAME_MAX_BYTES: usize = 15;

impl Cluster {
    /// Whether the description can be built.
    ///
    /// # Errors
    ///
    /// The first thing that cannot: a name or an address that is there twice, an address outside
    /// its subnet, a reference to nothing, a name too long for an interface, an address of the
    /// other family.
    pub fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        let mut macs = BTreeSet::new();
        for vswitch in &self.vswitches {
            once(&mut names, &format!("vswitch {}", vswitch.name))?;
            let what = format!("gateway of vswitch {}", vswitch.name);
            address_of(&what, vswitch.gateway, vswitch.subnet)?;
            once(&mut addresses, &vswitch.gateway)?;
            if let Some(ipv6) = vswitch.ipv6 {
                // A link-local one is a router's in any subnet.
                if !matches!(ipv6.gateway, IpAddr::V6(v6) if v6.is_unicast_link_local()) {
                    ipv6_address_of(&what, ipv6.gateway, Some(ipv6))?;
                    once(&mut addresses, &ipv6.gateway)?;
                }
            }
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
            let vswitch = self.vswitch(&nic.vswitch).with_context(|| port.clone())?;
            for address in std::iter::once(&nic.primary).chain(&nic.secondary) {
                address_of(&port, *address, vswitch.subnet)?;
            }
            for address in &nic.ipv6 {
                ipv6_address_of(&port, *address, vswitch.ipv6)?;
            }
            nic.addresses().try_for_each(|address| once(&mut addresses, &address))?;
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
    ensure!(address.is_ipv4(), "{what}: {address} is IPv6, which has a field of its own");
    ensure!(subnet.contains(&address), "{what}: {address} is outside {subnet}");
    Ok(())
}

fn ipv6_address_of(what: &str, address: IpAddr, ipv6: Option<Ipv6Subnet>) -> Result<()> {
    let subnet =
        ipv6.with_context(|| format!("{what}: {address}: the vswitch has no IPv6"))?.subnet;
    ensure!(address.is_ipv6(), "{what}: {address} is no IPv6 address");
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
        refused(|c| c.nodes[0].nics[0].ipv6 = vec!["fd00::1".parse().unwrap()], "has no IPv6");
        refused(|c| c.nodes[0].name = "a-long-node-name".to_owned(), "at most 15");
        refused(|c| c.pods[0].node = "gone".to_owned(), "\"gone\"");
        refused(|c| c.nodes[0].nics[1].mac = c.nodes[0].nics[0].mac, "described twice");
    }
}
