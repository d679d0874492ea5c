//! The records of what the coordinator made, one on a line, and what is made or undone by them.
#![no_main]

use cni_coordinator::{Wiring, host_steps, unplan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut wirings = Vec::new();
    for line in text.lines().take(8) {
        match Wiring::from_json(line) {
            Ok(wiring) => {
                let again = Wiring::from_json(&wiring.to_json());
                assert_eq!(again.expect("what was written is read"), wiring);
                wirings.push(wiring);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    for step in host_steps(&wirings) {
        assert!(!step.to_string().is_empty());
    }
    if let Some((first, others)) = wirings.split_first() {
        let _ = first.turn();
        for step in unplan(first, others) {
            assert!(!step.to_string().is_empty());
        }
    }
});
