//! Asks the NIC's segment about the addresses that a pod is about to get.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use cni_net::{Error, Family, Link, MacAddr, Netlink, Netns, Segment};
use cni_proto::AddResult;
use ipnet::IpNet;
use rustix::time::{ClockId, clock_gettime};

use crate::config::IpvlanConfig;
use crate::conflict::{self, Finding, Known, ROUND};
use crate::fingerprint::{self, Kind};

/// How long all questions of one ADD may take; what is done between them does not count.
const BUDGET: Duration = Duration::from_millis(200);

/// Who is asked: the segment, the cloud, or nobody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Detection {
    /// No: the cloud, or whoever wrote the pools, vouches for the addresses.
    #[default]
    Off,
    /// Unless somebody answers for every address of the segment, as clouds do.
    Auto,
    /// Always; what a proxy answers says nothing then.
    Arp,
    /// The cloud, by its metadata, whether the address is still for this NIC.
    Metadata,
}

impl FromStr for Detection {
    type Err = UnknownDetection;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            "arp" => Ok(Self::Arp),
            "metadata" => Ok(Self::Metadata),
            _ => Err(UnknownDetection),
        }
    }
}

/// The text is no way to detect.
#[derive(Debug, thiserror::Error)]
#[error("it must be off, auto, arp or metadata")]
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
    left: Duration,
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
        let asks_nobody = matches!(config.detect, Detection::Off | Detection::Metadata);
        if asks_nobody && !config.detect_gateway {
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
            left: BUDGET,
        }))
    }

    /// What the segment says about the addresses and gateways that were given.
    pub(crate) fn find(&mut self, given: &AddResult) -> Result<Finding, Error> {
        let began = Instant::now();
        let found = self.find_until(given, began + self.left);
        self.left = self.left.saturating_sub(began.elapsed());
        found
    }

    /// Whether there is no time left to ask about another address: too short a wait would take every
    /// one for free.
    pub(crate) fn is_over(&self) -> bool {
        self.left < ROUND
    }

    fn find_until(&self, given: &AddResult, deadline: Instant) -> Result<Finding, Error> {
        let known = self.known(given, deadline)?;
        let proxied = |address: &IpAddr| known.is_proxied(*address);
        let mut targets: Vec<IpAddr> = given.ips.iter().map(|ip| ip.address.addr()).collect();
        let mut gateways: BTreeSet<IpAddr> = given.ips.iter().filter_map(|ip| ip.gateway).collect();
        // Whom a proxy speaks for does not show that he is there.
        let mut required = gateways.clone();
        required.retain(|gateway| self.must_have_gateway && !proxied(gateway));
        match self.detection {
            Detection::Off | Detection::Metadata => targets.clear(),
            Detection::Auto => targets.retain(|target| !proxied(target)),
            Detection::Arp => {}
        }
        let families: BTreeSet<_> = targets.iter().copied().map(Family::of).collect();
        gateways.retain(|it| required.contains(it) || families.contains(&Family::of(*it)));
        if targets.is_empty() && required.is_empty() {
            return Ok(Finding::Free);
        }
        conflict::ask(&self.segment, &targets, &gateways, &required, &known, deadline)
    }

    /// What the NIC's segment is like, remembered or found out.
    fn known(&self, given: &AddResult, deadline: Instant) -> Result<Known, Error> {
        let addresses = self.addresses.clone();
        let mut known = Known { own: self.own, proxies: BTreeSet::new(), addresses };
        let mut sentinels = BTreeMap::<Family, Vec<IpAddr>>::new();
        for ip in &given.ips {
            let family = Family::of(ip.address.addr());
            match fingerprint::recall(&self.file(family), self.own, &self.addresses) {
                Some(Kind::Plain) => {}
                Some(Kind::Proxied(proxy)) => drop(known.proxies.insert((family, proxy))),
                None => {
                    let asked = conflict::sentinels(ip.address.trunc(), draw());
                    sentinels.entry(family).or_default().extend(asked);
                }
            }
        }
        // Of a subnet without such addresses nothing is found out, and nothing remembered.
        sentinels.retain(|_, asked| !asked.is_empty());
        if sentinels.is_empty() {
            return Ok(known);
        }
        let all: Vec<IpAddr> = sentinels.values().flatten().copied().collect();
        let found = conflict::proxies(&self.segment, &all, &known, deadline)?;
        for family in sentinels.into_keys() {
            let proxy = found.iter().find(|(of, _)| *of == family);
            let kind = proxy.map_or(Kind::Plain, |(_, mac)| Kind::Proxied(*mac));
            fingerprint::remember(&self.file(family), self.own, &self.addresses, kind);
        }
        known.proxies.extend(found);
        Ok(known)
    }

    fn file(&self, family: Family) -> PathBuf {
        fingerprint::file(self.of_master.id(), self.master.index, family)
    }
}

/// From the clock: nobody can prepare for it.
fn draw() -> u64 {
    let clock = clock_gettime(ClockId::Boottime);
    clock.tv_nsec.unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
