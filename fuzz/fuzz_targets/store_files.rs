//! The files beside the database: what was applied, the lock's note, a slip and its name, the
//! database's header, and keys. The first byte says which.
#![no_main]

use fuzz::Folder;
use ipam_store::fuzzing::{declared, header, key, note, slip, slip_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let text = str::from_utf8(bytes).unwrap_or_default();
    match which {
        b'd' => {
            let folder = Folder::new();
            let file = folder.file("declared.yaml", bytes).expect("a file");
            if let Err(error) = declared(&file) {
                assert!(error.to_string().contains("declared.yaml"), "{error}");
            }
        }
        b'l' => note(text),
        b'n' => slip_name(text),
        b's' => {
            let folder = Folder::new();
            let file = folder.file("slip", bytes).expect("a file");
            slip(&std::fs::File::open(file).expect("it was made"));
        }
        b'h' => {
            header(bytes);
        }
        _ => key(bytes),
    }
});
