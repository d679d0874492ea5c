//! Asks the NIC's segment about the addresses that a pod is about to get.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use cni_net::{Error, Link, MacAddr, Netlink, Netns, Segment};
use cni_proto::AddResult;
use ipnet::IpNet;
use rustix::time::{ClockId, clock_gettime};

use crate::config::IpvlanConfig;
use crate::conflict::{self, Finding, Known};
use crate::fingerprint::{self, Kind};

/// How long all questions of one ADD may take.
const BUDGET: Duration = Duration::from_millis(200);

/// Whether the segment is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Detection {
    /// No: the cloud, or whoever wrote the pools, vouches for the addresses.
    #[default]
    Off,
    /// Unless somebody answers for every address of the segment, as clouds do.
    Auto,
    /// Always; what a proxy answers says nothing then.
    Arp,
}

impl FromStr for Detection {
    type Err = UnknownDetection;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            "arp" => Ok(Self::Arp),
            _ => Err(UnknownDetection),
        }
    }
}

/// The text is no way to detect.
#[derive(Debug, thiserror::Error)]
#[error("it must be off, auto or arp")]
pub(crate) struct UnknownDetection;

/// The segment of a NIC, for one ADD.
pub(crate) struct Detector<'a> {
    detection: Detection,
    must_have_gateway: bool,
    segment: Segment,
    master: &'a Link,
    own: MacAddr,
    addresses: Vec<IpNet>,
    of_master: &'a Netns,
    deadline: Instant,
}

impl<'a> Detector<'a> {
    /// Opens the segment of `master`, which is in `of_master`, where `outside` is a socket; `None` if
    /// nothing is to be asked.
    pub(crate) fn open(
        config: &IpvlanConfig,
        master: &'a Link,
        outside: &mut Netlink,
        of_master: &'a Netns,
    ) -> Result<Option<Self>, Error> {
        if config.detect == Detection::Off && !config.detect_gateway {
            return Ok(None);
        }
        let segment = of_master.run(|| Segment::open(master))??;
        let addresses = outside.addresses(master.index)?;
        Ok(Some(Self {
            detection: config.detect,
            must_have_gateway: config.detect_gateway,
            own: segment.mac(),
            segment,
            master,
            addresses: addresses.into_iter().map(|address| address.net).collect(),
            of_master,
            deadline: Instant::now() + BUDGET,
        }))
    }

    /// What the segment says about the addresses and gateways that were given.
    pub(crate) fn find(&self, given: &AddResult) -> Result<Finding, Error> {
        let mut known = Known { own: self.own, proxy: None, addresses: self.addresses.clone() };
        if let Kind::Proxied(proxy) = self.kind(given, &known)? {
            known.proxy = Some(proxy);
        }
        if known.proxy.is_some() && self.detection != Detection::Arp {
            return Ok(Finding::Free);
        }
        let mut targets: Vec<IpAddr> = given.ips.iter().map(|ip| ip.address.addr()).collect();
        if self.detection == Detection::Off {
            targets.clear();
        }
        let gateways: BTreeSet<IpAddr> = given.ips.iter().filter_map(|ip| ip.gateway).collect();
        let must_have_gateway = self.must_have_gateway && known.proxy.is_none();
        conflict::ask(&self.segment, &targets, &gateways, must_have_gateway, &known, self.deadline)
    }

    /// Whether there is no time left to ask about another address.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn kind(&self, given: &AddResult, known: &Known) -> Result<Kind, Error> {
        let file = fingerprint::file(self.of_master.id(), self.master.index);
        if let Some(kind) = fingerprint::recall(&file, self.own, &self.addresses) {
            return Ok(kind);
        }
        // From the clock: nobody can prepare for it.
        let clock = clock_gettime(ClockId::Boottime);
        let draw = clock.tv_nsec.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let sentinels: Vec<IpAddr> =
            given.ips.iter().flat_map(|ip| conflict::sentinels(ip.address.trunc(), draw)).collect();
        let proxy = conflict::proxy(&self.segment, &sentinels, known, self.deadline)?;
        let kind = proxy.map_or(Kind::Plain, Kind::Proxied);
        fingerprint::remember(&file, self.own, &self.addresses, kind);
        Ok(kind)
    }
}
