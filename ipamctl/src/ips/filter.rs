//! Which addresses `ipamctl get ips` shows.

use anyhow::{Result, bail};
use clap::ValueEnum;
use ipam_core::{Pool, PoolName, RestKind};

use super::{Row, What};
use crate::inventory::Inventory;
use crate::occupancy::State;

/// Which addresses are shown.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Filter {
    /// Only of this pool. May be given several times.
    #[arg(long = "pool", value_name = "NAME")]
    pools: Vec<String>,

    /// Only of this pod; without a namespace of that name in any.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<String>,

    /// Only of the container whose id begins so.
    #[arg(long, value_name = "ID")]
    container: Option<String>,

    /// Only of pools that this node may use by their `nodeName`.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,

    /// Only in one of these states; `live` without it.
    #[arg(long = "state", value_name = "STATE", value_enum, value_delimiter = ',')]
    states: Vec<StateName>,
}

/// What `--state` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateName {
    /// Held.
    Live,
    /// Released a short while ago.
    Cooling,
    /// Waiting for a pod.
    Sticky,
    /// Kept for one pod, held or not.
    Pinned,
    /// Used by somebody outside of the node.
    Quarantined,
    /// Not given by the cloud any more, held or not.
    Fenced,
    /// Given to nobody.
    Reserved,
    /// Everything but what is free.
    All,
}

impl Filter {
    /// Whether addresses are to be shown that nobody holds.
    pub(super) fn wants_more_than_held(&self) -> bool {
        self.states.iter().any(|state| *state != StateName::Live)
    }

    /// The pools of which addresses are shown; `None` means all, also those that are not stored.
    pub(super) fn pool_names<'a>(
        &self,
        inventory: &'a Inventory,
    ) -> Result<Option<Vec<&'a PoolName>>> {
        let is_stored = |name: &String| {
            inventory.pools.iter().any(|pool| pool.name().as_str() == name)
                || inventory.leases.iter().any(|lease| lease.pool.as_str() == name)
        };
        if let Some(unknown) = self.pools.iter().find(|name| !is_stored(name)) {
            bail!("no pool {unknown:?} is stored");
        }
        if self.pools.is_empty() && self.node.is_none() {
            return Ok(None);
        }
        let is_named = |name: &PoolName| {
            self.pools.is_empty() || self.pools.iter().any(|wanted| wanted == name.as_str())
        };
        let is_of_node = |pool: &&Pool| {
            let is_it = |node: &str| pool.nodes().iter().any(|one| one.as_str() == node);
            self.node.as_ref().is_none_or(|node| pool.nodes().is_empty() || is_it(node))
        };
        let pools = inventory.pools.iter().filter(is_of_node).map(Pool::name);
        Ok(Some(pools.filter(|name| is_named(name)).collect()))
    }

    pub(super) fn wants_state(&self, row: &Row<'_>) -> bool {
        let is_held = matches!(row.what, What::Held(_));
        let wants = |name: &StateName| match name {
            StateName::All => true,
            StateName::Live => is_held,
            StateName::Cooling => row.is_resting(RestKind::Cooldown),
            StateName::Sticky => row.is_resting(RestKind::Sticky),
            StateName::Pinned => row.pin.is_some(),
            StateName::Quarantined => row.is_resting(RestKind::Quarantine),
            StateName::Fenced => row.is_fenced,
            StateName::Reserved => matches!(row.what, What::Nothing(State::Reserved)),
        };
        if self.states.is_empty() { is_held } else { self.states.iter().any(wants) }
    }

    pub(super) fn wants_holder(&self, row: &Row<'_>) -> bool {
        let is_pod = |wanted: &String| {
            row.pod().is_some_and(|(namespace, name)| is_pod(wanted, namespace, name))
        };
        let is_container = |wanted: &String| match row.what {
            What::Held(lease) => lease.attachment.container.as_str().starts_with(wanted),
            _ => false,
        };
        self.pod.as_ref().is_none_or(is_pod) && self.container.as_ref().is_none_or(is_container)
    }
}

/// Whether a pod is the one that a user named, with its namespace or without.
pub(crate) fn is_pod(wanted: &str, namespace: &str, name: &str) -> bool {
    match wanted.split_once('/') {
        Some(wanted) => wanted == (namespace, name),
        None => wanted == name,
    }
}
