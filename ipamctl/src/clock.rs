//! Times as people read them.

use std::time::{Duration, UNIX_EPOCH};

use telemetry::rfc3339;

/// A moment of the wall clock in UTC, to the second; 1970 for one that no clock comes to.
pub(crate) fn utc(unix_seconds: u64) -> String {
    let moment = UNIX_EPOCH.checked_add(Duration::from_secs(unix_seconds)).unwrap_or(UNIX_EPOCH);
    let written = rfc3339(moment);
    let to_the_second = written.split('.').next().unwrap_or_default();
    format!("{} UTC", to_the_second.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `date -u -d @SECONDS` has them.
    #[test]
    fn a_moment_is_its_date_and_time_in_utc() {
        for (unix_seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (u64::MAX, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (1_795_305_600, "2026-11-22 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(unix_seconds), expected);
        }
    }
}
