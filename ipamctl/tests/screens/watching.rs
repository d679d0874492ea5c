//! `--watch`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::fixture::Fixture;

/// Ends what it started, whatever the test finds.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_change_is_shown_and_nothing_else() {
    let fixture = Fixture::new();
    let arguments = ["get", "ips", "--pod", "web-2", "-w", "-o", "json"];
    let mut child = fixture.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = Running(child);
    let mut next = || {
        let mut text = String::new();
        // Each answer ends with a brace at the beginning of a line.
        while !text.ends_with("\n}\n") {
            text.push_str(&lines.next().unwrap().unwrap());
            text.push('\n');
        }
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert_eq!(next()["items"].as_array().unwrap().len(), 1);
    // One of another pod changes the store, and not what is shown.
    let leases = fixture.store().contents().unwrap().leases;
    let of = |name: &str| {
        let is_it = |lease: &&ipam_core::Lease| lease.pod.as_ref().is_some_and(|p| p.name == name);
        leases.iter().find(is_it).unwrap().attachment.clone()
    };
    fixture.store().release(&of("web-1")).unwrap();
    fixture.store().release(&of("web-2")).unwrap();
    assert_eq!(next()["items"].as_array().unwrap().len(), 0);
    drop(running);
}
