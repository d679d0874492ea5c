//! STATUS about full pools, for who asks for it by `ipam.statusOnExhaustion`.
//!
//! The specification wants a STATUS to fail when addresses are exhausted. Runtimes then report the
//! node as not ready, and its pods are evicted; and a full pool is the normal state of a cloud NIC,
//! which has as many addresses as pods. So it is an option.

use std::collections::BTreeMap;

use cni_proto::{Code, Error, NetworkConfig};
use ipam_core::{Asker, select};
use ipam_store::{Counters, PoolCounters, Store};
use serde::Deserialize;

use crate::attachment::named;
use crate::config::IpamConfig;

#[derive(Debug, Default, Deserialize)]
struct Outer {
    #[serde(default)]
    ipam: Option<Ipam>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Ipam {
    #[serde(default, rename = "statusOnExhaustion")]
    status_on_exhaustion: Option<bool>,
}

/// Code 50 if the option is on and some family's pools of this node and network have no address
/// that a pod could get. Pools of particular namespaces are not judged: STATUS names none.
pub(crate) fn status(
    config: &NetworkConfig,
    store: &Store,
    counters: &Counters,
) -> Result<(), Error> {
    let ipam = config.plugin::<Outer>()?.ipam.unwrap_or_default();
    if ipam.status_on_exhaustion != Some(true) {
        return Ok(());
    }
    let config = IpamConfig::new(config)?;
    let wish = config.wish(&"eth0".parse().map_err(|error| named(&error))?)?;
    let declared = store.declared().map_err(|error| not_available(error.to_string()))?;
    let pools = declared.map(|declared| declared.pools).unwrap_or_default();
    let asker = Asker::new(config.node, config.network);
    let selection = select(&pools, &wish.source, &asker);
    let mut full = BTreeMap::new();
    for pool in selection.candidates {
        let all_full: &mut (bool, Vec<&str>) =
            full.entry(pool.family()).or_insert((true, Vec::new()));
        all_full.0 &= counters.pools.iter().any(|it| it.pool == *pool.name() && is_full(it));
        all_full.1.push(pool.name().as_str());
    }
    match full.values().find(|(all_full, _)| *all_full) {
        Some((_, pools)) => {
            let pools = pools.join(", ");
            Err(not_available(format!("no address is free in [{pools}] (statusOnExhaustion)")))
        }
        None => Ok(()),
    }
}

/// Addresses that cool down are given when there are no others.
fn is_full(pool: &PoolCounters) -> bool {
    let counts = pool.counts;
    u128::from(counts.held) + u128::from(counts.quarantined) + u128::from(counts.sticky)
        >= pool.size
}

fn not_available(reason: String) -> Error {
    Error::new(Code::NOT_AVAILABLE, reason)
}
