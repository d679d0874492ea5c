//! The records of the database and of slips: the first byte is the kind, the rest the payload.
#![no_main]

use ipam_store::fuzzing::{record, unsealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    unsealed(bytes);
    if let Some((kind, payload)) = bytes.split_first() {
        record(*kind, payload);
    }
});
