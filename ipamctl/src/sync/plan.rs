//! What a reading of the cloud changes in what is stored: pure.
//!
//! Only pools that sync made are looked at, which a label says; those of a person are never changed.
//! What the cloud gives is added. What it does not tell any more is fenced: reserved, by a document
//! of ours that says since when, so that whoever holds it keeps it and nobody gets it again. It is
//! removed only when a later reading agrees and nobody holds it. A pool of which the cloud tells no
//! address any more keeps them all, fenced, until a person says otherwise: an empty answer is more
//! often a fault than a wish.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use ipam_core::{AddressRange, NodeName, Pool, PoolName, PoolSpec, RangeSet};
use ipam_store::{Contents, Revision};

use super::fence::{Fenced, Fences, is_ours, our_labels};
use super::wanted::Wanted;

/// What is decided apart from the reading.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) node: NodeName,
    /// The wall clock.
    pub(super) now_unix_seconds: u64,
    /// How long before this reading another one has to have missed what is removed.
    pub(super) confirm: Duration,
    /// Whether pools of which the cloud tells no address any more go too.
    pub(super) prune: bool,
}

/// What is to be done, and what there is to say about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) revision: Revision,
    /// Every pool of ours that is there before or after.
    pub(super) pools: Vec<PoolPlan>,
    /// What cannot be added, since pools of a person are in the way; one line each.
    pub(super) conflicts: Vec<String>,
}

/// What becomes of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PoolPlan {
    pub(super) name: PoolName,
    pub(super) fate: Fate,
    pub(super) added: RangeSet,
    pub(super) removed: RangeSet,
    /// The cloud tells them again.
    pub(super) given_back: RangeSet,
    /// Not told any more.
    pub(super) fenced: Vec<Fenced>,
    /// Told for this NIC, and still in the pool of another.
    pub(super) waiting: RangeSet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Created,
    Configured,
    Unchanged,
    Removed,
}

/// What becomes of a pool of ours, before anything is added.
struct Kept<'a> {
    pool: &'a Pool,
    /// What it claims and the cloud does not tell.
    gone: RangeSet,
    removed: RangeSet,
    is_removed: bool,
}

impl Kept<'_> {
    fn claims(&self) -> RangeSet {
        if self.is_removed {
            RangeSet::new()
        } else {
            self.pool.claimed().difference(&self.removed)
        }
    }
}

/// What this reading changes.
///
/// # Errors
/// Only if a document cannot be made of it, which [`cloud::Provider::read`] rules out.
pub(super) fn plan(wanted: &[Wanted], stored: &Contents, rules: &Rules) -> Result<Plan> {
    let named: BTreeMap<PoolName, &Wanted> = wanted
        .iter()
        .map(|wanted| Ok((wanted.pool()?, wanted)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    let (ours, foreign): (Vec<&Pool>, Vec<&Pool>) =
        stored.pools.iter().partition(|pool| is_ours(pool.labels()));
    let fences = Fences::among(&stored.reserved);
    let held: RangeSet = stored.leases.iter().map(|lease| lease.address).collect();
    let kept: Vec<Kept<'_>> = ours
        .iter()
        .map(|pool| keep(pool, named.get(pool.name()).copied(), &fences, &held, rules))
        .collect();

    let mut plan = Plan::default();
    for one in &kept {
        let target = named.get(one.pool.name()).copied();
        plan.revise_pool(one, target, &kept, &foreign, rules)?;
    }
    for (name, target) in &named {
        if !ours.iter().any(|pool| pool.name() == name) {
            plan.create_pool(name, target, &kept, &foreign, rules)?;
        }
    }
    let gone = kept
        .iter()
        .fold(RangeSet::new(), |gone, one| gone.union(&one.gone.difference(&one.removed)));
    let now = rules.now_unix_seconds;
    fences.revise(&gone, now, &mut plan.revision)?;
    for pool in &mut plan.pools {
        let Some(one) = kept.iter().find(|one| *one.pool.name() == pool.name) else { continue };
        let told = one.pool.claimed().difference(&one.gone);
        pool.given_back = fences.addresses_at(u64::MAX).intersection(&told);
        pool.fenced = fences.of_pool(&one.gone.difference(&one.removed), &stored.leases, now);
    }
    plan.pools.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(plan)
}

/// What stays of a pool of ours.
fn keep<'a>(
    pool: &'a Pool,
    target: Option<&Wanted>,
    fences: &Fences<'_>,
    held: &RangeSet,
    rules: &Rules,
) -> Kept<'a> {
    let claimed = pool.claimed();
    let told = target.map(|wanted| &wanted.addresses);
    let gone = told.map_or_else(|| claimed.clone(), |told| claimed.difference(told));
    let confirming = rules.now_unix_seconds.checked_sub(rules.confirm.as_secs());
    let confirmed = confirming.map(|time| fences.addresses_at(time)).unwrap_or_default();
    // Of a pool that the cloud tells nothing of any more, nothing goes by itself.
    let tells_nothing = told.is_none_or(RangeSet::is_empty);
    let may_go = !tells_nothing || rules.prune;
    let removed =
        if may_go { gone.intersection(&confirmed).difference(held) } else { RangeSet::new() };
    let is_removed = rules.prune && tells_nothing && removed == claimed;
    Kept { pool, gone, removed, is_removed }
}

