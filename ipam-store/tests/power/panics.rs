//! Panics as answers: caught, and not printed a thousand times.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    /// The last panic of the work, for the message of the next.
    static FIRST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`; a panic is an error with its message. Other threads' panics print as before, and
/// so does a second one within the same work: a panic while another unwinds ends the process.
pub(crate) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !CATCHING.get() {
                return before(info);
            }
            let first = FIRST.replace(Some(info.to_string()));
            if let Some(first) = first {
                eprintln!("{first}\nand then");
                before(info);
            }
        }));
    });
    let outer = CATCHING.replace(true);
    FIRST.set(None);
    // Whoever catches looks at nothing that the work has touched but a disk in memory.
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHING.set(outer);
    outcome.map_err(|payload| message(payload.as_ref()))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
