//! What a delegate prints, and `prevResult`: a result or an error.
#![no_main]

use cni_proto::{AddResult, Error, Version};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    if let Some(error) = Error::parse(bytes) {
        let printed = error.to_json(Version::V1_1_0).to_string();
        assert_eq!(Error::parse(printed.as_bytes()), Some(error));
    }
    let Ok(result) = AddResult::parse(bytes) else { return };
    for version in Version::SUPPORTED {
        let Ok(printed) = result.to_json(*version) else { continue };
        let again = AddResult::from_json(&printed).expect("what is printed is read");
        // Old versions have no place for all of it; what they have is the same each time.
        assert_eq!(again.to_json(*version), Ok(printed));
        if *version == Version::V1_1_0 {
            assert_eq!(again, result);
        }
    }
    let _: Value = result.to_json(Version::V1_1_0).expect("the newest has a place for all");
});
