//! A runtime's wish to stop, by signal: noted, and heard where it can be obeyed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fmt, thread};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

const SIGNALS: [i32; 3] = [SIGTERM, SIGINT, SIGHUP];

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
        for signal in SIGNALS {
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

    /// Does `wait`, which ends with a child process of this number, and hands the child each signal
    /// that comes meanwhile or came before, with its process group if it leads one: what it has
    /// started is to end too, or the pipes that are waited for stay open.
    pub(crate) fn hand_on_to<T>(&self, child: u32, wait: impl FnOnce() -> T) -> T {
        // A number may be another's once the child is waited for; this stays the child's.
        let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
        let process = pid.and_then(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)));
        let (Some((pid, process)), Ok(mut signals)) = (process, Signals::new(SIGNALS)) else {
            // The signal is heard when the child has ended by itself.
            return wait();
        };
        let hand_on = |signal| {
            if let Some(signal) = Signal::from_named_raw(signal) {
                // One that has ended needs none.
                if pidfd_send_signal(&process, signal).is_ok() {
                    let _ = kill_process_group(pid, signal);
                }
            }
        };
        if let Err(Interrupted(signal)) = self.check() {
            hand_on(signal);
        }
        let handle = signals.handle();
        thread::scope(|scope| {
            scope.spawn(|| signals.forever().for_each(hand_on));
            let waited = wait();
            handle.close();
            waited
        })
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
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    /// One test, as a signal comes to the whole process.
    #[test]
    fn a_signal_is_noted_and_named_and_handed_on_to_a_child() {
        let raise = |signal| signal_hook::low_level::raise(signal).unwrap();
        let interrupt = Interrupt::watch();
        assert_eq!(interrupt.check(), Ok(()));
        raise(SIGHUP);
        assert_eq!(interrupt.check().unwrap_err().to_string(), "interrupted by SIGHUP");
        for before in [true, false] {
            let interrupt = Interrupt::watch();
            let mut child = Command::new("sleep").arg("600").spawn().unwrap();
            if before {
                raise(SIGINT);
            }
            let status = interrupt.hand_on_to(child.id(), || {
                if !before {
                    raise(SIGINT);
                }
                child.wait().unwrap()
            });
            assert_eq!(status.signal(), Some(SIGINT), "{before}");
        }
    }
}
