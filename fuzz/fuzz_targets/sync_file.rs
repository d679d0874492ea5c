//! `sync.yaml`.
#![no_main]

use fuzz::Folder;
use ipamctl::fuzzing::sync_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    let file = folder.file("sync.yaml", bytes).expect("a file");
    match sync_file(&file) {
        Ok(settings) => assert!(str::from_utf8(bytes).is_ok(), "{settings}"),
        Err(error) => {
            let text = format!("{error:#}");
            assert!(!text.contains('\n'), "{text:?} has several lines");
        }
    }
});
