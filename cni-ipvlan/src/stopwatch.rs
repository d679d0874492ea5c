//! The clock beside the phases of a call.

use std::fmt;
use std::time::Instant;

use cni_proto::Phases;

/// How long the call has taken so far, by its parts.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    began: Instant,
    phases: Phases,
}

impl Stopwatch {
    /// For a call that began at this moment.
    pub(crate) fn new(began: Instant) -> Self {
        Self { began, phases: Phases::default() }
    }

    /// `part` has just ended.
    pub(crate) fn end(&mut self, part: &'static str) {
        self.phases.end(part, self.began.elapsed());
        telemetry::part(part);
    }
}

impl fmt::Display for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.phases.fmt(f)
    }
}
