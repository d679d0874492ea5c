//! A request that fails because a test wants it to. Not in any build that is installed.

use std::sync::{
    LazyLock,
    atomic::{AtomicU32, Ordering},
};

use rustix::io::Errno;

use crate::error::{Context, Result};

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

/// Fails if the next request of this process is to be refused; else answers what becomes of it.
pub(crate) fn refuse_if_chosen(context: Context<'_>) -> Result<Fate> {
    match next() {
        Fate::Refused => Err(context.errno(ERRNO)),
        fate => Ok(fate),
    }
}

/// Fails if the answer to a request that was served is to be lost.
pub(crate) fn lose_if_chosen(fate: Fate, context: Context<'_>) -> Result<()> {
    match fate {
        Fate::AnswerLost => Err(context.protocol("the answer was lost")),
        _ => Ok(()),
    }
}

/// The fate of the next request of this process: a netlink request, a transaction of `nf_tables` or
/// a write to a sysctl.
fn next() -> Fate {
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
const ERRNO: Errno = Errno::UCLEAN;
