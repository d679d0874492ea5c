//! Pods without links: network namespaces whose addresses the IPAM plugin gives.

use std::process;

use anyhow::{Context, Result};

use crate::deployment::addresses;
use crate::ipam::{INTERFACE, Ipam};
use crate::namespace::Namespace;
use crate::runtime::Answer;

/// A container in a namespace of its own, and the address that it was given.
#[derive(Debug)]
pub struct Sandbox {
    /// The container.
    pub container: String,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its address, without a prefix length.
    pub address: String,
}

impl Sandbox {
    /// Puts the address on an interface in the namespace.
    ///
    /// # Errors
    ///
    /// `ip` refuses.
    pub fn put_address(&self) -> Result<()> {
        self.namespace.ip(&format!(
            "link add {INTERFACE} type bridge\naddr add {}/16 dev {INTERFACE}",
            self.address
        ))
    }
}

/// Namespaces, named as labs name theirs, so that those of a killed test are found. `group` tells
/// those of one process apart.
///
/// # Errors
///
/// They cannot be made.
pub fn namespaces(group: u32, count: usize) -> Result<Vec<Namespace>> {
    let name = |number| format!("ipamlab{}-{group}-pod-{number}", process::id());
    Namespace::create(&(0..count).map(name).collect::<Vec<_>>())
}

/// ADD of a pod `default/CONTAINER` in a namespace.
///
/// # Errors
///
/// As [`Ipam::start`].
pub fn add(ipam: &Ipam, container: &str, namespace: &Namespace) -> Result<Answer> {
    let mut call = ipam.call("ADD", container);
    call.netns = namespace.path().to_string_lossy().into_owned();
    call.args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={container}");
    ipam.start(&call)?.wait()
}

/// Pods `c0`, `c1`, ... in namespaces of a group.
///
/// # Errors
///
/// As [`namespaces`] and [`add`], or an ADD failed.
pub fn sandboxes(ipam: &Ipam, group: u32, count: usize) -> Result<Vec<Sandbox>> {
    let sandbox = |(number, namespace)| {
        let container = format!("c{number}");
        let answer = add(ipam, &container, &namespace)?;
        let address = addresses(&answer)?.pop().context("one address")?;
        Ok(Sandbox { container, namespace, address })
    };
    namespaces(group, count)?.into_iter().enumerate().map(sandbox).collect()
}
