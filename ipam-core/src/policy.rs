//! How addresses are chosen and how long a released one rests.

use crate::lease::Moment;
use crate::rest::Rest;
use crate::sticky::{StickyKey, StickyNames};

/// Which free address of a pool is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The lowest, as the peer does.
    #[default]
    Lowest,
    /// The next behind the one that was given last, from the start again at the end.
    RoundRobin,
    /// The next behind a place that follows from the seed. Give another seed for each decision.
    Random {
        /// Any number.
        seed: u64,
    },
    /// One that was never given, else the one that rests longest.
    OldestReleased,
}

/// What happens when a pool has no free address but some that only cool down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenOnlyCooling {
    /// The one that cools longest is given: a pod with a young address beats a pod without any.
    #[default]
    TakeOldest,
    /// The decision is refused, saying how long to wait.
    Refuse,
}

/// The rules that are not a pool's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Which free address is taken.
    pub strategy: Strategy,
    /// How long a released address rests before others get it, in seconds. Neighbours, connection
    /// tracking and clients remember who had it; 0 is for networks where they do not.
    pub cooldown_seconds: u64,
    /// Whether resting comes before having none.
    pub when_only_cooling: WhenOnlyCooling,
    /// For which pods a released address waits.
    pub sticky: StickyNames,
    /// How long it waits, in seconds.
    pub sticky_seconds: u64,
}

impl Default for Policy {
    /// The lowest address, a cooldown of 60 s that yields when nothing else is left, no sticky
    /// addresses.
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            cooldown_seconds: 60,
            when_only_cooling: WhenOnlyCooling::default(),
            sticky: StickyNames::default(),
            sticky_seconds: 7 * 24 * 3600,
        }
    }
}

impl Policy {
    /// What becomes of an address that `holder` gives back at `now`; `None`: it is free at once.
    pub fn rest(&self, holder: Option<StickyKey>, now: Moment) -> Option<Rest> {
        if let Some(key) = holder.filter(|key| self.sticky.covers(key)) {
            return Some(Rest::sticky(key, now, now.after(self.sticky_seconds)));
        }
        // A rest of no length still remembers the order in which addresses came back.
        let remembers = self.strategy == Strategy::OldestReleased;
        (self.cooldown_seconds > 0 || remembers)
            .then(|| Rest::cooling(now, now.after(self.cooldown_seconds)))
    }
}
