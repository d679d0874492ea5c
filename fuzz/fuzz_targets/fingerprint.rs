//! What cni-ipvlan remembers of a NIC's segment.
#![no_main]
#![allow(dead_code, unreachable_pub)] // the module is the plugin's

use cni_net::MacAddr;
use fuzz::Folder;
use libfuzzer_sys::fuzz_target;

#[path = "../../cni-ipvlan/src/fingerprint.rs"]
mod fingerprint;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    let file = folder.file("1-2-ipv4.json", bytes).expect("a file");
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    if let Some(kind) = fingerprint::recall(&file, mac, &[]) {
        fingerprint::remember(&file, mac, &[], kind);
        assert_eq!(fingerprint::recall(&file, mac, &[]), Some(kind));
    }
});
