//! The directory of host-local: each part of the input is the name of a file and its contents. The
//! plugin, which takes over at the first ADD, and `import host-local` have to read the same.
#![no_main]

use std::collections::BTreeSet;

use fuzz::{Folder, headed, parts};
use ipam_core::{NetworkName, PoolName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = Folder::new();
    let directory = folder.path().join("net");
    std::fs::create_dir(&directory).expect("a folder");
    for part in parts(bytes) {
        let (name, contents) = headed(part);
        if !name.contains('/') {
            folder.file(&format!("net/{name}"), contents);
        }
    }
    let network: NetworkName = "net".parse().expect("a name");
    let pool: PoolName = "p".parse().expect("a name");
    let (reservations, abandoned, _) =
        ipamctl::fuzzing::host_local(folder.path(), &network).expect("the folder is there");
    let leases = cni_ipam::fuzzing::host_local(&directory, &network, &pool).expect("it is there");
    let held: BTreeSet<_> = leases.iter().map(|lease| (lease.address, &lease.attachment)).collect();
    assert_eq!(held.len(), leases.len(), "an address twice");
    for (address, container, ifname) in &reservations {
        let lease = leases.iter().find(|lease| lease.address == *address);
        let attachment = &lease.expect("a reservation is taken over").attachment;
        assert_eq!(&attachment.container, container);
        assert!(ifname.as_ref().is_none_or(|ifname| *ifname == attachment.ifname));
    }
    for address in &abandoned {
        assert!(leases.iter().all(|lease| lease.address != *address), "{address} is nobody's");
    }
});
