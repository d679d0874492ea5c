use std::cell::RefCell;

use super::*;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const PROXY: MacAddr = MacAddr([2, 0, 0, 0, 0, 3]);

/// Who answers, from which round on.
#[derive(Default)]
struct Fake {
    answers: Vec<(u32, &'static str, MacAddr)>,
    heard: RefCell<Vec<Claim>>,
    asked: RefCell<Vec<(IpAddr, Option<IpAddr>)>>,
    rounds: RefCell<u32>,
}

impl Wire for Fake {
    fn ask(&self, target: IpAddr, sender: Option<IpAddr>) -> Result<(), cni_net::Error> {
        self.asked.borrow_mut().push((target, sender));
        let round = *self.rounds.borrow();
        let answers = self.answers.iter().filter(|(from, address, _)| {
            *from <= round && (*address == "*" || ip(address) == target)
        });
        let claim = |&(_, _, mac): &(u32, &str, MacAddr)| Claim { address: target, mac };
        self.heard.borrow_mut().extend(answers.map(claim));
        Ok(())
    }

    fn hear(&self, _: Instant) -> Result<Option<Claim>, cni_net::Error> {
        let claim = self.heard.borrow_mut().pop();
        if claim.is_none() {
            *self.rounds.borrow_mut() += 1;
        }
        Ok(claim)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn known() -> Known {
    let addresses = vec!["10.0.0.1/24".parse().unwrap()];
    Known { own: OWN, proxies: BTreeSet::new(), addresses }
}

fn found(answers: Vec<(u32, &'static str, MacAddr)>, known: &Known, need: bool) -> Finding {
    let wire = Fake { answers, ..Fake::default() };
    let deadline = Instant::now() + Duration::from_secs(60);
    let gateways = BTreeSet::from([ip("10.0.0.254")]);
    let required = if need { gateways.clone() } else { BTreeSet::new() };
    ask(&wire, &[ip("10.0.0.7")], &gateways, &required, known, deadline).unwrap()
}

fn conflict_with(mac: MacAddr) -> Finding {
    Finding::Conflict(Conflict { address: ip("10.0.0.7"), mac, is_own: mac == OWN })
}

#[test]
fn who_else_has_an_address() {
    let known = &known();
    assert_eq!(found(vec![], known, false), Finding::Free);
    assert_eq!(found(vec![(0, "10.0.0.7", OTHER)], known, false), conflict_with(OTHER));
    assert_eq!(found(vec![(2, "10.0.0.7", OTHER)], known, false), conflict_with(OTHER), "slow");
    assert_eq!(found(vec![(0, "10.0.0.7", OWN)], known, false), conflict_with(OWN));
    assert_eq!(found(vec![(0, "10.0.0.8", OTHER)], known, false), Finding::Free);
}

#[test]
fn a_gateway_that_answers_for_all_says_nothing_and_one_may_be_required() {
    let known = &known();
    assert_eq!(found(vec![(0, "*", PROXY)], known, true), Finding::Free);
    let both = vec![(0, "*", PROXY), (1, "10.0.0.7", OTHER)];
    assert_eq!(found(both, known, true), conflict_with(OTHER));
    assert_eq!(found(vec![], known, true), Finding::NoGateway(ip("10.0.0.254")));
}

#[test]
fn a_proxy_says_nothing_and_its_owner_behind_it_does() {
    let known = &Known { proxies: BTreeSet::from([(Family::V4, PROXY)]), ..known() };
    assert_eq!(found(vec![(0, "10.0.0.7", PROXY)], known, false), Finding::Free);
    assert_eq!(found(vec![(0, "10.0.0.7", CLOUD_PROXIES[0])], known, false), Finding::Free);
    let both = vec![(0, "10.0.0.7", PROXY), (0, "10.0.0.7", OTHER)];
    assert_eq!(found(both, known, false), conflict_with(OTHER));
}

#[test]
fn the_second_question_has_a_sender_and_the_others_none() {
    let wire = Fake::default();
    let deadline = Instant::now() + Duration::from_secs(60);
    let known = known();
    let none = BTreeSet::new();
    ask(&wire, &[ip("10.0.0.7")], &none, &none, &known, deadline).unwrap();
    let target = ip("10.0.0.7");
    let asked = [None, Some(ip("10.0.0.1")), None].map(|sender| (target, sender));
    assert_eq!(*wire.asked.borrow(), asked);
}

#[test]
fn a_gateway_alone_is_asked_until_it_answers() {
    let deadline = Instant::now() + Duration::from_secs(60);
    let gateway = BTreeSet::from([ip("10.0.0.254")]);
    for (from, times) in [(0, 1), (1, 2), (9, 3)] {
        let wire = Fake { answers: vec![(from, "10.0.0.254", OTHER)], ..Fake::default() };
        let found = ask(&wire, &[], &gateway, &gateway, &known(), deadline).unwrap();
        assert_eq!(found == Finding::Free, from < 3, "{found:?}");
        assert_eq!(wire.asked.borrow().len(), times, "answers from {from} on");
    }
}

#[test]
fn a_proxy_answers_for_what_nobody_has_of_its_family() {
    let deadline = Instant::now() + Duration::from_secs(60);
    let both = ["10.0.0.0/24", "fd00::/64"].map(|net| sentinels(net.parse().unwrap(), 0));
    let of = |answers, sentinels: &[IpAddr]| {
        let wire = Fake { answers, ..Fake::default() };
        Vec::from_iter(proxies(&wire, sentinels, &known(), deadline).unwrap())
    };
    let four = &both[0];
    assert_eq!(of(vec![(0, "*", PROXY)], four), [(Family::V4, PROXY)]);
    assert_eq!(of(vec![(0, "10.0.0.0", OTHER)], four), [], "one answer is a mistake");
    assert_eq!(of(vec![(0, "10.0.0.0", OTHER), (0, "10.0.0.255", PROXY)], four), []);
    assert_eq!(of(vec![(0, "*", OWN)], four), [], "what this NIC said itself");
    assert_eq!(of(vec![], four), []);
    let of_four = vec![(0, "10.0.0.0", PROXY), (0, "10.0.0.255", PROXY)];
    assert_eq!(of(of_four, &both.concat()), [(Family::V4, PROXY)]);
    let of_both = [(Family::V4, PROXY), (Family::V6, PROXY)];
    assert_eq!(of(vec![(0, "*", PROXY)], &both.concat()), of_both);
    let known = Known { proxies: BTreeSet::from([(Family::V4, PROXY)]), ..known() };
    assert!(known.is_proxied(ip("10.0.0.7")) && !known.is_proxied(ip("fd00::7")));
}

#[test]
fn sentinels_are_of_the_subnet_and_of_nobody() {
    let of = |net: &str| sentinels(net.parse().unwrap(), 0x1234_5678_9abc_def0);
    assert_eq!(of("172.31.192.0/20"), [ip("172.31.192.0"), ip("172.31.207.255")]);
    assert_eq!(of("10.0.0.0/31"), Vec::<IpAddr>::new());
    let six = of("fd00:1::/64");
    let net: IpNet = "fd00:1::/64".parse().unwrap();
    assert!(six.len() == 2 && six[0] != six[1] && six.iter().all(|it| net.contains(it)));
    assert_eq!(of("fd00::/112"), Vec::<IpAddr>::new());
}
