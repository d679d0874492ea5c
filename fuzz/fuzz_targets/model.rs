//! Any order of applying pools, deciding, releasing, quarantine, reclaiming and time equals a naive
//! oracle over single addresses.
//!
//! Steps, oracle and checks are those of `ipam-core/tests/model`, which feeds them from proptest.
//! Eight bytes are the policy, then each [`STEP_BYTES`] one step.
#![no_main]

#[path = "../../ipam-core/tests/model/decision.rs"]
mod decision;
#[path = "../../ipam-core/tests/model/node.rs"]
mod node;
#[path = "../../ipam-core/tests/model/oracle.rs"]
mod oracle;
#[path = "../../ipam-core/tests/model/plans.rs"]
mod plans;
#[path = "../../ipam-core/tests/model/steps.rs"]
mod steps;

use libfuzzer_sys::fuzz_target;

use crate::steps::{PolicyPlan, STEP_BYTES, Step};

fuzz_target!(|bytes: &[u8]| {
    let (policy, steps) = bytes.split_at(bytes.len().min(8));
    node::run(PolicyPlan::decode(policy), steps.chunks(STEP_BYTES).map(Step::decode));
});
