//! Deaths at chosen steps, in tests: what a kill at just that moment leaves.

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
