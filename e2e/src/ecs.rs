//! The lab's cloud as its machines see it: what the VPC enforces is what the metadata service
//! tells.

use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};

use crate::deployment::Deployment;
use crate::description::{Arp, Cluster, NicSpec};
use crate::lab::Lab;
use crate::metadata::{Dialect, MetadataNic, MetadataServer};
use crate::outcome::Outcome;
use crate::plugin_dir::plugin_dir;
use crate::step;
use crate::vpc;

/// Where the firmware says who made the machine.
const VENDOR_FILE: &str = "/sys/class/dmi/id/sys_vendor";

/// The port of HTTP.
const HTTP: u16 = 80;

/// The cloud of a running lab. One description says what it gives; the VPC and the service change
/// with it, unless the service [misbehaves](MetadataServer::misbehave).
#[derive(Debug)]
pub struct Ecs<'lab> {
    lab: &'lab Lab,
    dialect: Dialect,
    cluster: RefCell<Cluster>,
    metadata: MetadataServer,
}

impl<'lab> Ecs<'lab> {
    /// Serves the metadata at the cloud's own address, which every node reaches by its gateway.
    ///
    /// # Errors
    ///
    /// The VPC does not answer ARP as a cloud's, or has no way out: it drops what is for nobody.
    pub fn start(lab: &'lab Lab, dialect: Dialect) -> Result<Self> {
        let cluster = lab.cluster();
        let is_cloud = matches!(cluster.cloud.arp, Arp::Proxied { .. });
        ensure!(is_cloud && cluster.nat.is_some(), "a strict VPC with a way out");
        let (vpc, address) = (lab.vpc().namespace(), dialect.address());
        vpc.ip(&format!("address add {address} dev lo"))?;
        let nics = MetadataNic::of_cluster(cluster)?;
        let metadata =
            MetadataServer::start_in(vpc, SocketAddr::new(address, HTTP), dialect, nics)?;
        Ok(Self { lab, dialect, cluster: RefCell::new(cluster.clone()), metadata })
    }

    /// The metadata service.
    pub fn metadata(&self) -> &MetadataServer {
        &self.metadata
    }

    /// What the cloud gave to a NIC.
    ///
    /// # Errors
    ///
    /// There is no such NIC.
    pub fn nic(&self, node: &str, nic: &str) -> Result<NicSpec> {
        let cluster = self.cluster.borrow();
        let found = cluster.nics().find(|(owner, it)| owner.name == node && it.name == nic);
        Ok(found.with_context(|| format!("no NIC {nic} of {node}"))?.1.clone())
    }

    /// Gives more addresses to a NIC.
    ///
    /// # Errors
    ///
    /// There is no such NIC, or somebody has one of the addresses.
    pub fn give(&self, node: &str, nic: &str, addresses: &[IpAddr]) -> Result<()> {
        self.change(node, nic, |nic| {
            for address in addresses {
                let list = if address.is_ipv6() { &mut nic.ipv6 } else { &mut nic.secondary };
                list.push(*address);
            }
        })
    }

    /// Takes an address away from a NIC, whoever uses it.
    ///
    /// # Errors
    ///
    /// There is no such NIC.
    pub fn take(&self, node: &str, nic: &str, address: IpAddr) -> Result<()> {
        self.change(node, nic, |nic| {
            nic.secondary.retain(|it| *it != address);
            nic.ipv6.retain(|it| *it != address);
        })
    }

    /// `ipamctl sync` on a node whose firmware says what this cloud's does, over the node's
    /// database of a [`Deployment`]. That it failed is an [`Outcome`].
    ///
    /// # Errors
    ///
    /// There is no such node, or `ipamctl` cannot be started.
    pub fn sync(&self, node: &str, options: &[&str]) -> Result<Outcome> {
        let program = plugin_dir()?.join("ipamctl").to_string_lossy().into_owned();
        let database = Deployment::running(self.lab).database(node)?;
        let script = format!("{}; exec \"$@\"", self.firmware()?);
        let database = database.to_string_lossy();
        // The nodes of a lab have one host name and one process table. On a node of its own neither
        // option is needed.
        let usual = ["--data-dir", &database, "sync", "--no-node-scan", "--node-name", node];
        let command = ["unshare", "--mount", "bash", "-c", &script, "sync", &program];
        self.lab.node(node)?.run([&command[..], &usual, options].concat())
    }

    /// A line for a shell in a mount namespace of its own, after which the firmware there says that
    /// this cloud made the machine. One without firmware is left as it is: there it is asked who
    /// answers.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn firmware(&self) -> Result<String> {
        let vendor = self.lab.data_dir().join("vendor");
        fs::write(&vendor, format!("{}\n", self.dialect.vendor()))?;
        let vendor = vendor.display();
        Ok(format!("[ ! -e {VENDOR_FILE} ] || mount --bind '{vendor}' {VENDOR_FILE} || exit 1"))
    }

    fn change(&self, node: &str, nic: &str, change: impl FnOnce(&mut NicSpec)) -> Result<()> {
        let before = self.cluster.borrow().clone();
        let mut after = before.clone();
        let nics = after.nodes.iter_mut().filter(|it| it.name == node);
        let mut nics = nics.flat_map(|it| &mut it.nics).filter(|it| it.name == nic);
        change(nics.next().with_context(|| format!("no NIC {nic} of {node}"))?);
        after.check()?;
        step::perform(self.lab.vpc().namespace(), &vpc::change_steps(&before, &after))?;
        self.metadata.give(MetadataNic::of_cluster(&after)?);
        self.cluster.replace(after);
        Ok(())
    }
}
