//! An address that nobody holds and that is not free yet.

use alloc::string::String;
use core::fmt;

use crate::lease::Moment;
use crate::sticky::StickyKey;

/// Why an address rests, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    /// Why.
    pub reason: RestReason,
    /// Since when.
    pub since: Moment,
    /// The first moment at which it is free again.
    pub until: Moment,
}

/// Why an address rests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestReason {
    /// It was held until a short while ago.
    Cooldown,
    /// Somebody outside of this node uses it. It is never given early.
    Quarantine {
        /// Who, as far as known.
        seen: String,
    },
    /// It waits for a pod.
    Sticky {
        /// Which.
        key: StickyKey,
    },
}

/// The kinds of rest, each with a queue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RestKind {
    /// See [`RestReason::Cooldown`].
    Cooldown,
    /// See [`RestReason::Quarantine`].
    Quarantine,
    /// See [`RestReason::Sticky`].
    Sticky,
}

impl Rest {
    /// Which queue it stands in.
    pub fn kind(&self) -> RestKind {
        match self.reason {
            RestReason::Cooldown => RestKind::Cooldown,
            RestReason::Quarantine { .. } => RestKind::Quarantine,
            RestReason::Sticky { .. } => RestKind::Sticky,
        }
    }

    /// A cooldown.
    pub fn cooling(since: Moment, until: Moment) -> Self {
        Self { reason: RestReason::Cooldown, since, until }
    }

    /// A wait for a pod.
    pub fn sticky(key: StickyKey, since: Moment, until: Moment) -> Self {
        Self { reason: RestReason::Sticky { key }, since, until }
    }

    /// A quarantine, with what was seen.
    pub fn quarantine(seen: String, since: Moment, until: Moment) -> Self {
        Self { reason: RestReason::Quarantine { seen }, since, until }
    }

    /// The same rest on the clock of a later boot, which starts again: for what was left of it at
    /// `last`, the last moment known of the earlier one.
    #[must_use]
    pub fn carried_over(self, last: Moment, now: Moment) -> Self {
        let until = now.after(self.until.seconds_since(last));
        Self { since: now, until, ..self }
    }

    /// Whether the rest is over at `now`.
    pub fn is_over(&self, now: Moment) -> bool {
        self.until <= now
    }
}

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            RestReason::Cooldown => f.write_str("it cools down after its release"),
            RestReason::Quarantine { seen } => write!(f, "it is in quarantine: {seen}"),
            RestReason::Sticky { key } => write!(f, "it waits for pod {key}"),
        }
    }
}
