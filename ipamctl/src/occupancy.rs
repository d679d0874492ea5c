//! What became of every address of a pool, as runs of addresses in one state.

use std::net::IpAddr;

use ipam_core::{AddressRange, Lease, Pool, RangeSet, Reserved, RestKind};
use ipam_store::Resting;

use crate::sync::gone_since;

pub(crate) mod grid;
pub(crate) mod svg;
pub(crate) mod terminal;

/// What became of an address, the least urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum State {
    /// Nobody gets it: reserved, excluded, the gateway, or not a host's.
    Reserved,
    /// Somebody may get it.
    Free,
    /// It was held until a short while ago.
    Cooling,
    /// It waits for a pod.
    Sticky,
    /// It is kept for one pod, which does not hold it.
    Pinned,
    /// Somebody holds it.
    Held,
    /// Somebody outside of the node uses it.
    Quarantined,
    /// The cloud does not give it any more.
    Fenced,
    /// Somebody holds it, and the cloud does not give it any more.
    HeldFenced,
}

impl State {
    pub(crate) const ALL: [Self; 9] = [
        Self::Held,
        Self::HeldFenced,
        Self::Free,
        Self::Cooling,
        Self::Sticky,
        Self::Pinned,
        Self::Quarantined,
        Self::Fenced,
        Self::Reserved,
    ];

    pub(crate) fn of_rest(kind: RestKind) -> Self {
        match kind {
            RestKind::Cooldown => Self::Cooling,
            RestKind::Quarantine => Self::Quarantined,
            RestKind::Sticky => Self::Sticky,
        }
    }

    /// In JSON, and as the name of a CSS class.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::HeldFenced => "heldFenced",
            other => other.word(),
        }
    }

    /// For people.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Free => "free",
            Self::Cooling => "cooling",
            Self::Sticky => "sticky",
            Self::Pinned => "pinned",
            Self::Held => "held",
            Self::Quarantined => "quarantined",
            Self::Fenced => "fenced",
            Self::HeldFenced => "held, fenced",
        }
    }
}

/// Neighbouring addresses of one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) range: AddressRange,
    pub(crate) state: State,
}

/// Every address of a pool's `ips`, and those of it that are held outside of them, each in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Occupancy {
    /// In ascending order.
    pub(crate) runs: Vec<Run>,
}

impl Occupancy {
    /// Of a pool as its document has it. `leases` and `rests` may be of other pools too, and only
    /// rests count that are not over.
    ///
    /// Costs nothing for an address, only for each lease, rest and range.
    pub(crate) fn new(
        pool: &Pool,
        reserved: &[Reserved],
        leases: &[Lease],
        rests: &[Resting],
    ) -> Self {
        let is_ours = |address: IpAddr| pool.ips().contains(address);
        let held: RangeSet = leases
            .iter()
            .filter(|lease| lease.pool == *pool.name() || is_ours(lease.address))
            .map(|lease| lease.address)
            .collect();
        let all = pool.ips().union(&held);
        let (gone, others): (Vec<&Reserved>, Vec<&Reserved>) =
            reserved.iter().partition(|one| gone_since(one).is_some());
        let (pins, nobodys): (Vec<&Reserved>, Vec<&Reserved>) =
            others.into_iter().partition(|one| one.pin().is_some());
        let fenced = union(&gone);
        let given = pool.assignable().difference(&union(&nobodys));
        let pinned = union(&pins).intersection(pool.ips());
        let resting = |kind| -> RangeSet {
            let of_kind = rests.iter().filter(|resting| resting.rest.kind() == kind);
            of_kind.map(|resting| resting.address).filter(|address| is_ours(*address)).collect()
        };
        // Who holds an address keeps it; a rest of what nobody gets says nothing.
        let claims = [
            (State::HeldFenced, held.intersection(&fenced)),
            (State::Held, held),
            (State::Fenced, fenced),
            (State::Reserved, all.difference(&given)),
            (State::Quarantined, resting(RestKind::Quarantine)),
            // Its pod gets it whatever else it waits for.
            (State::Pinned, pinned),
            (State::Sticky, resting(RestKind::Sticky)),
            (State::Cooling, resting(RestKind::Cooldown)),
        ];
        let mut left = all;
        let mut runs = Vec::new();
        for (state, claimed) in claims {
            let here = left.intersection(&claimed);
            left = left.difference(&here);
            runs.extend(here.ranges().iter().map(|range| Run { range: *range, state }));
        }
        runs.extend(left.ranges().iter().map(|range| Run { range: *range, state: State::Free }));
        runs.sort_unstable_by_key(|run| run.range);
        Self { runs }
    }

    /// How many addresses are in this state; saturates.
    pub(crate) fn count(&self, state: State) -> u128 {
        let of_state = self.runs.iter().filter(|run| run.state == state);
        of_state.fold(0, |sum, run| sum.saturating_add(run.range.size()))
    }

    /// How many are held, fenced or not.
    pub(crate) fn held(&self) -> u128 {
        self.count(State::Held).saturating_add(self.count(State::HeldFenced))
    }

    /// How many there are that somebody may have, had, or would have but for a fence.
    pub(crate) fn total(&self) -> u128 {
        let reserved = |run: &&Run| run.state != State::Reserved;
        let sizes = self.runs.iter().filter(reserved).map(|run| run.range.size());
        sizes.fold(0, u128::saturating_add)
    }
}

fn union(reserved: &[&Reserved]) -> RangeSet {
    reserved.iter().flat_map(|one| one.ips().ranges()).copied().collect()
}

#[cfg(test)]
mod tests;
