//! What a person should know and the protocol has no place for: lines on stderr, which runtimes log.

use ipam_core::{Lease, WhyFreed};

/// A lease that was freed although nobody released it.
pub(crate) fn freed(lease: &Lease, why: WhyFreed) {
    let pod = lease.pod.as_ref().map(|pod| format!(" (pod {pod})")).unwrap_or_default();
    line(&format!("freed {} of {}{pod}: {why}", lease.address, lease.attachment));
}

/// Any other event.
pub(crate) fn line(text: &str) {
    eprintln!("cni-ipam: {text}");
}
