//! What a person should know and the protocol has no place for: warnings of `tracing`. The programs
//! write them on stderr, which runtimes log, and where the configuration says (`telemetry`).

use ipam_core::{Lease, WhyFreed};

/// Whose words they are, in whatever program.
const TARGET: &str = crate::IPAM_TYPE;

/// A lease that was freed although nobody released it.
pub(crate) fn freed(lease: &Lease, why: WhyFreed) {
    let pod = lease.pod.as_ref().map(|pod| format!(" (pod {pod})")).unwrap_or_default();
    tracing::warn!(
        target: TARGET,
        event = "freed",
        address = %lease.address,
        pool = %lease.pool,
        holder = %lease.attachment,
        "freed {} of {}{pod}: {why}",
        lease.address,
        lease.attachment,
    );
}

/// Any other event.
pub(crate) fn line(text: &str) {
    tracing::warn!(target: TARGET, "{text}");
}
