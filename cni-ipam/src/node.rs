//! What the node says about time and namespaces.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ipam_core::{BootId, Moment, NetnsRef, Stamp};
use rustix::time::{ClockId, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Now, by the clock that counts suspended time too and never goes back, and by the wall's.
pub(crate) fn now() -> Stamp {
    let boot: Option<BootId> =
        fs::read_to_string(BOOT_ID).ok().and_then(|text| text.trim().parse().ok());
    let seconds = clock_gettime(ClockId::Boottime).tv_sec;
    Stamp {
        boot,
        moment: Moment(u64::try_from(seconds).unwrap_or_default()),
        unix_seconds: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    }
}

/// A namespace by its path, with the inode by which it is recognised when the path is gone.
pub(crate) fn netns(path: &Path) -> NetnsRef {
    NetnsRef {
        path: path.display().to_string(),
        inode: fs::metadata(path).ok().map(|metadata| metadata.ino()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_of_this_boot_and_does_not_go_back() {
        let (first, second) = (now(), now());
        assert_eq!(first.boot, second.boot);
        assert!(first.boot.is_some() && first.moment.0 > 0 && first.moment <= second.moment);
        assert!(first.unix_seconds > 1_700_000_000);
    }

    #[test]
    fn a_namespace_is_known_by_its_inode() {
        let own = netns(Path::new("/proc/self/ns/net"));
        let link = fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(format!("net:[{}]", own.inode.unwrap()), link.to_string_lossy());
        assert_eq!(netns(Path::new("/nowhere")).inode, None);
    }
}
