//! The files of a node that `ipamctl doctor` looks at, and networks' configurations among them: each
//! part of the input is a path below `/` and the file's contents. The first file is also read as
//! resolv.conf, and as the first of a directory of configurations.
#![no_main]

use fuzz::{Folder, headed, parts};
use ipamctl::fuzzing::{doctor, own_part};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    let mut first = None;
    for part in parts(bytes).take(32) {
        let (name, contents) = headed(part);
        // Nothing of the input is run.
        if !name.starts_with("opt") {
            let file = folder.file(name, contents);
            first = first.or(file.map(|file| (file, contents)));
        }
    }
    let out = doctor(folder.path()).expect("it says what it finds");
    let out = String::from_utf8(out).expect("a text");
    let is_shown = |c: char| !c.is_control() || c == '\n';
    assert!(out.chars().all(is_shown), "{out:?} drives the terminal");
    let Some((file, contents)) = first else { return };
    let dns = cni_ipam::fuzzing::dns(&file).expect("it is there");
    let words = dns.nameservers.iter().chain(&dns.search).chain(&dns.options).chain(&dns.domain);
    let read: usize = words.map(String::len).sum();
    assert!(read <= 3 * contents.len(), "{dns:?}");
    let directory = file.parent().expect("it is in the folder");
    if let Ok(Some(own)) = own_part(directory, &file, "net") {
        assert!(
            own.get("plugins")
                .is_none_or(|plugins| !plugins.is_array() || own["type"] == "cni-coordinator")
        );
    }
});
