//! The rules across pools, and what applying documents to stored pools changes.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use crate::lease::Lease;
use crate::owner::PoolName;
use crate::pool::Pool;
use crate::range_set::RangeSet;
use crate::violation::{Violation, Violations, shortened};

/// What [`apply`] makes of one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// No pool had this name.
    Created,
    /// The pool had another content.
    Updated,
    /// The pool had exactly this content.
    Unchanged,
}

/// Why the documents of one pool cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// Its position among the pools that were to be applied.
    pub index: usize,
    /// The pool that was to be applied.
    pub pool: PoolName,
    /// The rules it breaks.
    pub violations: Violations,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pool {}: {}", self.pool, self.violations)
    }
}

/// What becomes of each of `wanted` when it is applied to the pools that are `stored`, while
/// `leases` are held. All or nothing: a caller stores either every pool or none.
///
/// The rules, which the peer states for its webhooks: the subnet of a pool never changes; no held
/// address may vanish from its pool; two pools have the same or disjoint subnets; no address is
/// claimed by two pools.
///
/// # Errors
///
/// A [`Rejection`] for each pool that breaks rules, with all of them: correct the documents.
pub fn apply(
    stored: &[Pool],
    wanted: &[Pool],
    leases: &[Lease],
) -> Result<Vec<Change>, Vec<Rejection>> {
    let mut rejections = Vec::new();
    let mut changes = Vec::new();
    let untouched: Vec<&Pool> = stored
        .iter()
        .filter(|pool| wanted.iter().all(|other| other.name() != pool.name()))
        .collect();
    for (index, pool) in wanted.iter().enumerate() {
        let mut broken = Violations::default();
        let (earlier, _) = wanted.split_at(index);
        if earlier.iter().any(|other| other.name() == pool.name() && other != pool) {
            let rule = "an earlier document has the same name and other contents".to_string();
            broken.push(Violation::new("metadata.name", pool.name().as_str(), rule));
        }
        let old = stored.iter().find(|old| old.name() == pool.name());
        if let Some(old) = old {
            check_update(&mut broken, old, pool, leases);
        }
        let others = earlier.iter().filter(|other| other.name() != pool.name());
        for other in untouched.iter().copied().chain(others) {
            check_pair(&mut broken, pool, other);
        }
        if let Err(violations) = broken.into_result() {
            rejections.push(Rejection { index, pool: pool.name().clone(), violations });
        }
        changes.push(match old {
            None => Change::Created,
            Some(old) if old == pool => Change::Unchanged,
            Some(_) => Change::Updated,
        });
    }
    if rejections.is_empty() { Ok(changes) } else { Err(rejections) }
}

fn check_update(broken: &mut Violations, old: &Pool, new: &Pool, leases: &[Lease]) {
    if old.subnet() != new.subnet() {
        let rule = alloc::format!("the subnet of a pool never changes; it is {}", old.subnet());
        broken.push(Violation::new("spec.subnet", &new.subnet().to_string(), rule));
        return;
    }
    let claimed = new.claimed();
    let shown = claimed.to_string();
    for lease in leases.iter().filter(|lease| lease.pool == *old.name()) {
        let holder = match &lease.pod {
            Some(pod) => alloc::format!("pod {pod}"),
            None => lease.attachment.to_string(),
        };
        if !claimed.contains(lease.address) {
            let rule = alloc::format!("{} is held by {holder}: it must stay", lease.address);
            broken.push(Violation::new("spec.ips", &shown, rule));
        }
        if new.gateway() == Some(lease.address) {
            let rule = alloc::format!("it is held by {holder}");
            broken.push(Violation::new("spec.gateway", &lease.address.to_string(), rule));
        }
    }
}

/// No pool hands out what another names as the way out of their common subnet.
fn check_gateways(broken: &mut Violations, pool: &Pool, other: &Pool) {
    if let Some(gateway) = pool.gateway().filter(|gateway| other.assignable().contains(*gateway)) {
        let rule = alloc::format!("pool {} hands it out: exclude it there first", other.name());
        broken.push(Violation::new("spec.gateway", &gateway.to_string(), rule));
    }
    if let Some(gateway) = other.gateway().filter(|gateway| pool.assignable().contains(*gateway)) {
        let rule = alloc::format!("{gateway} is the gateway of pool {}: exclude it", other.name());
        broken.push(Violation::new("spec.ips", &pool.claimed().to_string(), rule));
    }
}

fn check_pair(broken: &mut Violations, pool: &Pool, other: &Pool) {
    let (ours, theirs) = (pool.subnet(), other.subnet());
    if ours == theirs {
        let shared: RangeSet = pool.claimed().intersection(&other.claimed());
        if !shared.is_empty() {
            let shared = shortened(shared.to_string(), 120);
            let rule = alloc::format!("{shared} also belongs to pool {}", other.name());
            broken.push(Violation::new("spec.ips", &pool.claimed().to_string(), rule));
        }
        check_gateways(broken, pool, other);
    } else if ours.contains(&theirs) || theirs.contains(&ours) {
        let rule = alloc::format!(
            "it overlaps the subnet {theirs} of pool {}: subnets must be equal or disjoint",
            other.name()
        );
        broken.push(Violation::new("spec.subnet", &ours.to_string(), rule));
    }
}
