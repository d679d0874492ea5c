//! Frames of the NIC's segment, which anybody there can send, and messages of the kernel.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni_net::MacAddr;
use cni_net::fuzzing::{claim, frames, nsfs_mount, question};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(claim) = claim(bytes) {
        assert!(!claim.address.is_unspecified() || claim.address.is_ipv6(), "{claim:?}");
    }
    let lengths = frames(bytes);
    assert!(lengths.iter().sum::<usize>() <= bytes.len());
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some((_, path)) = nsfs_mount(line) {
            assert!(path.as_os_str().len() <= line.len());
        }
    }
    if let Some((head, _)) = bytes.split_first_chunk::<38>() {
        let mac = MacAddr(*head.first_chunk().expect("38 bytes"));
        let v6 = |at: usize| {
            IpAddr::V6(Ipv6Addr::from_octets(*head[at..].first_chunk().expect("38 bytes")))
        };
        let v4 = |at: usize| {
            IpAddr::V4(Ipv4Addr::from_octets(*head[at..].first_chunk().expect("38 bytes")))
        };
        for (target, sender) in [(v4(6), v4(22)), (v6(6), v6(22)), (v4(6), v6(22)), (v6(6), v4(22))]
        {
            let frame = question(target, mac, Some(sender));
            // A question of ARP claims its sender; a solicitation claims nothing.
            let expected = (target.is_ipv4() && sender.is_ipv4() && !sender.is_unspecified())
                .then_some((sender, mac));
            assert_eq!(claim(&frame).map(|claim| (claim.address, claim.mac)), expected);
        }
    }
});
