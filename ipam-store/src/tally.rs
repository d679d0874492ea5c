//! What a pool counts, so that nobody has to count again.

use std::net::IpAddr;

use ipam_core::{Counts, RestKind};

/// The counters of one pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How its addresses divide.
    pub(crate) counts: Counts,
    /// The address that was given last.
    pub(crate) last_given: Option<IpAddr>,
}

/// The counter of one kind of rest.
pub(crate) fn resting(counts: &mut Counts, kind: RestKind) -> &mut u64 {
    match kind {
        RestKind::Cooldown => &mut counts.cooling,
        RestKind::Quarantine => &mut counts.quarantined,
        RestKind::Sticky => &mut counts.sticky,
    }
}
