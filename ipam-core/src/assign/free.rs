//! The addresses that are for everybody: which of the free ones is taken, by the strategy.

use core::net::IpAddr;

use super::Deciding;
use crate::decision::NotDecided;
use crate::ledger::Ledger;
use crate::policy::Strategy;
use crate::pool::Pool;
use crate::range::AddressRange;
use crate::rest::{Rest, RestKind};

impl<'a, L: Ledger> Deciding<'_, 'a, L> {
    /// A free address of the pool, by the strategy.
    pub(super) fn choose(
        &mut self,
        pool: &'a Pool,
    ) -> Result<Option<IpAddr>, NotDecided<L::Error>> {
        self.wake(pool)?;
        let Some(lowest) = pool.assignable().ranges().first().map(AddressRange::first) else {
            return Ok(None);
        };
        let start = match self.policy.strategy {
            Strategy::Lowest | Strategy::OldestReleased => None,
            Strategy::RoundRobin => {
                self.ledger.last_given(pool)?.and_then(|last| pool.assignable().above(last))
            }
            Strategy::Random { seed } => {
                let draw = scatter(seed, self.grants.len());
                pool.assignable().at(draw % pool.assignable().size())
            }
        };
        if let Some(start) = start
            && let Some(address) = self.first_free(pool, start)?
        {
            return Ok(Some(address));
        }
        if let Some(address) = self.first_free(pool, lowest)? {
            return Ok(Some(address));
        }
        // With this strategy released addresses stay in their queue, in the order of release.
        if self.policy.strategy == Strategy::OldestReleased {
            let next = self.next_cooling(pool)?.filter(|(_, rest)| rest.is_over(self.now));
            return Ok(next.map(|(address, _)| address));
        }
        Ok(None)
    }

    /// The lowest address from `from` on that is free or has been woken, and not given yet.
    fn first_free(
        &self,
        pool: &Pool,
        from: IpAddr,
    ) -> Result<Option<IpAddr>, NotDecided<L::Error>> {
        let in_pool = |address: &IpAddr| {
            pool.assignable().contains(*address) && !self.taken.contains(address)
        };
        let woken = self.woken.range(from..).copied().find(in_pool);
        let mut from = from;
        // Turns at most once for each address given in this decision.
        let free = loop {
            match self.ledger.first_free(pool, from)? {
                Some(address) if self.taken.contains(&address) => {
                    match pool.assignable().above(address) {
                        Some(next) => from = next,
                        None => break None,
                    }
                }
                found => break found,
            }
        };
        Ok([woken, free].into_iter().flatten().min())
    }

    /// The cooling address of the pool that was released first, over or not.
    pub(super) fn next_cooling(
        &self,
        pool: &Pool,
    ) -> Result<Option<(IpAddr, Rest)>, NotDecided<L::Error>> {
        let mut after = None;
        // Turns at most once for each address given in this decision and each that the pool has
        // lost since its release; those leave the queue when their rest is over.
        while let Some((address, rest)) =
            self.ledger.next_resting(pool, RestKind::Cooldown, after)?
        {
            if pool.assignable().contains(address) && !self.taken.contains(&address) {
                return Ok(Some((address, rest)));
            }
            after = Some((rest.until, address));
        }
        Ok(None)
    }

    /// Finds the resting addresses of the pool whose time is over. Each release adds at most one,
    /// so that the cost of a decision stays constant on average.
    fn wake(&mut self, pool: &'a Pool) -> Result<(), NotDecided<L::Error>> {
        if !self.asked.insert(pool.name().as_str()) {
            return Ok(());
        }
        for kind in [RestKind::Cooldown, RestKind::Quarantine, RestKind::Sticky] {
            let is_queue =
                kind == RestKind::Cooldown && self.policy.strategy == Strategy::OldestReleased;
            let mut after = None;
            while let Some((address, rest)) = self.ledger.next_resting(pool, kind, after)? {
                if !rest.is_over(self.now) {
                    break;
                }
                // Those that the pool has lost leave the head of the queue, the others stay.
                if is_queue && pool.assignable().contains(address) {
                    break;
                }
                self.woken.insert(address);
                after = Some((rest.until, address));
            }
        }
        Ok(())
    }
}

/// A number that looks random and follows from the seed and the number of the grant (`SplitMix64`,
/// twice, for 128 bits).
fn scatter(seed: u64, grant: usize) -> u128 {
    let mut state = seed ^ (grant as u64).wrapping_mul(0xd134_2543_de82_ef95);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (u128::from(next()) << 64) | u128::from(next())
}
