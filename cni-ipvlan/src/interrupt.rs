//! A runtime's wish to stop, by signal: noted, and heard where it can be obeyed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Which signal came, if one did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicUsize>);

/// The signal that ended an ADD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interrupted(i32);

impl Interrupt {
    /// From now on the signals that end a process are noted instead. Before an ADD has anything to
    /// take back, and never for a verb that has nothing: there they should end it.
    ///
    /// A program that is started from here has them as ever: handlers do not outlive an exec.
    pub(crate) fn watch() -> Self {
        let interrupt = Self::default();
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            let number = usize::try_from(signal).unwrap_or_default();
            // Without it the signal ends the process, and the DEL that follows takes all back.
            let _ = signal_hook::flag::register_usize(signal, Arc::clone(&interrupt.0), number);
        }
        interrupt
    }

    /// # Errors
    /// A signal came.
    pub(crate) fn check(&self) -> Result<(), Interrupted> {
        match i32::try_from(self.0.load(Ordering::SeqCst)) {
            Ok(0) | Err(_) => Ok(()),
            Ok(signal) => Err(Interrupted(signal)),
        }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            SIGTERM => "SIGTERM",
            SIGINT => "SIGINT",
            _ => "SIGHUP",
        };
        write!(f, "interrupted by {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_noted_and_named() {
        let interrupt = Interrupt::watch();
        assert_eq!(interrupt.check(), Ok(()));
        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert_eq!(interrupt.check().unwrap_err().to_string(), "interrupted by SIGHUP");
    }
}
