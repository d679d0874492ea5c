//! A network configuration list, as an operator writes it.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use crate::outcome::feed;
use crate::runtimes::boot::{Boot, PLUGINS};
use crate::runtimes::setting::GATEWAY_V4;

const EXAMPLE: &str = include_str!("../../../examples/10-node-ipam.conflist");

/// Where a network's addresses come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Addresses {
    /// Applied pools with these names, one list for each family; an empty one asks for none.
    Pools {
        /// IPv4.
        v4: &'static [&'static str],
        /// IPv6.
        v6: &'static [&'static str],
    },
    /// `ipam.ranges` of the configuration itself, with routes.
    Ranges(Value),
}

/// A network of `cni-ipvlan` with `cni-ipam`.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflist {
    /// The network's name, and the file's.
    pub name: &'static str,
    /// The NIC.
    pub master: &'static str,
    /// Its addresses.
    pub addresses: Addresses,
    /// Whether upstream's portmap follows.
    pub portmap: bool,
}

impl Conflist {
    /// Without further plugins.
    pub fn new(name: &'static str, master: &'static str, addresses: Addresses) -> Self {
        Self { name, master, addresses, portmap: false }
    }

    /// The same, followed by upstream's portmap.
    #[must_use]
    pub fn with_portmap(self) -> Self {
        Self { portmap: true, ..self }
    }

    /// The whole list.
    pub fn to_json(&self) -> Value {
        let mut ipam = match &self.addresses {
            Addresses::Pools { v4, v6 } => {
                let mut ipam = json!({});
                for (field, pools) in [("default_ipv4_ippool", v4), ("default_ipv6_ippool", v6)] {
                    if !pools.is_empty() {
                        ipam[field] = json!(pools);
                    }
                }
                ipam
            }
            Addresses::Ranges(fields) => fields.clone(),
        };
        ipam["type"] = json!("cni-ipam");
        // The node is a container here: it has processes of its own and no others.
        ipam["nodeInContainer"] = json!(true);
        // An emulated machine is ten times slower than any node.
        ipam["lockTimeoutMs"] = json!(300_000);
        ipam["cooldownSeconds"] = json!(1);
        ipam["graceSeconds"] = json!(1);
        let plugin = json!({ "type": "cni-ipvlan", "master": self.master, "ipam": ipam });
        let mut plugins = vec![plugin];
        if self.portmap {
            // Not needed by the first one: so that it is seen what a runtime sends for it.
            plugins[0]["capabilities"] = json!({ "portMappings": true });
            plugins.push(json!({ "type": "portmap", "capabilities": { "portMappings": true } }));
        }
        // What the containerd of Debian 12 knows.
        json!({ "cniVersion": "1.0.0", "name": self.name, "plugins": plugins })
    }

    /// What a runtime of CNI 1.1.0 says when it has no pods left: GC, naming none.
    ///
    /// # Errors
    ///
    /// The plugin fails.
    pub fn collect_garbage(&self, boot: &Boot<'_>) -> Result<()> {
        let mut configuration = self.to_json()["plugins"][0].take();
        configuration["name"] = json!(self.name);
        configuration["cniVersion"] = json!("1.1.0");
        configuration["cni.dev/valid-attachments"] = json!([]);
        let mut command = boot.command([format!("{PLUGINS}/cni-ipvlan")]);
        command.env("CNI_COMMAND", "GC").env("CNI_PATH", PLUGINS);
        feed(&mut command, &configuration.to_string())?.success().map(drop)
    }

    /// Puts the documented list, `examples/10-node-ipam.conflist`, where the node's runtimes look.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn install_example(boot: &Boot<'_>) -> Result<()> {
        install(boot, "10-node-ipam.conflist", EXAMPLE)
    }

    /// Puts a list with upstream's plugins there: ipvlan, host-local with this one address, portmap.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn install_upstream(
        boot: &Boot<'_>,
        name: &str,
        master: &str,
        address: &str,
        number: u8,
    ) -> Result<()> {
        let range = json!({
            "subnet": "172.31.192.0/20", "rangeStart": address, "rangeEnd": address,
            "gateway": GATEWAY_V4,
        });
        let ipam = json!({
            "type": "host-local", "ranges": [[range]], "routes": [{ "dst": "0.0.0.0/0" }],
        });
        let list = json!({ "cniVersion": "1.0.0", "name": name, "plugins": [
            { "type": "ipvlan", "master": master, "ipam": ipam },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ]});
        install(boot, &format!("{number}-{name}.conflist"), &list.to_string())
    }

    /// Puts it where the node's runtimes look, behind those with a lower number.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn install(&self, boot: &Boot<'_>, number: u8) -> Result<()> {
        install(boot, &format!("{number}-{}.conflist", self.name), &self.to_json().to_string())
    }
}

fn install(boot: &Boot<'_>, file: &str, text: &str) -> Result<()> {
    // Whoever watches the folder never reads half a file.
    let (part, whole) = (boot.disk().path().join(file), boot.disk().net_d().join(file));
    fs::write(&part, text)?;
    Ok(fs::rename(part, whole)?)
}
