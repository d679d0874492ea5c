//! The counters again whenever they change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::Duration;

use crate::contents::Counters;
use crate::error::Error;
use crate::store::Store;

/// The counters of a store, once at first and then each time after they have changed. It never ends
/// by itself; a failure is an item, after which it goes on.
///
/// Between two looks at the file it sleeps for the given time and holds nothing, so several changes
/// can come as one.
#[derive(Debug)]
pub struct Watch {
    store: Store,
    interval: Duration,
    seen: Option<Seen>,
    revision: Option<u64>,
}

/// What a change of the file changes: which file it is, and when it was written.
type Seen = Option<(u64, i64, i64)>;

impl Watch {
    pub(crate) fn new(store: Store, interval: Duration) -> Self {
        Self { store, interval, seen: None, revision: None }
    }

    fn look(&self) -> Seen {
        let found = fs::metadata(self.store.file()).ok()?;
        Some((found.ino(), found.mtime(), found.mtime_nsec()))
    }
}

impl Iterator for Watch {
    type Item = Result<Counters, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let found = self.look();
            if self.seen.replace(found) == Some(found) {
                thread::sleep(self.interval);
                continue;
            }
            match self.store.counters() {
                // Written to, but not changed: an allocation that was refused.
                Ok(counters) if self.revision == Some(counters.revision) => {}
                Ok(counters) => {
                    self.revision = Some(counters.revision);
                    return Some(Ok(counters));
                }
                // Somebody works with it: the next look finds what came of it.
                Err(Error::Busy { .. }) => self.seen = None,
                Err(error) => {
                    self.revision = None;
                    return Some(Err(error));
                }
            }
        }
    }
}
