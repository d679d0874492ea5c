//! Who holds an address, in words that find it.

use ipam_core::{Attachment, Lease, PodRef};

/// The holder of a lease.
pub(crate) fn of(lease: &Lease) -> String {
    words(lease.pod.as_ref(), &lease.attachment)
}

/// The pod as far as the runtime named one, and the attachment.
pub(crate) fn words(pod: Option<&PodRef>, attachment: &Attachment) -> String {
    match pod {
        Some(pod) => format!("pod {pod} ({attachment})"),
        None => attachment.to_string(),
    }
}
