//! What the node says about time.

use std::time::{SystemTime, UNIX_EPOCH};

use ipam_core::{BootId, Moment, Stamp};
use rustix::time::{ClockId, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Now, by the clock that counts suspended time too and never goes back (`CLOCK_BOOTTIME`), and by
/// the wall's, which only people read.
pub fn now() -> Stamp {
    let boot: Option<BootId> =
        std::fs::read_to_string(BOOT_ID).ok().and_then(|text| text.trim().parse().ok());
    let seconds = clock_gettime(ClockId::Boottime).tv_sec;
    Stamp {
        boot,
        moment: Moment(u64::try_from(seconds).unwrap_or_default()),
        unix_seconds: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
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
}
