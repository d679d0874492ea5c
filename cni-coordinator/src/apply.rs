//! Carries out a plan, all of it or nothing.

use cni_net::{Error, Operation, sysctl};

use crate::perform::{Inverse, kept, perform, take_back};
use crate::site::Site;
use crate::step::{Change, Need, Place, Step};

/// Why a plan could not be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct Failed {
    /// The step, as a command.
    pub step: String,
    /// Why not.
    pub source: Error,
    /// What of the plan could not be taken back; empty if the kernel is as it was before.
    pub left: Vec<String>,
}

/// Carries out `steps` in their order and answers what a person should know: which steps that need
/// not succeed did not.
///
/// # Errors
///
/// [`Failed`] by the first step that has to succeed and does not; those before it are taken back.
pub fn apply(steps: &[Step], site: &mut Site<'_>) -> Result<Vec<String>, Failed> {
    let (mut done, mut warnings) = (Vec::new(), Vec::new());
    for steps in together(steps) {
        for (step, outcome) in steps.iter().zip(outcomes(steps, site, &mut done)) {
            match outcome {
                Ok(()) => {}
                Err(error) if step.need == Need::Should => {
                    warnings.push(format!("{step}: {error}"));
                }
                Err(source) => {
                    let left = undo(&done, site);
                    return Err(Failed { step: step.to_string(), source, left });
                }
            }
        }
    }
    Ok(warnings)
}

/// Carries out every step that can be, and answers which could not.
pub fn apply_each(steps: &[Step], site: &mut Site<'_>) -> Vec<String> {
    let mut failed = Vec::new();
    for steps in together(steps) {
        for (step, outcome) in steps.iter().zip(outcomes(steps, site, &mut Vec::new())) {
            failed.extend(outcome.err().map(|error| format!("{step}: {error}")));
        }
    }
    failed
}

/// Settings of one place that follow each other are one part: entering a namespace takes a thread.
fn together(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    let is_setting = |step: &Step| matches!(step.change, Change::SetSysctl { .. });
    steps.chunk_by(move |one, next| one.place == next.place && is_setting(one) && is_setting(next))
}

fn outcomes(
    steps: &[Step],
    site: &mut Site<'_>,
    done: &mut Vec<(Place, Inverse)>,
) -> Vec<Result<(), Error>> {
    match steps {
        [first, ..] if matches!(first.change, Change::SetSysctl { .. }) => {
            settings(first.place, steps, site, done)
        }
        steps => {
            let perform = |step: &Step| {
                let mut inverses = Vec::new();
                let outcome = perform(step.place, &step.change, site, &mut inverses);
                done.extend(inverses.into_iter().map(|inverse| (step.place, inverse)));
                outcome
            };
            steps.iter().map(perform).collect()
        }
    }
}

/// Sets all, or as far as it goes: behind a failure the others are not tried.
fn settings(
    place: Place,
    steps: &[Step],
    site: &Site<'_>,
    done: &mut Vec<(Place, Inverse)>,
) -> Vec<Result<(), Error>> {
    let write_all = || {
        let (mut outcomes, mut inverses) = (Vec::new(), Vec::new());
        for step in steps {
            let Change::SetSysctl { key, value } = &step.change else { continue };
            let outcome = set(key, &value.to_string(), &mut inverses);
            let failed = outcome.is_err() && step.need == Need::Must;
            outcomes.push(outcome);
            if failed {
                break;
            }
        }
        (outcomes, inverses)
    };
    match site.within(place, write_all) {
        Ok(Some((outcomes, inverses))) => {
            done.extend(inverses.into_iter().map(|inverse| (place, inverse)));
            outcomes
        }
        Ok(None) => Vec::new(),
        Err(error) => vec![Err(error)],
    }
}

fn set(key: &str, value: &str, inverses: &mut Vec<Inverse>) -> Result<(), Error> {
    match sysctl::read(key)? {
        Some(previous) if previous != value => {
            let inverse = Inverse::Setting { key: key.to_owned(), value: previous };
            kept(sysctl::overwrite(key, value), inverse, inverses)
        }
        _ => Ok(()),
    }
}

fn undo(done: &[(Place, Inverse)], site: &mut Site<'_>) -> Vec<String> {
    let mut left = Vec::new();
    for (place, inverse) in done.iter().rev() {
        let outcome = take_back(*place, inverse, site);
        if let Err(error) = outcome
            // A setting of a link that went with its pair.
            && !is_gone(&error)
        {
            left.push(error.to_string());
        }
    }
    left
}

fn is_gone(error: &Error) -> bool {
    matches!(
        error,
        Error::Refused {
            operation: Operation::ReadSysctl | Operation::FindLink,
            errno: 2 | 19,
            ..
        }
    )
}
