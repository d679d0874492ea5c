//! The lab that the tests of this process share, and the pods that they run in it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context, Result};
use e2e::deployment::Deployment;
use e2e::kube_proxy::{Endpoint, Service, TrafficPolicy};
use e2e::peer::Protocol;
use e2e::wiring::{Attached, Coordination, Ingredient};
use e2e::{Lab, Node, Pod, PodSpec, seed};

use crate::WIRING;

pub(crate) const ETH0: &str = "kube-system/ipvlan-eth0";
pub(crate) const ETH1: &str = "kube-system/ipvlan-eth1";
/// Pods of this network have IPv6 alone.
pub(crate) const IPV6_ALONE: &str = "kube-system/ipv6-eth0";

/// The names of a pod's interfaces, in the order of its networks.
pub(crate) const INTERFACES: [&str; 2] = ["eth0", "net1"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    pub(crate) fn of(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Self::V4)
    }
}

/// A running lab, whose pods come and go with the tests.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) lab: Lab,
}

/// A pod with its interfaces, wired.
#[derive(Debug)]
pub(crate) struct Wired {
    pub(crate) pod: Pod,
    addresses: Vec<(String, IpAddr)>,
}

/// Lives for as long as a test has it: tests that run at the same time share it.
static SHARED: Mutex<Weak<Scene>> = Mutex::new(Weak::new());

static NAMES: AtomicU32 = AtomicU32::new(0);
static NODE_PORTS: AtomicU16 = AtomicU16::new(30_080);
static CLUSTER_IPS: AtomicU16 = AtomicU16::new(1);

impl Scene {
    pub(crate) fn shared() -> Result<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(scene) = shared.upgrade() {
            return Ok(scene);
        }
        let cluster = seed::services();
        let lab = Lab::start(&cluster)?;
        Deployment::start(&lab, &seed::pools_of(&cluster)?)?;
        let scene = Arc::new(Self { lab });
        *shared = Arc::downgrade(&scene);
        Ok(scene)
    }

    pub(crate) fn node(&self, name: &str) -> Result<&Node> {
        self.lab.node(name)
    }

    /// The address of a node on its first NIC.
    pub(crate) fn address(&self, node: &str, family: Family) -> Result<IpAddr> {
        self.nic_address(node, 0, family)
    }

    pub(crate) fn nic_address(&self, node: &str, nic: usize, family: Family) -> Result<IpAddr> {
        let nic = self.node(node)?.spec().nics.get(nic).context("no such NIC")?;
        nic.own_addresses().find(|it| family.of(it)).context("no address of the family")
    }

    /// A pod with one interface on its node's first NIC.
    pub(crate) fn pod(&self, node: &str) -> Result<Wired> {
        self.wired(node, &[ETH0], &coordination())
    }

    /// The same, but for an ingredient.
    pub(crate) fn pod_without(&self, node: &str, ingredient: Ingredient) -> Result<Wired> {
        self.wired(node, &[ETH0], &without(ingredient))
    }

    pub(crate) fn wired(
        &self,
        node: &str,
        networks: &[&str],
        coordination: &Coordination,
    ) -> Result<Wired> {
        self.wired_after(node, networks, coordination, |_| Ok(()))
    }

    /// A pod whose namespace is prepared before the runtime calls any plugin.
    pub(crate) fn wired_after(
        &self,
        node: &str,
        networks: &[&str],
        coordination: &Coordination,
        prepare: impl FnOnce(&Pod) -> Result<()>,
    ) -> Result<Wired> {
        let name = format!("p{}", NAMES.fetch_add(1, Ordering::Relaxed));
        let spec = PodSpec::new("default", &name, node, networks[0]);
        let pod = self.lab.run_pods(&[spec])?.pop().context("one pod")?;
        prepare(&pod)?;
        let (mut attached, mut addresses) = (Vec::new(), Vec::new());
        for (network, interface) in networks.iter().zip(INTERFACES) {
            let answer = Deployment::running(&self.lab).attach(&pod, network, interface)?;
            for address in e2e::deployment::addresses(&answer)? {
                addresses.push((interface.to_owned(), address.parse()?));
            }
            let result = answer.success()?.clone();
            attached.push(Attached { interface: interface.to_owned(), result });
            WIRING.wire(self.node(node)?, &pod, &attached, coordination)?;
        }
        Ok(Wired { pod, addresses })
    }
}

impl Wired {
    /// Its address on its first interface.
    pub(crate) fn address(&self, family: Family) -> Result<IpAddr> {
        self.address_on(INTERFACES[0], family)
    }

    pub(crate) fn address_on(&self, interface: &str, family: Family) -> Result<IpAddr> {
        let mut all = self.addresses.iter();
        let found = all.find(|(name, address)| name == interface && family.of(address));
        Ok(found.with_context(|| format!("{interface} has no {family:?}"))?.1)
    }

    /// As an endpoint of a Service.
    pub(crate) fn endpoint(&self, interface: &str, family: Family, port: u16) -> Result<Endpoint> {
        let address = SocketAddr::new(self.address_on(interface, family)?, port);
        Ok(Endpoint { address, node: self.pod.spec().node.clone() })
    }
}

/// What the coordinator of these tests is configured with.
pub(crate) fn coordination() -> Coordination {
    let cidr = |text: &str| text.parse().expect("a CIDR");
    Coordination {
        service_cidrs: vec![cidr("10.233.0.0/18"), cidr("fd00:10:233::/116")],
        hijack_cidrs: vec![cidr("169.254.0.0/16")],
        ..Coordination::default()
    }
}

pub(crate) fn without(ingredient: Ingredient) -> Coordination {
    Coordination { without: Some(ingredient), ..coordination() }
}

/// A Service with a cluster IP and a node port that no other test has.
pub(crate) fn service(
    protocol: Protocol,
    policy: TrafficPolicy,
    endpoints: Vec<Endpoint>,
) -> Service {
    let number = CLUSTER_IPS.fetch_add(1, Ordering::Relaxed);
    let [high, low] = number.to_be_bytes();
    let is_ipv4 = endpoints.first().is_none_or(|endpoint| endpoint.address.is_ipv4());
    let address = if is_ipv4 {
        IpAddr::from([10, 233, high, low])
    } else {
        IpAddr::from([0xfd00, 0x10, 0x233, 0, 0, 0, 0, number])
    };
    Service {
        protocol,
        cluster: SocketAddr::new(address, 80),
        node_port: Some(NODE_PORTS.fetch_add(1, Ordering::Relaxed)),
        external_traffic_policy: policy,
        endpoints,
    }
}
