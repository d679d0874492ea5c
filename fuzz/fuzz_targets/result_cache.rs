//! The runtime's result cache: each part of the input is the name of a file and its contents.
#![no_main]

use fuzz::{Folder, headed, parts};
use ipamctl::fuzzing::result_cache;
use libfuzzer_sys::fuzz_target;

/// What is told of a file, and of one that can mean anything.
const LONGEST_WARNING: usize = 64 << 10;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    let mut files = std::collections::BTreeSet::new();
    folder.file("results/.", b"");
    std::fs::create_dir_all(folder.path().join("results")).expect("a folder");
    for part in parts(bytes) {
        let (name, contents) = headed(part);
        files.extend(
            (!name.contains('/')).then(|| folder.file(&format!("results/{name}"), contents)),
        );
    }
    let (results, warnings) = result_cache(folder.path()).expect("the folder is there");
    let files = files.into_iter().flatten().count();
    assert!(results.len() <= files);
    assert!(results.len() + warnings.len() >= files, "a file was passed over");
    for warning in &warnings {
        assert!(warning.len() < LONGEST_WARNING + bytes.len(), "{} bytes", warning.len());
    }
});
