//! The wiring by the plugin under test.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use serde_json::{Value, json};

use crate::node::Node;
use crate::pod::Pod;
use crate::reference_script::{self, Program};
use crate::runtime::Call;
use crate::wiring::{Attached, Coordination, Ingredient, Wiring};

/// The plugin.
pub const COORDINATOR: &str = "cni-coordinator";

/// The build of it that leaves out what `NODE_IPAM_OMIT` names, and whose requests to the kernel fail
/// where `CNI_NET_FAULT` says so; `cargo xtask test` makes it.
pub const FAULTY_COORDINATOR: &str = "cni-coordinator-faulty";

/// The variable with the ingredients of a plan to leave out.
const OMIT: &str = "NODE_IPAM_OMIT";

/// The MTU of the node's end where [`Ingredient::NodeMtu`] is left out, in bytes.
const LARGE_MTU_BYTES: u32 = 9000;

/// Wires by an ADD of the plugin.
#[derive(Debug, Default)]
pub struct PluginWiring {
    /// Where its records are; `None` is with the node's other files, wherever these are.
    pub state_dir: Option<PathBuf>,
}

impl Wiring for PluginWiring {
    fn wire(
        &self,
        node: &Node,
        pod: &Pod,
        interfaces: &[Attached],
        coordination: &Coordination,
    ) -> Result<()> {
        let attached = interfaces.last().context("an interface to wire")?;
        let omitted = coordination.without.map(names).unwrap_or_default();
        let plugin = if omitted.is_empty() { COORDINATOR } else { FAULTY_COORDINATOR };
        let mut conf = configuration(node, coordination, &attached.result);
        if let Some(state_dir) = &self.state_dir {
            conf["stateDir"] = json!(state_dir);
        }
        let mut call = Call::of("ADD", plugin, &conf.to_string(), pod, &attached.interface);
        call.environment.push((OMIT.to_owned(), omitted.to_owned()));
        node.runtime()?.start(&call)?.wait()?.success()?;
        match coordination.without {
            // What the plugin cannot be told to do wrong is made wrong behind it.
            Some(Ingredient::RouteChain | Ingredient::MarkedInterface | Ingredient::MarkMask)
                if interfaces.len() == 1 =>
            {
                let lines = reference_script::lines(node, pod, interfaces, coordination)?;
                let marks = lines.into_iter().find(|line| line.program == Program::Nft);
                let marks = marks.context("the reference has marks")?.text;
                pod.nft(&format!("delete table inet cni_coordinator\n{marks}"))
            }
            Some(Ingredient::NodeMtu) => {
                let host = host_link(node, pod)?;
                node.ip(&format!("link set dev {host} mtu {LARGE_MTU_BYTES}"))
            }
            _ => Ok(()),
        }
    }
}

/// What the plugin reads.
pub fn configuration(node: &Node, coordination: &Coordination, previous: &Value) -> Value {
    let text = |cidrs: &[IpNet]| cidrs.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "cniVersion": "1.1.0",
        "name": "coordinated",
        "type": COORDINATOR,
        "serviceCIDR": text(&coordination.service_cidrs),
        "hijackCIDR": text(&coordination.hijack_cidrs),
        "podDefaultRouteNIC": coordination.default_route_nic,
        "vethMTU": coordination.veth_mtu_bytes.unwrap_or(0),
        "stateDir": node.data_dir().join("coordinator"),
        "prevResult": previous,
    })
}

/// What the plugin calls them.
fn names(ingredient: Ingredient) -> &'static str {
    match ingredient {
        Ingredient::NodeRoutes => "HostRoute",
        Ingredient::NodeNeighbours => "HostNeighbour",
        // Without the way to the node nothing can go by the node.
        Ingredient::PodRoutes => "NodeRoute,Hijack,ReplyRoute",
        Ingredient::PodNeighbours => "NodeNeighbour",
        Ingredient::Hijack => "Hijack",
        Ingredient::Marks => "Marks",
        Ingredient::MarkRule => "MarkRule",
        Ingredient::MarkRuleFirst => "MarkRulePreference",
        Ingredient::ReversePathFilter => "RpFilter",
        Ingredient::SourceRules => "SourceRule",
        Ingredient::RouteChain
        | Ingredient::MarkedInterface
        | Ingredient::MarkMask
        | Ingredient::NodeMtu => "",
    }
}

/// The node's end of the pod's veth, by its alias.
fn host_link(node: &Node, pod: &Pod) -> Result<String> {
    let links: Value = serde_json::from_str(&node.run(["ip", "-json", "link"])?.success()?)?;
    let alias = format!("cni-coordinator/{}/", pod.spec().sandbox_id);
    let is_its =
        |link: &&Value| link["ifalias"].as_str().is_some_and(|found| found.starts_with(&alias));
    match links.as_array().and_then(|links| links.iter().find(is_its)) {
        Some(link) => Ok(link["ifname"].as_str().context("a link has a name")?.to_owned()),
        None => bail!("the node has no link of alias {alias}"),
    }
}
