//! How long something took, again and again.

use std::time::Duration;

/// Durations in microseconds, round by round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    rounds: Vec<Vec<f64>>,
}

impl Samples {
    pub(crate) fn begin_round(&mut self) {
        self.rounds.push(Vec::new());
    }

    pub(crate) fn push(&mut self, duration: Duration) {
        if self.rounds.is_empty() {
            self.begin_round();
        }
        if let Some(round) = self.rounds.last_mut() {
            round.push(duration.as_secs_f64() * 1e6);
        }
    }

    fn medians(&self) -> Vec<f64> {
        self.rounds.iter().map(|round| quantile(round, 0.5)).collect()
    }

    /// The median of the rounds' medians, in microseconds.
    pub(crate) fn median(&self) -> f64 {
        quantile(&self.medians(), 0.5)
    }

    /// Of all samples, in microseconds.
    pub(crate) fn p99(&self) -> f64 {
        quantile(&self.rounds.concat(), 0.99)
    }

    /// The slowest of all, in microseconds.
    pub(crate) fn slowest(&self) -> f64 {
        quantile(&self.rounds.concat(), 1.0)
    }

    pub(crate) fn round_count(&self) -> usize {
        self.rounds.len()
    }

    /// The median of the ratios of rounds that were made side by side: the machine's mood, which
    /// meets both of a round alike, is not in it.
    pub(crate) fn ratio_to(&self, other: &Self) -> f64 {
        let pairs = self.medians().into_iter().zip(other.medians());
        let ratios: Vec<f64> = pairs.map(|(one, other)| one / other).collect();
        quantile(&ratios, 0.5)
    }
}

/// 0 if there is none.
fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    // Exact: no run has 2^53 samples.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let place = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rounds: &[&[u64]]) -> Samples {
        let mut samples = Samples::default();
        for round in rounds {
            samples.begin_round();
            round.iter().for_each(|micros| samples.push(Duration::from_micros(*micros)));
        }
        samples
    }

    #[test]
    fn a_ratio_is_taken_within_rounds() {
        // The machine was three times slower in the second round.
        let (one, other) = (samples(&[&[2, 2, 9], &[6], &[2]]), samples(&[&[1], &[3], &[1]]));
        assert!((one.ratio_to(&other) - 2.0).abs() < 1e-9);
        assert!((one.median() - 2.0).abs() < 1e-9);
        assert!((one.p99() - 9.0).abs() < 1e-9);
        assert!(Samples::default().round_count() == 0 && Samples::default().median() == 0.0);
    }
}
