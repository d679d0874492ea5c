//! `ipamctl show ip`.

use crate::fixture::Fixture;

fn story(fixture: &Fixture, address: &str) -> String {
    fixture.shown(&["show", "ip", address, "--node-in-container"])
}

#[test]
fn an_address_has_its_whole_story() {
    let fixture = Fixture::new();
    for (address, parts) in [
        (
            "172.31.199.100",
            &["cloud (172.31.192.0/20)", "default/web-0 (uid uid-of-web-0)", "(2h)", "(alive)"][..],
        ),
        (
            "172.31.199.101",
            &[
                "held, fenced",
                "/run/netns/gone (gone)",
                "does not give it since 2026-11-21 22:26:40 UTC",
            ],
        ),
        ("172.31.199.106", &["<not told> (unknown)", "none on this node"]),
        ("172.31.199.102", &["State:", "fenced", "cloud-gone-v4-1795300000"]),
        ("172.31.199.110", &["cooling", "it cools down after its release", "60m ("]),
        ("172.31.199.112", &["sticky", "it waits for pod default/db-0 eth0"]),
        ("172.31.199.113", &["quarantined", "it is in quarantine: 02:00:00:00:00:07"]),
        ("172.31.199.121", &["reserved", "excludeIPs of the pool has it"]),
        ("172.31.199.150", &["reserved", "printers: on all nodes"]),
        ("172.31.199.160", &["free"]),
        ("172.31.199.170", &["pinned", "to pod default/cache-0, by cache"]),
        ("2001:db8:1:2::", &["reserved", "it is the network's or its broadcast address"]),
        ("9.9.9.9", &["none: no stored pool has it", "not managed here"]),
    ] {
        let shown = story(&fixture, address);
        for part in parts {
            assert!(shown.contains(part), "{address}: {part}\n{shown}");
        }
    }
}

#[test]
fn json_says_who_and_whether_the_node_was_seen() {
    let fixture = Fixture::new();
    let story = fixture.json(&["show", "ip", "172.31.199.105", "--node-in-container"]);
    assert_eq!(story["kind"], "AddressStory");
    assert_eq!(story["state"], "held");
    assert_eq!(story["holder"]["life"], "gone");
    assert_eq!(story["holder"]["podName"], "web-2");
    assert_eq!(story["nodeSeen"], true);
}

#[test]
fn the_former_holders_are_told_the_latest_first() {
    let fixture = Fixture::new();
    let shown = story(&fixture, "172.31.199.105");
    assert!(!shown.contains("Before:"), "{shown}");
    fixture.shown(&["release", "172.31.199.105", "--node-in-container"]);
    let mut next = crate::fixture::lease("172.31.199.105", "cloud", Some("web-8"), None);
    next.attachment.container = "c-later".parse().unwrap();
    assert_eq!(fixture.store().adopt(&[next.clone()], |_| false).unwrap(), []);
    fixture.store().release(&next.attachment).unwrap();
    let shown = story(&fixture, "172.31.199.105");
    let before: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("Before:")).collect();
    let [first, second] = before.as_slice() else { panic!("{shown}") };
    assert!(first.contains("pod default/web-8 (ipvlan-eth0/c-later/eth0) for 2h"), "{first}");
    assert!(first.ends_with("ago): released"), "{first}");
    assert!(second.contains("pod default/web-2 "), "{second}");
    assert!(second.ends_with("ago): released by hand"), "{second}");
    let json = fixture.json(&["show", "ip", "172.31.199.105", "--node-in-container"]);
    let how: Vec<&str> = json["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["ended"].as_str().unwrap())
        .collect();
    assert_eq!(how, ["released", "releasedByHand"]);
}
