//! Steps taken so far, taken back unless all succeed.

use std::{error, fmt};

/// A stack of undo steps. Push one after each thing done; [`commit`](Undo::commit) when all is
/// done. Dropped before that, as by `?`, it runs the steps, last pushed first.
///
/// A failing step does not stop the others. On drop each failure goes to the `report` given to
/// [`new`](Undo::new), for a drop can return nothing; [`rollback`](Undo::rollback) returns them.
#[must_use = "dropped at once it undoes nothing that is pushed later"]
pub struct Undo<'a> {
    steps: Vec<Step<'a>>,
    report: Box<dyn FnMut(UndoError) + 'a>,
}

struct Step<'a> {
    name: String,
    run: Box<dyn FnOnce() -> Result<(), Failure> + 'a>,
}

type Failure = Box<dyn error::Error + Send + Sync>;

/// An undo step that failed: what it was to take back is still there.
#[derive(Debug, thiserror::Error)]
#[error("undo `{step}`: {source}")]
pub struct UndoError {
    /// The step's name, as pushed.
    pub step: String,
    /// Why it failed.
    pub source: Box<dyn error::Error + Send + Sync>,
}

impl<'a> Undo<'a> {
    /// An empty stack that reports what fails on drop to `report`.
    pub fn new(report: impl FnMut(UndoError) + 'a) -> Self {
        Self { steps: Vec::new(), report: Box::new(report) }
    }

    /// Remembers how to take back what was just done. `run` outlives the borrows of the work it
    /// undoes, so let it open what it needs (a socket: [`Netns::netlink`](crate::Netns::netlink))
    /// when it runs: that costs only the failing path.
    pub fn push<E>(&mut self, name: impl Into<String>, run: impl FnOnce() -> Result<(), E> + 'a)
    where
        E: Into<Box<dyn error::Error + Send + Sync>>,
    {
        let run = Box::new(|| run().map_err(Into::into));
        self.steps.push(Step { name: name.into(), run });
    }

    /// Everything succeeded: forgets the steps.
    pub fn commit(mut self) {
        self.steps.clear();
    }

    /// Runs the steps now, and returns those that failed.
    #[must_use = "what could not be undone is left behind"]
    pub fn rollback(mut self) -> Vec<UndoError> {
        self.unwind()
    }

    fn unwind(&mut self) -> Vec<UndoError> {
        let mut failed = Vec::new();
        while let Some(Step { name, run }) = self.steps.pop() {
            if let Err(source) = run() {
                failed.push(UndoError { step: name, source });
            }
        }
        failed
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        for error in self.unwind() {
            (self.report)(error);
        }
    }
}

impl fmt::Debug for Undo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.steps.iter().map(|step| &step.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, io};

    use super::*;

    fn push<'a>(undo: &mut Undo<'a>, ran: &'a RefCell<Vec<&'static str>>, name: &'static str) {
        undo.push(name, move || {
            ran.borrow_mut().push(name);
            if name == "fails" { Err(io::Error::from_raw_os_error(16)) } else { Ok(()) }
        });
    }

    #[test]
    fn drop_runs_backwards_and_reports_failures() {
        let (ran, reported) = (RefCell::default(), RefCell::new(Vec::new()));
        let mut undo = Undo::new(|error| reported.borrow_mut().push(error.to_string()));
        push(&mut undo, &ran, "first");
        push(&mut undo, &ran, "fails");
        push(&mut undo, &ran, "last");
        drop(undo);
        assert_eq!(*ran.borrow(), ["last", "fails", "first"]);
        assert_eq!(*reported.borrow(), ["undo `fails`: Device or resource busy (os error 16)"]);
    }

    #[test]
    fn commit_runs_nothing() {
        let ran = RefCell::default();
        let mut undo = Undo::new(|error| panic!("{error}"));
        push(&mut undo, &ran, "fails");
        undo.commit();
        assert!(ran.borrow().is_empty());
    }

    #[test]
    fn rollback_returns_failures_and_reports_none() {
        let ran = RefCell::default();
        let mut undo = Undo::new(|error| panic!("{error}"));
        push(&mut undo, &ran, "fails");
        push(&mut undo, &ran, "last");
        let failed = undo.rollback();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].step, "fails");
        assert_eq!(*ran.borrow(), ["last", "fails"]);
    }
}
