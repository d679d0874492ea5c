//! The project's own parts in a lab: pools on every node, one network configuration per NIC.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::chain;
use crate::ipamctl;
use crate::lab::Lab;
use crate::outcome::Outcome;
use crate::pod::Pod;
use crate::runtime::{Answer, Call};

/// The plugin under test.
pub const PLUGIN: &str = "cni-ipvlan";

/// The configuration list that `cargo xtask install` puts into place.
pub const EXAMPLE: &str = include_str!("../../examples/10-node-ipam.conflist");

/// The interface that a pod's first network gets.
pub const INTERFACE: &str = "eth0";

/// A lab whose nodes have pools and configurations, as an operator would give them.
#[derive(Debug)]
pub struct Deployment<'lab> {
    lab: &'lab Lab,
    cni_version: &'static str,
}

impl<'lab> Deployment<'lab> {
    /// Applies the pool documents on every node, each to its own database.
    ///
    /// # Errors
    ///
    /// `ipamctl` is not built or refuses them.
    pub fn start(lab: &'lab Lab, documents: &str) -> Result<Self> {
        let file = lab.data_dir().join("pools.yaml");
        std::fs::write(&file, documents)?;
        let deployment = Self::running(lab);
        for node in lab.nodes() {
            let file = file.to_string_lossy();
            // Several nodes, of several labs, are one node here, and have the same addresses.
            let apply = ["apply", "--no-node-scan", "-f", &file];
            deployment.ipamctl(&[&node.spec().name], &apply)?.success()?;
        }
        Ok(deployment)
    }

    /// The same lab once more: its nodes have their pools.
    pub fn running(lab: &'lab Lab) -> Self {
        Self { lab, cni_version: "1.1.0" }
    }

    /// The same with configurations of another CNI version.
    #[must_use]
    pub fn with_cni_version(self, cni_version: &'static str) -> Self {
        Self { cni_version, ..self }
    }

    /// Where the node's database is.
    ///
    /// # Errors
    ///
    /// No such node.
    pub fn database(&self, node: &str) -> Result<PathBuf> {
        Ok(self.lab.node(node)?.data_dir().join("ipam"))
    }

    /// Runs `ipamctl` over the databases of these nodes.
    ///
    /// # Errors
    ///
    /// It is not built, or a node is unknown. That it failed is an [`Outcome`].
    pub fn ipamctl(&self, nodes: &[&str], arguments: &[&str]) -> Result<Outcome> {
        let databases: Result<Vec<_>> = nodes.iter().map(|node| self.database(node)).collect();
        ipamctl::run(&databases?, arguments)
    }

    /// What `ipamctl get pools` shows over the databases of all nodes: the cluster's table.
    ///
    /// # Errors
    ///
    /// As [`Self::ipamctl`], or it failed.
    pub fn pools_table(&self) -> Result<String> {
        let nodes: Vec<&str> = self.lab.nodes().iter().map(|n| n.spec().name.as_str()).collect();
        self.ipamctl(&nodes, &["get", "pools"])?.success()
    }

