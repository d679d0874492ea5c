//! What the fuzz targets ask of this crate; compiled for them alone.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::mac::MacAddr;
use crate::solicitation::{self, Claim};
use crate::{answer, mountinfo};

/// The claim that a frame of the segment makes.
pub fn claim(frame: &[u8]) -> Option<Claim> {
    solicitation::claim(frame)
}

/// The frame that asks for an address.
pub fn question(target: IpAddr, mac: MacAddr, sender: Option<IpAddr>) -> Vec<u8> {
    solicitation::question(target, mac, sender)
}

/// The mounted network namespace of a line of mountinfo.
pub fn nsfs_mount(line: &[u8]) -> Option<(u64, PathBuf)> {
    mountinfo::nsfs_mount(line)
}

/// The length of each message of a netlink datagram, its errors read.
pub fn frames(datagram: &[u8]) -> Vec<usize> {
    let frames = answer::frames(datagram).filter_map(Result::ok);
    frames
        .map(|frame| {
            let (code, _) = answer::error_code(frame.payload, frame.flags);
            let (done, _) = answer::done_code(frame.payload, frame.flags);
            assert!(code >= i32::MIN && done >= 0);
            frame.whole.len()
        })
        .collect()
}
