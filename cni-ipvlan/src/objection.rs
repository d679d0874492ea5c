//! What speaks against an address that a pod is about to get, by those who are asked.

use std::fmt;
use std::net::IpAddr;

use cni_net::{Link, Netlink, Netns};
use cni_proto::{AddResult, Code, Error};

use crate::config::IpvlanConfig;
use crate::conflict::Finding;
use crate::detect::{Detection, Detector};
use crate::ownership::Ownership;
use crate::plugin::warn;

/// Why an address is not to be used, though the pools have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Objection {
    pub(crate) address: IpAddr,
    /// What it is instead of free.
    pub(crate) what: &'static str,
    /// By what that is known.
    pub(crate) seen: String,
}

impl Objection {
    /// Somebody else has it.
    pub(crate) fn in_use(address: IpAddr, seen: String) -> Self {
        Self { address, what: "in use", seen }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, what, seen } = self;
        write!(f, "{address} is {what}: {seen}")
    }
}

/// Whoever is asked about the addresses of one ADD.
pub(crate) struct Inquiry<'a> {
    master: &'a Link,
    cloud: Option<Ownership>,
    segment: Option<Detector<'a>>,
}

impl<'a> Inquiry<'a> {
    /// As the configuration wants it. Who cannot be asked at all is not.
    pub(crate) fn open(
        config: &IpvlanConfig,
        master: &'a Link,
        outside: &mut Netlink,
        of_master: &'a Netns,
    ) -> Self {
        let is_cloud = config.detect == Detection::Metadata;
        let cloud = is_cloud.then(|| Ownership::of(master, config.detect_endpoint));
        let segment = Detector::open(config, master, outside, of_master);
        let segment = segment.unwrap_or_else(|error| {
            warn(&error.to_string());
            None
        });
        Self { master, cloud: cloud.flatten(), segment }
    }

    /// Whether anybody is asked.
    pub(crate) fn asks(&self) -> bool {
        self.cloud.is_some() || self.segment.is_some()
    }

    /// Whether the segment has no time left to be asked about another address.
    pub(crate) fn is_over(&self) -> bool {
        self.segment.as_ref().is_some_and(Detector::is_over)
    }

    /// What speaks against one of these addresses. Who cannot answer says nothing.
    ///
    /// # Errors
    /// A gateway that must answer does not.
    pub(crate) fn objection(&mut self, given: &AddResult) -> Result<Option<Objection>, Error> {
        if let Some(cloud) = &mut self.cloud {
            match cloud.objection(given) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => {
                    warn(&format!("the addresses are used without the cloud's word: {error}"));
                }
            }
        }
        let Some(segment) = &mut self.segment else { return Ok(None) };
        match segment.find(given) {
            Ok(Finding::Free) => Ok(None),
            Ok(Finding::Conflict(conflict)) => {
                Ok(Some(Objection::in_use(conflict.address, conflict.to_string())))
            }
            Ok(Finding::NoGateway(gateway)) => {
                let name = &self.master.name;
                let msg = format!("gateway {gateway} does not answer on {name}: see detectGateway");
                Err(Error::new(Code::TRY_AGAIN, msg))
            }
            Err(error) => {
                warn(&error.to_string());
                Ok(None)
            }
        }
    }
}