    /// The held addresses of one node.
    ///
    /// # Errors
    ///
    /// As [`Self::ipamctl`], or it failed.
    pub fn leases(&self, node: &str) -> Result<Vec<Value>> {
        let text = self.ipamctl(&[node], &["get", "ips", "-o", "json"])?.success()?;
        let list: Value = serde_json::from_str(&text)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// The configuration list of a network on a node: [`EXAMPLE`], with no more than what this lab
    /// needs in its place. The network is named after the NIC that carries it, as the seed does:
    /// `kube-system/ipvlan-eth0` is on `eth0`.
    ///
    /// # Errors
    ///
    /// The name says no NIC, or the node is unknown.
    pub fn list(&self, node: &str, network: &str) -> Result<Value> {
        let (_, name) = network.rsplit_once('/').context("a network is namespace/name")?;
        let (_, nic) = name.rsplit_once('-').context("a network's name ends with its NIC")?;
        let mut list: Value = serde_json::from_str(EXAMPLE)?;
        list["cniVersion"] = json!(self.cni_version);
        list["name"] = json!(name);
        let plugin = &mut list["plugins"][0];
        plugin["master"] = json!(nic);
        let ipam = &mut plugin["ipam"];
        ipam["network"] = json!(network);
        ipam["nodeName"] = json!(node);
        ipam["dataDir"] = json!(self.database(node)?);
        // An emulated machine is ten times slower than any node, and 64 ADDs wait there.
        ipam["lockTimeoutMs"] = json!(300_000);
        Ok(list)
    }

    /// What [`PLUGIN`] reads of the network's configuration list.
    ///
    /// # Errors
    ///
    /// As [`Self::list`].
    pub fn configuration(&self, node: &str, network: &str) -> Result<Value> {
        let list = self.list(node, network)?;
        chain::of_list(&list, &list["plugins"][0])
    }

    /// The configuration of the pod's own network on its node.
    ///
    /// # Errors
    ///
    /// As [`Self::configuration`].
    pub fn configuration_of(&self, pod: &Pod) -> Result<Value> {
        self.configuration(&pod.spec().node, &pod.spec().network)
    }

    /// One verb for a pod's own network with a changed configuration.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn call(&self, verb: &str, pod: &Pod, change: impl FnOnce(&mut Value)) -> Result<Answer> {
        let mut configuration = self.configuration_of(pod)?;
        change(&mut configuration);
        let call = Call::of(verb, PLUGIN, &configuration.to_string(), pod, INTERFACE);
        self.lab.node(&pod.spec().node)?.runtime()?.start(&call)?.wait()
    }

    /// ADD for a pod's own network, as a runtime does it.
    ///
    /// # Errors
    ///
    /// The plugin could not be started. That it failed is an [`Answer`].
    pub fn add(&self, pod: &Pod) -> Result<Answer> {
        let configuration = self.configuration_of(pod)?.to_string();
        let node = self.lab.node(&pod.spec().node)?;
        node.runtime()?.add(PLUGIN, &configuration, pod, INTERFACE)
    }

    /// ADD for any network and interface of a pod, which may end without a DEL: what dead pods hold
    /// is free as soon as somebody needs it.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn attach(&self, pod: &Pod, network: &str, interface: &str) -> Result<Answer> {
        let node = &pod.spec().node;
        let mut configuration = self.configuration(node, network)?;
        configuration["ipam"]["graceSeconds"] = json!(0);
        let runtime = self.lab.node(node)?.runtime()?;
        runtime.add(PLUGIN, &configuration.to_string(), pod, interface)
    }

    /// DEL for a pod's own network.
    ///
    /// # Errors
    ///
    /// As [`Self::add`].
    pub fn del(&self, pod: &Pod) -> Result<Answer> {
        let configuration = self.configuration_of(pod)?.to_string();
        let node = self.lab.node(&pod.spec().node)?;
        node.runtime()?.del(PLUGIN, &configuration, pod, INTERFACE)
    }
}

/// The addresses of an ADD's result, without their prefix lengths.
///
/// # Errors
///
/// The answer is no success, or has no addresses.
pub fn addresses(answer: &Answer) -> Result<Vec<String>> {
    let ips = answer.success()?["ips"].as_array().context("ips in the result")?;
    let address = |ip: &Value| {
        let text = ip["address"].as_str().context("an address in ips")?;
        let (address, _) = text.split_once('/').context("an address has a prefix length")?;
        Ok(address.to_owned())
    };
    ips.iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_list_of_this_plugin_alone() {
        let list: Value = serde_json::from_str(EXAMPLE).unwrap();
        assert_eq!(list["plugins"].as_array().unwrap().len(), 1);
        assert_eq!(list["plugins"][0]["type"], PLUGIN);
        assert_eq!(list["plugins"][0]["ipam"]["network"], crate::seed::IPVLAN_ETH0);
    }

    #[test]
    fn the_readme_shows_the_example_as_it_is() {
        let readme = include_str!("../../README.md");
        let blocks = readme.split("```json\n").skip(1).filter_map(|it| it.split_once("```"));
        let mut shown = blocks.map(|(block, _)| block);
        assert_eq!(shown.find(|block| block.contains(PLUGIN)), Some(EXAMPLE));
    }
}
