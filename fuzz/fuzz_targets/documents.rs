//! Files with documents of pools and reservations: what `ipamctl apply` takes.
#![no_main]

use fuzz::Folder;
use ipam_core::{PoolDocument, ReservedDocument};
use ipamctl::fuzzing::documents;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    let file = folder.file("pools.yaml", bytes).expect("a file");
    let Ok((pools, reserved, faults, warnings)) = documents(&file) else {
        assert!(str::from_utf8(bytes).is_err(), "a text is read");
        return;
    };
    for line in faults.iter().chain(&warnings) {
        assert!(!line.contains('\n'), "{line:?} has several lines");
        assert!(line.contains("pools.yaml"), "{line:?} does not say where");
    }
    // What was taken is taken again as it is written, by a parser of JSON and by one of YAML.
    let written = pools
        .iter()
        .map(|pool| serde_json::to_string(&PoolDocument::from(pool)))
        .chain(reserved.iter().map(|one| serde_json::to_string(&ReservedDocument::from(one))))
        .map(|text| text.expect("a document of texts"))
        .collect::<Vec<_>>();
    if written.is_empty() {
        return;
    }
    let file = folder.file("again.yaml", written.join("\n---\n").as_bytes()).expect("a file");
    let (again, reserved_again, faults, _) = documents(&file).expect("it is text");
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!((again, reserved_again), (pools, reserved));
});
