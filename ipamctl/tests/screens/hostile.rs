//! Names of older databases that a terminal would obey.

use ipam_core::PodRef;

use crate::fixture::{Fixture, lease};

const NAME: &str = "web\u{1b}[2J\u{9b}31m\u{7}\u{202e}";

#[test]
fn no_name_reaches_a_terminal_as_an_order() {
    let fixture = Fixture::new();
    let mut hostile = lease("10.1.0.9", "big", Some("x"), Some("/run/netns/\u{1b}]0;gone\u{7}"));
    hostile.pod = Some(PodRef { namespace: "default".into(), name: NAME.into(), uid: None });
    if fixture.store().adopt(&[hostile], |_| false).is_err() {
        // Whoever refuses it needs no more.
        return;
    }
    for arguments in [
        &["get", "ips"][..],
        &["get", "ips", "-o", "wide"],
        &["show", "ip", "10.1.0.9", "--node-in-container"],
        &["gc", "--dry-run", "-o", "wide", "--node-in-container"],
        &["release", "10.1.0.9", "--dry-run", "--node-in-container"],
        &["delete", "pools", "big"],
        &["release", "10.1.0.9", "--node-in-container"],
        &["show", "ip", "10.1.0.9", "--node-in-container"],
    ] {
        let output = fixture.run(arguments);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("web\\u{1b}[2J"), "{arguments:?}: {said}");
        let obeyed = |it: char| it.is_control() && it != '\n' || it == '\u{202e}';
        assert!(!said.chars().any(obeyed), "{arguments:?}: {said:?}");
    }
    let story = fixture.json(&["show", "ip", "10.1.0.9", "--node-in-container"]);
    assert_eq!(story["history"][0]["podName"], NAME, "JSON escapes by itself");
}
