//! What a person sees while something takes its time: one line on the terminal of standard error,
//! which goes when it is done. Nowhere else, and not in the first moments.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less is not worth a line.
const SILENT: Duration = Duration::from_millis(300);
/// How often it is drawn.
const INTERVAL: Duration = Duration::from_millis(100);

/// Something that is being done. It ends where this is dropped.
pub(crate) struct Progress {
    done: Arc<AtomicU64>,
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Of something whose end cannot be told.
    pub(crate) fn of(what: &'static str) -> Self {
        Self::start(what, None)
    }

    /// Of so many parts, each of which is told to [`Self::one_more`].
    pub(crate) fn of_parts(what: &'static str, parts: usize) -> Self {
        Self::start(what, Some(parts as u64))
    }

    /// One part more is done.
    pub(crate) fn one_more(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    fn start(what: &'static str, parts: Option<u64>) -> Self {
        let done = Arc::new(AtomicU64::new(0));
        if !io::stderr().is_terminal() {
            return Self { done, thread: None };
        }
        let (sender, end) = mpsc::channel::<()>();
        let counted = Arc::clone(&done);
        // Who works is never held up by what is drawn.
        let thread = thread::spawn(move || {
            if end.recv_timeout(SILENT) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = bar(what, parts);
            while end.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                bar.set_position(counted.load(Ordering::Relaxed));
                bar.tick();
            }
            bar.finish_and_clear();
        });
        Self { done, thread: Some((sender, thread)) }
    }
}

fn bar(what: &'static str, parts: Option<u64>) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(10);
    let bar = ProgressBar::with_draw_target(parts, target).with_message(what);
    let template = match parts {
        Some(_) => "{msg}: {pos} of {len} [{bar:20}] {elapsed}",
        None => "{spinner} {msg} {elapsed}",
    };
    match ProgressStyle::with_template(template) {
        // ASCII: the locale may have nothing else.
        Ok(style) => bar.with_style(style.tick_chars("|/-\\ ").progress_chars("#>-")),
        Err(_) => bar,
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.thread.take() {
            drop(sender);
            // The line is gone before anything else is written.
            drop(thread.join());
        }
    }
}
