//! The version that the call of this process is answered in, for whoever must answer in its place:
//! the panic hook, which gets no argument. The only state of this crate; one process, one call.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::version::Version;

/// An index into [`Version::SUPPORTED`], or beyond it before a configuration was read.
static INDEX: AtomicUsize = AtomicUsize::new(usize::MAX);

pub(crate) fn remember(version: Version) {
    let index = Version::SUPPORTED.iter().position(|known| *known == version);
    INDEX.store(index.unwrap_or(usize::MAX), Ordering::Relaxed);
}

pub(crate) fn remembered() -> Option<Version> {
    Version::SUPPORTED.get(INDEX.load(Ordering::Relaxed)).copied()
}