impl Plan {
    /// Adds to a pool what the cloud tells, and takes away what goes.
    fn revise_pool(
        &mut self,
        one: &Kept<'_>,
        target: Option<&Wanted>,
        kept: &[Kept<'_>],
        foreign: &[&Pool],
        rules: &Rules,
    ) -> Result<()> {
        let name = one.pool.name();
        let mut report = PoolPlan::new(name, Fate::Unchanged);
        report.removed.clone_from(&one.removed);
        if one.is_removed {
            report.fate = Fate::Removed;
            self.revision.removed_pools.push(name.clone());
            self.pools.push(report);
            return Ok(());
        }
        let mut spec = one.pool.spec();
        // With what a person has excluded: that is not to come again.
        let ips: RangeSet = spec.ips.iter().flat_map(|text| text.parse::<AddressRange>()).collect();
        if let Some((target, network)) =
            target.and_then(|target| Some((target, target.network.as_ref()?)))
        {
            let new = target.addresses.difference(&ips);
            (report.added, report.waiting) = self.addable(name, target, &new, kept, foreign);
            spec.gateway = target.gateway.map(|gateway| gateway.to_string());
            spec.multus_name = vec![network.to_string()];
            spec.node_name = vec![rules.node.to_string()];
        }
        let ips = ips.difference(&one.removed).union(&report.added);
        spec.ips = texts(&ips);
        let pool = document(name, &spec)?.with_labels(one.pool.labels().clone())?;
        if pool != *one.pool {
            report.fate = Fate::Configured;
            self.revision.put.pools.push(pool);
        }
        self.pools.push(report);
        Ok(())
    }

    fn create_pool(
        &mut self,
        name: &PoolName,
        target: &Wanted,
        kept: &[Kept<'_>],
        foreign: &[&Pool],
        rules: &Rules,
    ) -> Result<()> {
        let Some(network) = &target.network else { return Ok(()) };
        let mut report = PoolPlan::new(name, Fate::Created);
        (report.added, report.waiting) =
            self.addable(name, target, &target.addresses, kept, foreign);
        if report.added.is_empty() {
            return Ok(());
        }
        let spec = PoolSpec {
            subnet: target.subnet.to_string(),
            ips: texts(&report.added),
            gateway: target.gateway.map(|gateway| gateway.to_string()),
            node_name: vec![rules.node.to_string()],
            multus_name: vec![network.to_string()],
            default: Some(true),
            ..PoolSpec::default()
        };
        self.revision.put.pools.push(document(name, &spec)?.with_labels(our_labels())?);
        self.pools.push(report);
        Ok(())
    }

    /// Which of these addresses can be added, and which have to wait for a pool of ours to lose them.
    fn addable(
        &mut self,
        name: &PoolName,
        target: &Wanted,
        new: &RangeSet,
        kept: &[Kept<'_>],
        foreign: &[&Pool],
    ) -> (RangeSet, RangeSet) {
        if new.is_empty() {
            return (RangeSet::new(), RangeSet::new());
        }
        let before = self.conflicts.len();
        for other in foreign {
            let shared = other.claimed().intersection(new);
            if other.name() == name {
                self.conflicts.push(format!(
                    "pool {name} was applied by hand and has the name of the pool that sync makes \
                     for NIC {}: rename it",
                    target.mac
                ));
            } else if !shared.is_empty() {
                self.conflicts.push(format!(
                    "{shared}: pool {} has it, which was applied by hand, and pool {name} of sync \
                     would: take it out of {}, or have the NIC {} ignored",
                    other.name(),
                    other.name(),
                    target.mac
                ));
            } else if overlap(other, target) {
                self.conflicts.push(format!(
                    "subnet {} of pool {}, which was applied by hand, overlaps {} of pool {name} of \
                     sync: subnets must be equal or disjoint",
                    other.subnet(),
                    other.name(),
                    target.subnet
                ));
            }
        }
        if self.conflicts.len() > before {
            return (RangeSet::new(), RangeSet::new());
        }
        let others = kept.iter().filter(|one| one.pool.name() != name);
        let claimed = others.fold(RangeSet::new(), |all, one| all.union(&one.claims()));
        let claimed = self.pools.iter().fold(claimed, |all, pool| all.union(&pool.added));
        (new.difference(&claimed), new.intersection(&claimed))
    }
}

impl PoolPlan {
    fn new(name: &PoolName, fate: Fate) -> Self {
        Self {
            name: name.clone(),
            fate,
            added: RangeSet::new(),
            removed: RangeSet::new(),
            given_back: RangeSet::new(),
            fenced: Vec::new(),
            waiting: RangeSet::new(),
        }
    }
}

fn overlap(other: &Pool, target: &Wanted) -> bool {
    let (one, two) = (other.subnet(), target.subnet);
    one != two && (one.contains(&two) || two.contains(&one))
}

fn texts(addresses: &RangeSet) -> Vec<String> {
    addresses.ranges().iter().map(ToString::to_string).collect()
}

fn document(name: &PoolName, spec: &PoolSpec) -> Result<Pool> {
    Ok(Pool::new(name.as_str(), spec)?)
}

#[cfg(test)]
mod tests;
