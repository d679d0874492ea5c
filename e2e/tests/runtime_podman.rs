//! podman 4 with its CNI backend, on a real ipvlan kernel. As root.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::runtimes::setting::{self, GATEWAY_V4, GATEWAY_V6, NODE, OTHER_NODE};
use e2e::runtimes::{Addresses, Boot, Conflist, Disk, Image, Podman, Remains, leases};
use e2e::{Lab, seed};
use serde_json::{Value, json};

const V4: Addresses = Addresses::Pools { v4: &["v4"], v6: &[] };
const V6: Addresses = Addresses::Pools { v4: &[], v6: &["v6"] };
const DUAL: Addresses = Addresses::Pools { v4: &["v4"], v6: &["v6"] };
const SECOND: Addresses = Addresses::Pools { v4: &["second"], v6: &[] };

/// The addresses of a container's interface by `ip -j` in its namespace, link-local ones left out.
fn shown(podman: &Podman<'_>, name: &str, interface: &str) -> Result<Vec<String>> {
    let netns = podman.netns(name)?;
    addresses_in(&netns, interface)
}

fn addresses_in(netns: &Path, interface: &str) -> Result<Vec<String>> {
    let net = format!("--net={}", netns.display());
    let show = ["-j", "-d", "address", "show", "dev", interface];
    let output = std::process::Command::new("nsenter").arg(net).arg("ip").args(show).output()?;
    let links: Value = serde_json::from_slice(&output.stdout).context("ip -j address")?;
    ensure!(links[0]["linkinfo"]["info_kind"] == "ipvlan", "{links}");
    let addresses = links[0]["addr_info"].as_array().context("addresses")?;
    let addresses = addresses.iter().filter(|address| address["scope"] == "global");
    Ok(addresses.filter_map(|address| Some(address["local"].as_str()?.to_owned())).collect())
}

/// The addresses that the database says a container's interface has.
fn leased(boot: &Boot<'_>, container: &str, interface: &str) -> Result<Vec<String>> {
    let leases = leases(boot)?;
    let own = leases.iter().filter(|lease| {
        lease["containerID"].as_str().is_some_and(|id| id.starts_with(container))
            && lease["interface"] == interface
    });
    Ok(own.filter_map(|lease| Some(lease["ip"].as_str()?.to_owned())).collect())
}

#[test]
fn the_documented_list_serves_podman_in_a_strict_cloud() -> Result<()> {
    let mut cluster = seed::cluster();
    cluster.nat = None;
    cluster.pods.clear();
    let lab = Lab::start(&cluster)?;
    let node = lab.node(NODE)?;
    let boot = Boot::start(node, &Disk::of(node)?)?;
    setting::apply(&boot, seed::POOLS)?;
    Conflist::install_example(&boot)?;
    let podman = Podman::set_up(&boot)?;
    podman.load(&Image::make()?)?;
    let before = Remains::of(&boot)?;

    podman.run("web", "ipvlan-eth0", &["--cap-add", "NET_RAW"])?;
    let id = podman.inspect("web")?["Id"].as_str().context("an id")?.to_owned();
    let address = leased(&boot, &id, "eth0")?;
    ensure!(address == ["172.31.199.185"], "{:?}", leases(&boot)?);
    ensure!(shown(&podman, "web", "eth0")? == address);
    podman.exec("web", &["ping", "-c", "1", "-W", "9", "172.31.207.253"])?.success()?;
    ensure!(lab.node(OTHER_NODE)?.ping(&address[0], 2)?.all_received());
    podman.remove("web")?;
    ensure!(before.changes(&Remains::of(&boot)?).is_empty());
    Ok(())
}
