//! Who has an address on a segment of two namespaces.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cni_net::{Claim, MacAddr, Segment};

mod namespace;

use namespace::TestNetns;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OWNER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// `up0` here and `up0` there, which has two addresses.
fn two() -> (TestNetns, TestNetns) {
    let (here, there) = (TestNetns::new(), TestNetns::new());
    let peer = there.path();
    let peer = peer.file_name().unwrap().to_string_lossy().into_owned();
    here.ip(&format!(
        "link add up0 address {MAC} type veth peer name up0 address {OWNER} netns {peer}"
    ));
    for netns in [&here, &there] {
        netns.ip("link set up0 up");
    }
    there.ip("addr add 10.0.3.7/24 dev up0");
    there.ip("addr add fd00:3::7/64 dev up0 nodad");
    (here, there)
}

/// The claims to `target` that are heard within `within` after one question.
fn claims(here: &TestNetns, target: &str, sender: Option<&str>, within: Duration) -> Vec<Claim> {
    let target: IpAddr = target.parse().unwrap();
    let sender = sender.map(|sender| sender.parse().unwrap());
    here.open()
        .run(|| {
            let link = cni_net::Netlink::open().unwrap().link("up0").unwrap().unwrap();
            let segment = Segment::open(&link).unwrap();
            segment.ask(target, sender).unwrap();
            let deadline = Instant::now() + within;
            let mut claims = Vec::new();
            while let Some(claim) = segment.hear(deadline).unwrap() {
                if claim.address == target {
                    claims.push(claim);
                    break;
                }
            }
            claims
        })
        .unwrap()
}

#[test]
fn the_owner_answers_a_probe_and_a_question() {
    let (here, _there) = two();
    let long = Duration::from_secs(20);
    for (target, sender) in
        [("10.0.3.7", None), ("10.0.3.7", Some("10.0.3.1")), ("fd00:3::7", None)]
    {
        let expected = Claim { address: target.parse().unwrap(), mac: OWNER };
        assert_eq!(claims(&here, target, sender, long), [expected], "{target} from {sender:?}");
    }
}

#[test]
fn nobody_answers_for_a_free_address_and_the_deadline_holds() {
    let (here, _there) = two();
    let began = Instant::now();
    for target in ["10.0.3.8", "fd00:3::8"] {
        assert_eq!(claims(&here, target, None, Duration::from_millis(150)), []);
    }
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_link_that_is_down_says_so() {
    let (here, _there) = two();
    here.ip("link set up0 down");
    let error = here.open().run(|| {
        let link = cni_net::Netlink::open().unwrap().link("up0").unwrap().unwrap();
        let segment = Segment::open(&link).unwrap();
        segment.ask("10.0.3.7".parse().unwrap(), None).unwrap_err()
    });
    assert_eq!(error.unwrap().to_string(), "ask the segment of up0: Network is down (errno 100)");
}
