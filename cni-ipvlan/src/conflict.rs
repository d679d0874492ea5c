//! Whether somebody else on the segment has an address, by what is heard there.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use cni_net::{Claim, Family, MacAddr, Segment};
use ipnet::IpNet;

/// How often each question is asked, and how long answers are waited for after each time.
const ROUNDS: u32 = 3;
pub(crate) const ROUND: Duration = Duration::from_millis(50);

/// What clouds answer every ARP request with, whoever has the address: Alibaba Cloud.
const CLOUD_PROXIES: [MacAddr; 1] = [MacAddr([0xee, 0xff, 0xff, 0xff, 0xff, 0xff])];

/// A link on which questions are asked and claims are heard.
pub(crate) trait Wire {
    fn ask(&self, target: IpAddr, sender: Option<IpAddr>) -> Result<(), cni_net::Error>;
    fn hear(&self, deadline: Instant) -> Result<Option<Claim>, cni_net::Error>;
}

impl Wire for Segment {
    fn ask(&self, target: IpAddr, sender: Option<IpAddr>) -> Result<(), cni_net::Error> {
        Segment::ask(self, target, sender)
    }

    fn hear(&self, deadline: Instant) -> Result<Option<Claim>, cni_net::Error> {
        Segment::hear(self, deadline)
    }
}

/// What is known before anybody is asked.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// The NIC's MAC, which all its pods share.
    pub(crate) own: MacAddr,
    /// Who answers for every address of a family.
    pub(crate) proxies: BTreeSet<(Family, MacAddr)>,
    /// The NIC's own addresses, to ask from.
    pub(crate) addresses: Vec<IpNet>,
}

impl Known {
    fn sender(&self, target: IpAddr) -> Option<IpAddr> {
        let has = |net: &&IpNet| net.contains(&target) && !target.is_unspecified();
        self.addresses.iter().find(has).map(IpNet::addr)
    }

    /// Whether somebody answers for every address of this one's family.
    pub(crate) fn is_proxied(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|(family, _)| *family == Family::of(address))
    }
}

/// What asking for addresses and gateways came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nobody claims an address, or only who claims every one.
    Free,
    /// Somebody has it.
    Conflict(Conflict),
    /// A gateway does not answer.
    NoGateway(IpAddr),
}

/// An address that somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conflict {
    pub(crate) address: IpAddr,
    pub(crate) mac: MacAddr,
    /// Whether it is a link of this very NIC.
    pub(crate) is_own: bool,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.is_own { ", a link of this NIC" } else { "" };
        write!(f, "{} answers for it on the segment{whose}", self.mac)
    }
}

/// Asks for `targets`, and for the gateways, whose MACs say nothing about others: a router may
/// answer for what is behind it. The gateways that are `required` must answer. Ends at the deadline;
/// a conflict ends it after a round, and so do the gateways' answers where nothing else is asked.
pub(crate) fn ask(
    wire: &impl Wire,
    targets: &[IpAddr],
    gateways: &BTreeSet<IpAddr>,
    required: &BTreeSet<IpAddr>,
    known: &Known,
    deadline: Instant,
) -> Result<Finding, cni_net::Error> {
    let mut claims = BTreeSet::new();
    let silent = |claims: &BTreeSet<(IpAddr, MacAddr)>| {
        let answers = |gateway: IpAddr| claims.iter().any(|(address, _)| *address == gateway);
        required.iter().copied().find(|gateway| !answers(*gateway))
    };
    let mut until = Instant::now();
    for round in 0..ROUNDS {
        for gateway in gateways {
            wire.ask(*gateway, known.sender(*gateway))?;
        }
        for target in targets {
            // A probe that nobody learns from, and in between a question, since a proxy may leave
            // a probe without answer and answer everything else.
            let sender = if round == 1 { known.sender(*target) } else { None };
            wire.ask(*target, sender)?;
        }
        until = (until + ROUND).min(deadline);
        while let Some(claim) = wire.hear(until)? {
            claims.insert((claim.address, claim.mac));
        }
        if let Some(conflict) = conflict(&claims, targets, gateways, known) {
            return Ok(Finding::Conflict(conflict));
        }
        if until == deadline || targets.is_empty() && silent(&claims).is_none() {
            break;
        }
    }
    Ok(silent(&claims).map_or(Finding::Free, Finding::NoGateway))
}

fn conflict(
    claims: &BTreeSet<(IpAddr, MacAddr)>,
    targets: &[IpAddr],
    gateways: &BTreeSet<IpAddr>,
    known: &Known,
) -> Option<Conflict> {
    let is_gateways =
        |mac: MacAddr| claims.iter().any(|(address, by)| *by == mac && gateways.contains(address));
    claims.iter().find_map(|&(address, mac)| {
        let says_nothing = known.proxies.contains(&(Family::of(address), mac))
            || CLOUD_PROXIES.contains(&mac)
            || is_gateways(mac);
        (targets.contains(&address) && !says_nothing).then_some(Conflict {
            address,
            mac,
            is_own: mac == known.own,
        })
    })
}

/// Who answers for addresses that no host can have, and so for every one of the family.
///
/// `sentinels` are two or more such addresses of each family that is asked about. A proxy answers
/// for several of them with one MAC.
pub(crate) fn proxies(
    wire: &impl Wire,
    sentinels: &[IpAddr],
    known: &Known,
    deadline: Instant,
) -> Result<BTreeSet<(Family, MacAddr)>, cni_net::Error> {
    let families: BTreeSet<_> = sentinels.iter().copied().map(Family::of).collect();
    let (mut claims, mut proxies) = (BTreeSet::new(), BTreeSet::new());
    let until = (Instant::now() + ROUND).min(deadline);
    for sentinel in sentinels {
        wire.ask(*sentinel, None)?;
        wire.ask(*sentinel, known.sender(*sentinel))?;
    }
    while let Some(Claim { address, mac }) = wire.hear(until)? {
        if !sentinels.contains(&address) || mac == known.own {
            continue;
        }
        let by = (Family::of(address), mac);
        claims.insert((by, address));
        if claims.iter().filter(|(of, _)| *of == by).count() >= 2 {
            proxies.insert(by);
        }
        if families.iter().all(|family| proxies.iter().any(|(of, _)| of == family)) {
            break;
        }
    }
    Ok(proxies)
}

/// Two addresses of a subnet that no host has: an IPv4 subnet's first and last (RFC 919, RFC 922),
/// and of IPv6 two that `draw` picks among all. None of a subnet that is too small for both hosts
/// and these.
pub(crate) fn sentinels(subnet: IpNet, draw: u64) -> Vec<IpAddr> {
    match subnet {
        IpNet::V4(net) if net.prefix_len() <= 30 => {
            vec![net.network().into(), net.broadcast().into()]
        }
        IpNet::V6(net) if net.prefix_len() <= 64 => {
            let within = |half: u64| (net.network().to_bits() | u128::from(half)).into();
            // Never the routers' anycast address, which ends in zeros (RFC 4291, section 2.6.1).
            [draw | 1, draw.rotate_left(31) ^ 0x5555_5555_5555_5555 | 2]
                .map(within)
                .map(IpAddr::V6)
                .to_vec()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
