//! The export of a store, with the checksum that its content has.
#![no_main]

use ipamctl::fuzzing::export;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let error = match export(text) {
        Ok(again) => return again_is(&again),
        Err(error) => format!("{error:#}"),
    };
    // The checksum that is wanted stands in the error.
    let Some((_, rest)) = error.split_once("the content has ") else { return };
    let Some((checksum, _)) = rest.split_once(": it was damaged") else { return };
    let mut value: Value = serde_json::from_str(text).expect("it was read");
    // To read a fraction and to write it gives another one. The format has none.
    if has_fraction(&value) {
        return;
    }
    value["checksum"] = checksum.into();
    match export(&value.to_string()) {
        Ok(again) => again_is(&again),
        Err(error) => assert!(!format!("{error:#}").contains("it was damaged"), "{error:#}"),
    }
});

fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn again_is(again: &str) {
    assert_eq!(export(again).expect("what was written is read"), again);
    // A value changed is damage.
    if let Some(at) =
        again.find("\"written\": {").and_then(|at| Some(at + again[at..].find(": 1")?))
    {
        let changed = format!("{}: 2{}", &again[..at], &again[at + 3..]);
        assert!(export(&changed).is_err(), "{changed}");
    }
}
