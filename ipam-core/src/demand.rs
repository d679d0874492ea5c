//! What one attachment asks for.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::addr::Family;
use crate::hints::Source;
use crate::owner::{Attachment, PodRef};
use crate::select::Asker;

/// What one attachment asks for. Several demands are one decision: all get theirs, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demand {
    /// Who asks.
    pub attachment: Attachment,
    /// Its properties, for the pools' filters.
    pub asker: Asker,
    /// Its pod, where the runtime told: for takeover and sticky addresses.
    pub pod: Option<PodRef>,
    /// Which pools are offered.
    pub source: Source,
    /// Families without which the attachment is of no use, besides those that `source` names. A
    /// family that only default pools offer is given if it can be, and missed by nobody.
    pub required: Vec<Family>,
    /// Addresses that it wants and no others, at most one of each family.
    pub requested: Vec<IpAddr>,
}

impl Demand {
    /// A demand for whatever the default pools give.
    pub fn new(attachment: Attachment, asker: Asker) -> Self {
        Self {
            attachment,
            asker,
            pod: None,
            source: Source::Defaults,
            required: Vec::new(),
            requested: Vec::new(),
        }
    }
}
