//! A metadata service that answers anything.
//!
//! The input's first part is the name of the provider. Each other one is a line `PATH STATUS
//! MILLISECONDS` and a body: the answer to that path, several of one path one after the other, the
//! last for good. A status of 0 is no answer. What is not there is a 404, and the token a token.
#![no_main]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use cloud::fuzzing::{Script, Told};
use cloud::{Nic, ProviderName, Reading};
use fuzz::{headed, parts};
use ipam_core::{AddressRange, RangeSet};
use ipamctl::fuzzing::proposed;
use libfuzzer_sys::fuzz_target;

const DEADLINE: Duration = Duration::from_secs(30);

/// An answer takes so long at least, so that time bounds the number of requests.
const LEAST: Duration = Duration::from_millis(5);

type Answers = BTreeMap<String, VecDeque<(Duration, Option<Told>)>>;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = parts(bytes);
    let name = parts.next().and_then(|name| str::from_utf8(name).ok()?.parse().ok());
    let name = name.unwrap_or(ProviderName::Alibaba);
    let answers = RefCell::new(answers(parts));
    let script = Script::new(|path: &str| {
        let mut answers = answers.borrow_mut();
        let Some(told) = answers.get_mut(path.strip_prefix("meta-data/").unwrap_or(path)) else {
            let told = if path == "api/token" { (200, "t".into()) } else { (404, Vec::new()) };
            return (LEAST, Some(told));
        };
        if told.len() > 1 { told.pop_front() } else { told.front().cloned() }.expect("one is kept")
    });
    let read = script.read(name, DEADLINE);
    let (requests, elapsed) = script.spent();
    assert!(elapsed <= DEADLINE, "{elapsed:?}");
    assert!(requests <= 30_000 / 5, "{requests} requests");
    match read {
        Ok(reading) => check(&reading),
        Err(error) => {
            let text = error.to_string();
            // Texts of the service are shortened and escaped.
            assert!(text.len() < 2000 && !text.contains('\n'), "{text:?}");
        }
    }
    let mac = "00:16:3e:ac:c7:b7".parse().expect("a MAC");
    let before = script.spent().1;
    for address in ["172.31.199.185", "2408::1"] {
        let _ = script.owns(name, Duration::from_millis(100), mac, address.parse().expect("one"));
    }
    assert!(script.spent().1 - before <= 2 * Duration::from_millis(100));
});

fn answers<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Answers {
    let mut answers = Answers::new();
    for part in parts {
        let (head, body) = headed(part);
        let mut words = head.split(' ');
        let path = words.next().unwrap_or_default().to_owned();
        let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(200);
        let millis = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let told = (status != 0).then(|| (status, body.to_vec()));
        let took = Duration::from_millis(millis).max(LEAST);
        answers.entry(path).or_default().push_back((took, told));
    }
    answers
}

/// The guarantees of a reading, and what `sync` makes of it.
fn check(reading: &Reading) {
    assert!(!reading.nics.is_empty());
    let mut seen = RangeSet::new();
    for nic in &reading.nics {
        assert!(
            !nic.id.is_empty() && nic.id.bytes().all(|byte| byte.is_ascii_graphic()),
            "{nic:?}"
        );
        let all = of(nic);
        let shared = seen.intersection(&all);
        assert!(shared.is_empty(), "{shared} belongs to two NICs: {reading:?}");
        seen = seen.union(&all);
        let counted = nic.primary.iter().len() + nic.secondary.len() + nic.ipv6.len();
        let blocks: RangeSet = nic.prefixes.iter().copied().map(AddressRange::from).collect();
        let sizes = nic.prefixes.iter().fold(0_u128, |sum, prefix| {
            sum.saturating_add(RangeSet::from(AddressRange::from(*prefix)).size())
        });
        assert_eq!(blocks.size(), sizes, "blocks overlap: {nic:?}");
        assert_eq!(all.size(), sizes.saturating_add(counted as u128), "{nic:?}");
        let subnets =
            [nic.subnet_v4.map(ipnet::IpNet::from), nic.subnet_v6.map(ipnet::IpNet::from)];
        let subnets: RangeSet = subnets.into_iter().flatten().map(AddressRange::from).collect();
        assert!(all.is_subset(&subnets), "{nic:?} has what is not in its subnets");
        for gateway in gateways(nic) {
            assert!(!all.contains(gateway), "{gateway} is the gateway's: {nic:?}");
        }
    }
    let own = reading.nics.iter().filter_map(|nic| nic.ipv6.first().copied());
    let own: RangeSet = own.map(IpAddr::from).collect();
    let Ok(proposed) = proposed(reading, &own) else { return };
    assert!(proposed.is_subset(&seen.difference(&own)), "{proposed} of {reading:?}");
    for nic in &reading.nics {
        let primary = nic.primary.map(IpAddr::from);
        assert!(primary.is_none_or(|primary| !proposed.contains(primary)), "{reading:?}");
        assert!(gateways(nic).all(|gateway| !proposed.contains(gateway)), "{reading:?}");
    }
}

fn of(nic: &Nic) -> RangeSet {
    let v4 = nic.primary.iter().chain(&nic.secondary).copied().map(IpAddr::from);
    let single = v4.chain(nic.ipv6.iter().copied().map(IpAddr::from)).map(AddressRange::from);
    single.chain(nic.prefixes.iter().copied().map(AddressRange::from)).collect()
}

fn gateways(nic: &Nic) -> impl Iterator<Item = IpAddr> {
    nic.gateway_v4.map(IpAddr::from).into_iter().chain(nic.gateway_v6.map(IpAddr::from))
}
