//! Power cuts, failing disks and flipped bytes for whatever keeps its state in a redb database.
//!
//! A workload runs on the [`tape`]'s device, which records what reaches the disk, and marks on the
//! tape which operation has begun and which was answered. [`sweep`] then cuts the power at every
//! point of the tape and hands every disk image that could be left to a check. [`faults`] makes
//! each call to a disk fail in turn, [`flips`] damages a file byte by byte.
//!
//! Knows redb's [`StorageBackend`](redb::StorageBackend) and nothing of what is stored.
#![allow(dead_code, reason = "each includer takes the part that it needs")]

pub(crate) mod disk;
pub(crate) mod faults;
pub(crate) mod flips;
pub(crate) mod image;
pub(crate) mod panics;
pub(crate) mod sweep;
pub(crate) mod tape;
