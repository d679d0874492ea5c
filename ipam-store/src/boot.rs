//! What a new boot of the node changes.

use std::collections::BTreeSet;

use ipam_core::{Facts, Lease, Moment, Stamp, WhyFreed, reclaim};

use crate::codec;
use crate::fault::Outcome;
use crate::history::Ended;
use crate::register::{Register, queue_entry};
use crate::rows;
use crate::schema::{META_MOMENT, NOTES_BOOT, address_key};
use crate::transaction::PolicyOf;

/// What a look at the boot id found.
#[derive(Debug, Default)]
pub(crate) struct Entered {
    /// Whether the boot is another than at the last commit.
    pub(crate) is_new: bool,
    /// The leases that ended with the earlier one.
    pub(crate) ended: Vec<Lease>,
}

impl Register<'_> {
    /// Notices that the node was started anew since the last commit, and ends what that ended.
    ///
    /// No network namespace survives, so the leases of an earlier boot end, each as its policy has it. The
    /// clock that rests are measured by starts again, so each rests for what was left of its time
    /// at the last commit: how long the node was down cannot be known without trusting a clock that
    /// jumps. Without a boot id nothing is noticed.
    pub(crate) fn enter_boot(&mut self, policy_of: &PolicyOf<'_>, now: &Stamp) -> Outcome<Entered> {
        let Some(boot) = &now.boot else { return Ok(Entered::default()) };
        let stored = rows::text(&self.notes, NOTES_BOOT)?;
        if stored.as_deref() == Some(boot.as_str()) {
            return Ok(Entered::default());
        }
        self.notes.insert(NOTES_BOOT, boot.as_str())?;
        if stored.is_some() {
            self.carry_rests_over(now.moment)?;
        }
        let leases = self.leases()?;
        let facts = Facts {
            boot: Some(boot.clone()),
            now: now.moment,
            snapshot: Moment(0),
            grace_seconds: 0,
            valid: None,
            namespaces: None,
            alive: BTreeSet::new(),
        };
        let ended = reclaim(&leases, &facts).freed.into_iter();
        let ended = ended.filter(|(_, why)| *why == WhyFreed::EarlierBoot);
        let ended: Vec<Lease> = ended.map(|(lease, _)| lease.clone()).collect();
        for lease in &ended {
            self.end(lease, Ended::Freed(WhyFreed::EarlierBoot), policy_of(lease), now)?;
        }
        Ok(Entered { is_new: true, ended })
    }

    fn carry_rests_over(&mut self, now: Moment) -> Outcome<()> {
        let last = Moment(rows::number(&self.meta, META_MOMENT)?.unwrap_or_default());
        for (address, pool, rest) in rows::rests(&self.rests)? {
            let carried = rest.clone().carried_over(last, now);
            self.queues.remove(queue_entry(&pool, &rest, address).as_slice())?;
            self.queues.insert(queue_entry(&pool, &carried, address).as_slice(), ())?;
            let record = codec::encode_rest(&pool, &carried);
            self.rests.insert(address_key(address), record.as_slice())?;
        }
        Ok(())
    }
}
