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
