//! The file of durations. The input is a byte that says whether checksums are mended, the call that
//! is counted, and the file from its second slot on.
#![no_main]

use std::time::Duration;

use cni_proto::Verb;
use fuzz::Folder;
use libfuzzer_sys::fuzz_target;
use telemetry::{Durations, Failure, PLUGINS};

const SLOT: usize = 256;
const MAGIC: &[u8; 24] = b"node-ipam durations 1\n\0\0";

fuzz_target!(|bytes: &[u8]| {
    let Some((&[mends, plugin, took, failure], slots)) = bytes.split_first_chunk() else { return };
    let mut file = MAGIC.to_vec();
    file.resize(SLOT, 0);
    file.extend_from_slice(slots);
    file.resize(SLOT * 31, 0);
    if mends & 1 == 1 {
        for slot in file[SLOT..].chunks_exact_mut(SLOT) {
            let checksum = crc32fast::hash(&slot[4..]);
            slot[..4].copy_from_slice(&checksum.to_le_bytes());
        }
    } else if mends & 2 == 2 {
        file.truncate(SLOT + slots.len());
    }
    let folder = Folder::new();
    let path = folder.file("durations", &file).expect("a file");
    let durations = Durations::new(path);
    let before = durations.read().expect("the file is there");
    let plugin = PLUGINS[usize::from(plugin) % PLUGINS.len()];
    let failure = Failure::ALL.get(usize::from(failure)).copied();
    let took = Duration::from_micros(1 << (took % 40));
    durations.count(plugin, Verb::Add, failure, took).expect("the file is there");
    let of = |all: &[telemetry::Measured]| {
        let is_it = |it: &&telemetry::Measured| {
            it.plugin == plugin && it.verb == Verb::Add && it.failed == failure.is_some()
        };
        let found = all.iter().find(is_it);
        found.map_or(0, telemetry::Measured::count)
    };
    let after = durations.read().expect("the file is there");
    assert!(of(&after) >= 1 && of(&after) >= of(&before), "{before:?} became {after:?}");
});
