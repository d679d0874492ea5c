//! STATUS about full pools, for who asks for it by `ipam.statusOnExhaustion`.
//!
//! The specification wants a STATUS to fail when addresses are exhausted. Runtimes then report the
//! node as not ready, and its pods are evicted; and a full pool is the normal state of a cloud NIC,
//! which has as many addresses as pods. So it is an option.
//!
//! Full is what would refuse an ADD: the decision of one is made upon the database and thrown away,
//! after what it would free, for a pod of which nobody has said anything. What is pinned, waits for
//! another pod, is reserved or fenced is not free for that one, and who holds such an address takes
//! none away from it. A node that is not ready gets no ADDs: were more full to STATUS than to an
//! ADD, nothing would end it.

use cni_proto::{CniArgs, Error, NetworkConfig};
use ipam_core::{Demand, Refused};
use ipam_store::{Error as StoreError, Store};
use serde::Deserialize;

use crate::attachment::attachment;
use crate::healing;
use crate::place::Place;
use crate::wish::Wanted;

/// A container id that the specification does not allow, so that no pod has it.
const NOBODY: &str = "(status)";

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

/// What an ordinary pod would ask the applied pools for; `None` if the option is off. STATUS names
/// no namespace and no labels, so that pools of particular ones are not judged.
pub(crate) fn demand(config: &NetworkConfig) -> Result<Option<Demand>, Error> {
    let ipam = config.plugin::<Outer>()?.ipam.unwrap_or_default();
    if ipam.status_on_exhaustion != Some(true) {
        return Ok(None);
    }
    let nobody = attachment(config.name.as_str(), NOBODY, "eth0")?;
    Ok(Some(Wanted::new(config, nobody, &CniArgs::default())?.demand))
}

/// Why the demand would be refused for want of addresses; `None` if it would be met, or refused for
/// another reason.
pub(crate) fn reason(
    store: &Store,
    place: &Place,
    demand: Demand,
) -> Result<Option<String>, StoreError> {
    let demands = [demand];
    let reason = |refused: Option<Box<Refused>>| match refused.as_deref() {
        Some(Refused::Exhausted { pools, .. }) => {
            let pools: Vec<_> = pools.iter().map(|state| state.pool.as_str()).collect();
            let pools = pools.join(", ");
            let msg = format!("no address is free in [{pools}] (statusOnExhaustion)");
            Some(msg)
        }
        _ => None,
    };
    let full = reason(store.refusal(&demands, None)?);
    match full.as_ref().and_then(|_| healing::facts_for_add(place)) {
        Some(facts) => Ok(reason(store.refusal(&demands, Some(&facts))?)),
        None => Ok(full),
    }
}
