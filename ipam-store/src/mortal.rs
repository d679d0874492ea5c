//! Deaths and failures at chosen steps, in tests: what a kill or a broken disk leaves.

/// A step at which a process can be killed. Tests name them by their number.
#[cfg(not(test))]
#[inline]
pub(crate) fn step() {}

/// Kills this process if it was started to die at this step.
#[cfg(test)]
pub(crate) fn step() {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static LAST: OnceLock<Option<usize>> = OnceLock::new();
    static STEPS: AtomicUsize = AtomicUsize::new(0);

    let last =
        LAST.get_or_init(|| std::env::var(LAST_STEP).ok().and_then(|text| text.parse().ok()));
    if let Some(last) = last
        && STEPS.fetch_add(1, Ordering::Relaxed) == *last
    {
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
        // The signal comes with the return from the call at the latest.
        std::thread::park();
    }
}

/// The variable with the number of the last step, from 0.
#[cfg(test)]
pub(crate) const LAST_STEP: &str = "IPAM_LAST_STEP";

/// A call to the disk, which is a step too.
///
/// # Errors
///
/// In tests, as `Broken` has it.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests let it fail")]
#[inline]
pub(crate) fn call() -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(crate) fn call() -> std::io::Result<()> {
    step();
    BROKEN.with(|broken| match broken.get() {
        Some((0, lasts)) => {
            broken.set(lasts.then_some((0, true)));
            Err(rustix::io::Errno::IO.into())
        }
        Some((calls, lasts)) => {
            broken.set(Some((calls - 1, lasts)));
            Ok(())
        }
        None => Ok(()),
    })
}

#[cfg(test)]
std::thread_local! {
    static BROKEN: std::cell::Cell<Option<(usize, bool)>> = const { std::cell::Cell::new(None) };
}

/// A disk that fails this thread's call with a number, from 0, and none or all after it, until this
/// is dropped.
#[cfg(test)]
pub(crate) struct Broken;

#[cfg(test)]
impl Broken {
    pub(crate) fn at(call: usize, lasts: bool) -> Self {
        BROKEN.set(Some((call, lasts)));
        Self
    }

    /// Whether this thread has made so many calls.
    pub(crate) fn has_failed() -> bool {
        !matches!(BROKEN.get(), Some((1.., _)))
    }
}

#[cfg(test)]
impl Drop for Broken {
    fn drop(&mut self) {
        BROKEN.set(None);
    }
}
