//! Addresses that the cloud does not tell any more: reserved by documents of ours that say since
//! when, so that whoever holds one keeps it and nobody gets it again.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use ipam_core::{AddressRange, Family, Labels, Lease, RangeSet, Reserved, ReservedSpec};
use ipam_store::Revision;

/// Who made a document (Kubernetes, "Recommended Labels").
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const SYNC: &str = "ipamctl-sync";
/// When the addresses of a fence were missing first, in seconds of the wall clock.
const GONE_SINCE: &str = "node-ipam/gone-since";

/// The label of every document that sync makes.
pub(super) fn our_labels() -> Labels {
    [(MANAGED_BY.to_owned(), SYNC.to_owned())].into()
}

/// Whether sync made the document with these labels, and nobody took it over since.
pub(super) fn is_ours(labels: &Labels) -> bool {
    labels.get(MANAGED_BY).is_some_and(|by| by == SYNC)
}

/// Since when, by the wall clock, the addresses of a reservation are gone; `None` unless it is a
/// fence.
pub(crate) fn gone_since(reserved: &Reserved) -> Option<u64> {
    let since = reserved.labels().get(GONE_SINCE).filter(|_| is_ours(reserved.labels()))?;
    since.parse().ok()
}

/// All fences that are stored.
pub(super) struct Fences<'a> {
    stored: &'a [Reserved],
    fences: Vec<(u64, &'a Reserved)>,
}

/// Addresses that are gone together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fenced {
    pub(super) addresses: RangeSet,
    pub(super) since_unix_seconds: u64,
    /// Who holds the address, which is alone then.
    pub(super) holder: Option<Lease>,
}

impl<'a> Fences<'a> {
    /// The fences among these reservations.
    pub(super) fn among(stored: &'a [Reserved]) -> Self {
        let fence = |one: &'a Reserved| Some((gone_since(one)?, one));
        Self { stored, fences: stored.iter().filter_map(fence).collect() }
    }

    /// The addresses that were gone at this time already.
    pub(super) fn addresses_at(&self, unix_seconds: u64) -> RangeSet {
        let earlier = self.fences.iter().filter(|(since, _)| *since <= unix_seconds);
        earlier.fold(RangeSet::new(), |all, (_, fence)| all.union(fence.ips()))
    }

    /// Fences exactly what is gone, each address since it was missing first.
    pub(super) fn revise(&self, gone: &RangeSet, now: u64, revision: &mut Revision) -> Result<()> {
        let mut new = gone.clone();
        for (_, fence) in &self.fences {
            let left = fence.ips().intersection(gone);
            new = new.difference(&left);
            if left.is_empty() {
                revision.removed_reserved.push(fence.name().clone());
            } else if left != *fence.ips() {
                let (name, labels) = (fence.name().as_str(), fence.labels().clone());
                revision.put.reserved.push(reservation(name, &left, labels)?);
            }
        }
        for family in [Family::V4, Family::V6] {
            let of_family = new.ranges().iter().filter(|range| range.family() == family);
            let addresses: RangeSet = of_family.copied().collect();
            if !addresses.is_empty() {
                let mut labels = our_labels();
                labels.insert(GONE_SINCE.to_owned(), now.to_string());
                let name = self.free_name(family, now)?;
                revision.put.reserved.push(reservation(&name, &addresses, labels)?);
            }
        }
        Ok(())
    }

    /// A name that nothing has: another fence of this very second, or a person's, keeps its own.
    fn free_name(&self, family: Family, now: u64) -> Result<String> {
        let base = format!("cloud-gone-v{}-{now}", family.version());
        let further = (1..=self.stored.len()).map(|number| format!("{base}.{number}"));
        let is_free = |name: &String| self.stored.iter().all(|one| one.name().as_str() != name);
        let mut names = std::iter::once(base.clone()).chain(further);
        names.find(is_free).context("there are more names than reservations")
    }

    /// What is gone of a pool: the held addresses one by one, the others by the time since when.
    pub(super) fn of_pool(&self, gone: &RangeSet, leases: &[Lease], now: u64) -> Vec<Fenced> {
        let mut left = gone.clone();
        let mut by_time = BTreeMap::<u64, RangeSet>::new();
        for (since, fence) in &self.fences {
            let here = fence.ips().intersection(&left);
            left = left.difference(&here);
            let known = by_time.entry(*since).or_default();
            *known = known.union(&here);
        }
        let new = by_time.entry(now).or_default();
        *new = new.union(&left);
        let held: RangeSet = leases.iter().map(|lease| lease.address).collect();
        let mut all = Vec::new();
        for (since_unix_seconds, addresses) in by_time {
            for lease in leases.iter().filter(|lease| addresses.contains(lease.address)) {
                let address = RangeSet::from(AddressRange::from(lease.address));
                let holder = Some(lease.clone());
                all.push(Fenced { addresses: address, since_unix_seconds, holder });
            }
            let free = addresses.difference(&held);
            if !free.is_empty() {
                all.push(Fenced { addresses: free, since_unix_seconds, holder: None });
            }
        }
        all
    }
}

fn reservation(name: &str, addresses: &RangeSet, labels: Labels) -> Result<Reserved> {
    let ips = addresses.ranges().iter().map(ToString::to_string).collect();
    let spec = ReservedSpec { ip_version: None, ips };
    Ok(Reserved::new(name, &spec)?.with_labels(labels)?)
}
