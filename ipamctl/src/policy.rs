//! By which rules the addresses of a network rest: what its configuration on this node says.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cni_ipam::IpamConfig;
use cni_proto::NetworkConfig;
use ipam_core::{NetworkName, Policy};

use crate::conflist;
use crate::plain;

/// Where the rules of a network are looked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Rules {
    /// Where the configuration of a network is looked for, which says how long its addresses rest.
    /// Those of a network that has none there rest as they do by default.
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    conf_dir: PathBuf,
}

impl Rules {
    /// The policy of a network; the usual one where there is no configuration of it, or none that
    /// can be followed, which a person is told.
    pub(crate) fn of(&self, network: &NetworkName) -> Result<Policy> {
        match configured(&self.conf_dir, network) {
            Ok(policy) => Ok(policy.unwrap_or_default()),
            Err(error) => {
                writeln!(
                    plain::stderr(),
                    "ipamctl: what is freed of network {network} rests as by default: {error:#}"
                )?;
                Ok(Policy::default())
            }
        }
    }
}

fn configured(directory: &Path, network: &NetworkName) -> Result<Option<Policy>> {
    if !directory.exists() {
        return Ok(None);
    }
    let Some((file, value)) = conflist::of_network(directory, network.as_str())? else {
        return Ok(None);
    };
    let place = || file.display().to_string();
    let Some(own) = conflist::part_with_our_ipam(value) else { return Ok(None) };
    let config = NetworkConfig::parse(own.to_string().as_bytes()).with_context(place)?;
    let config = IpamConfig::new(&config).with_context(place)?;
    Ok(Some(config.place.policy))
}
