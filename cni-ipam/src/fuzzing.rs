//! What the fuzz targets ask of this crate; compiled for them alone.

use std::io;
use std::path::Path;

use cni_proto::{Dns, Error, NetworkConfig};
use ipam_core::{Labels, Lease, NamespaceName, NetworkName, NodeName, Pool, PoolName};

use crate::cluster::{Cluster, NamespacesFile};
use crate::config::IpamConfig;
use crate::ranges::Ranges;
use crate::{host_local, resolv_conf};

/// Labels of the namespace, its pools for IPv4 and for IPv6, and labels of the node.
pub type Found = (Option<Labels>, Option<String>, Option<String>, Option<Labels>);

/// What `namespacesFile` says.
///
/// # Errors
/// As at an ADD.
pub fn cluster(
    path: &Path,
    namespace: Option<&NamespaceName>,
    node: &NodeName,
) -> Result<Found, Error> {
    let file = NamespacesFile { path: path.to_owned(), named: true };
    let Cluster { namespace_labels, namespace_v4, namespace_v6, node_labels } =
        file.read(namespace, node)?;
    Ok((namespace_labels, namespace_v4, namespace_v6, node_labels))
}

/// What `resolvConf` says.
///
/// # Errors
/// As at an ADD.
pub fn dns(path: &Path) -> Result<Dns, Error> {
    resolv_conf::read(path)
}

/// What host-local has reserved.
///
/// # Errors
/// As at the first ADD.
pub fn host_local(
    directory: &Path,
    network: &NetworkName,
    otherwise: &PoolName,
) -> io::Result<Vec<Lease>> {
    host_local::leases(directory, network, &[], otherwise)
}

/// The pools of a configuration with ranges, if that is accepted; `Some(Ok(None))` if it has none.
///
/// # Errors
/// As at an ADD.
pub fn pools(config: &NetworkConfig) -> Result<Option<Vec<Pool>>, Error> {
    let ranges = Ranges::new(config)?;
    if ranges.is_none() {
        drop(IpamConfig::new(config)?);
    }
    Ok(ranges.map(|ranges| ranges.pools))
}
