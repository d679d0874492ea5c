//! How long the parts of a call took.

use std::fmt;
use std::time::Duration;

/// The parts of a call, one behind the other, for a line that tells where its time went. The
/// moments are the caller's, each as the time since the call began: this crate asks no clock.
#[derive(Debug, Clone, Default)]
pub struct Phases {
    last: Duration,
    parts: Vec<(&'static str, Duration)>,
}

impl Phases {
    /// What was done since the part before was `part`, and it ended at this moment. A part that
    /// comes again gets longer.
    pub fn end(&mut self, part: &'static str, since_began: Duration) {
        let took = since_began.saturating_sub(self.last);
        self.last += took;
        match self.parts.iter_mut().find(|(name, _)| *name == part) {
            Some((_, total)) => *total += took,
            None => self.parts.push((part, took)),
        }
    }

    /// Each part and how long it took, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.parts.iter().copied()
    }
}

impl fmt::Display for Phases {
    /// `phases: parse 0.08 ms, ipam 1.21 ms, total 1.29 ms`; the total is to the end of the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("phases: ")?;
        let total = ("total", self.last);
        for (place, (part, took)) in self.parts.iter().chain([&total]).enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{part} {:.2} ms", took.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_in_their_order_and_add_up() {
        let mut phases = Phases::default();
        assert_eq!(phases.to_string(), "phases: total 0.00 ms");
        // A clock that goes back is none.
        let moments =
            [("parse", 80), ("link", 1080), ("routes", 1090), ("link", 3340), ("end", 3000)];
        for (part, micros) in moments {
            phases.end(part, Duration::from_micros(micros));
        }
        assert_eq!(
            phases.to_string(),
            "phases: parse 0.08 ms, link 3.25 ms, routes 0.01 ms, end 0.00 ms, total 3.34 ms"
        );
    }
}
