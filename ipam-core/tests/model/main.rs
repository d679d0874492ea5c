//! Any order of applying pools, deciding, releasing, quarantine, reclaiming and time equals a naive
//! oracle over single addresses, in what it answers and in what the book says afterwards.

mod decision;
mod node;
mod oracle;
mod plans;
mod steps;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::node::Seen;
use crate::steps::{PolicyPlan, STEP_BYTES, Step};

#[test]
fn every_step_equals_the_oracles() {
    let policy = any::<[u8; 8]>().prop_map(|bytes| PolicyPlan::decode(&bytes));
    let step = any::<[u8; STEP_BYTES]>().prop_map(|bytes| Step::decode(&bytes));
    let steps = prop::collection::vec(step, 0..80);
    let config = Config { cases: 1500, failure_persistence: None, ..Config::default() };
    let seen = std::cell::RefCell::new(Seen::new());
    let outcome = TestRunner::new(config).run(&(policy, steps), |(policy, steps)| {
        for (name, count) in node::run(policy, steps) {
            *seen.borrow_mut().entry(name).or_default() += count;
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // A generator that no longer gets there proves nothing.
    let seen = seen.into_inner();
    let origins = ["Chosen", "Requested", "TakenOver", "Returned", "Pinned", "Early"];
    let given = (0..4).flat_map(|strategy| origins.map(|origin| format!("{strategy} {origin}")));
    let refused = ["NoPool", "Exhausted", "AlreadyHeld"].map(str::to_owned);
    let reasons = [
        "NoPool",
        "Excluded",
        "Reserved",
        "Pinned",
        "Held",
        "Resting",
        "SecondOfFamily",
        "TakenBefore",
    ];
    let reasons = reasons.map(|reason| format!("not {reason}"));
    for name in given.chain(refused).chain(reasons).chain(["woken".to_owned()]) {
        let count = seen.get(&name).copied().unwrap_or_default();
        assert!(count >= 5, "{name} was seen {count} times only: {seen:#?}");
    }
}
