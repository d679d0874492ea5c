//! The power goes at every point of a recording, and a check looks at what is left.

use std::fmt;

use super::disk::Disk;
use super::image::{Cut, Policy};
use super::panics;
use super::tape::Recording;

/// What the workload had come to when the power went, operations by their numbers on the tape.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress<'cut> {
    /// Answered, in order: their effects have to be there.
    pub(crate) acknowledged: &'cut [usize],
    /// Begun and not answered: each one's effect is there as a whole or not at all.
    pub(crate) unanswered: &'cut [usize],
}

/// How a sweep ended.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Points of the tape at which the power went.
    pub(crate) cut_points: usize,
    /// Disk images that were checked.
    pub(crate) images: usize,
    /// How many of the images failed the check.
    pub(crate) failures: usize,
    /// The first few of them.
    pub(crate) first: Vec<Failure>,
}

/// One image that failed, with what [`replay`] needs to make it again.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) cut: usize,
    pub(crate) policy: Policy,
    pub(crate) length: usize,
    pub(crate) message: String,
}

const KEPT_FAILURES: usize = 5;

/// Cuts the power before and after each event of a recording, and calls `check` with every image
/// left under each of the policies. An error of the check or a panic in it is a failure.
pub(crate) fn sweep(
    recording: &Recording,
    policies: &[Policy],
    mut check: impl FnMut(Disk, Progress<'_>) -> Result<(), String>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut cut = Cut::first(recording);
    let mut events = recording.events.iter();
    loop {
        for policy in policies {
            for length in cut.lengths(*policy) {
                outcome.images += 1;
                let image = cut.image(*policy, length);
                let checked = panics::catch(|| check(image, progress(&cut)));
                let Err(message) = checked.unwrap_or_else(|panic| Err(format!("panic: {panic}")))
                else {
                    continue;
                };
                outcome.failures += 1;
                if outcome.first.len() < KEPT_FAILURES {
                    let (cut, policy) = (outcome.cut_points, *policy);
                    outcome.first.push(Failure { cut, policy, length, message });
                }
            }
        }
        outcome.cut_points += 1;
        let Some(event) = events.next() else { return outcome };
        cut.advance(event);
    }
}

/// Makes the image of a failure again and gives it to a check, panics and all.
pub(crate) fn replay(
    recording: &Recording,
    failure: &Failure,
    check: impl FnOnce(Disk, Progress<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let cut = Cut::at(recording, failure.cut);
    check(cut.image(failure.policy, failure.length), progress(&cut))
}

fn progress<'cut>(cut: &'cut Cut<'_>) -> Progress<'cut> {
    Progress { acknowledged: &cut.acknowledged, unanswered: &cut.unanswered }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut_points, images, failures, .. } = self;
        write!(formatter, "{cut_points} cut points, {images} images, {failures} failures")?;
        self.first.iter().try_for_each(|failure| write!(formatter, "\n  {failure}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut, policy, length, message } = self;
        write!(formatter, "cut {cut}, {policy:?}, length {length}: {message}")
    }
}
