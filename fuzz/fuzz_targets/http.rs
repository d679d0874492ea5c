//! The bytes of an HTTP answer, in whichever pieces they come.
#![no_main]

use cloud::fuzzing::{LONGEST, answer};
use libfuzzer_sys::fuzz_target;

/// Pieces of so many bytes for long inputs: each piece is parsed from the beginning.
const MOST_PIECES: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let closed = answer(bytes, true);
    let whole = answer(bytes, false);
    assert_ne!(closed, Ok(None), "nothing more can come");
    match &whole {
        Ok(None) => {}
        other => assert_eq!(&closed, other, "what is decided does not hang on the end"),
    }
    for (_, body) in [&closed, &whole].into_iter().flatten().flatten() {
        assert!(body.len() <= LONGEST.min(bytes.len()));
    }
    let step = bytes.len() / MOST_PIECES + 1;
    for end in (0..bytes.len()).step_by(step) {
        match answer(&bytes[..end], false) {
            Ok(None) => {}
            // What follows an answer is not looked at, and what is wrong stays wrong.
            early => assert_eq!(early.is_ok(), whole.is_ok(), "after {end} bytes: {early:?}"),
        }
    }
});
