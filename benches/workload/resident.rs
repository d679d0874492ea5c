//! How much memory this process has.

use std::fs;

/// The resident memory of this process in bytes (`VmRSS` of `/proc/self/status`, proc(5), which is
/// `resident` of `statm` without the page size).
///
/// # Panics
///
/// If there is no `/proc`.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.expect("VmRSS is a number of kB") * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_becomes_resident() {
        let before = resident_bytes();
        let bytes = vec![1_u8; 32 << 20];
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown >= 24 << 20, "{grown} for {}", bytes.len());
    }
}
