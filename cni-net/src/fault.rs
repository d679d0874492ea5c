//! A request that fails because a test wants it to. Not in any build that is installed.

use std::sync::{
    LazyLock,
    atomic::{AtomicU32, Ordering},
};

use rustix::io::Errno;

/// The environment variable with the number of the request that fails, counted from 1: `7` is
/// refused unasked, `7+` is done and its answer lost.
const VARIABLE: &str = "CNI_NET_FAULT";

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Served,
    Refused,
    AnswerLost,
}

/// The fate of the next request of this process: a netlink request or a write to a sysctl.
pub(crate) fn next() -> Fate {
    static CHOSEN: LazyLock<Option<(u32, Fate)>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (number, fate) = match text.strip_suffix('+') {
            Some(number) => (number, Fate::AnswerLost),
            None => (text.as_str(), Fate::Refused),
        };
        Some((number.parse().ok()?, fate))
    });
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    match *CHOSEN {
        Some((chosen, fate)) if chosen == number => {
            eprintln!("cni-net: request {number} is {fate:?}, as {VARIABLE} says");
            fate
        }
        _ => Fate::Served,
    }
}

/// What an injected refusal answers: nothing else in this crate makes an `EUCLEAN`.
pub(crate) const ERRNO: Errno = Errno::UCLEAN;
