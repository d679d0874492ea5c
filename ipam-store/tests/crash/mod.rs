//! The store's own transactions on disks that lose power, fail or have a byte flipped.
//!
//! A module of the crate, since what it opens is [`Phased`](crate::phased::Phased) on a storage of
//! the test's, where `Store` has a file. Lock and spare file are not in it.

mod cuts;
mod damage;
mod doubts;
mod format_1;
mod growth;
mod kills;
mod refusals;
mod script;
mod step;
