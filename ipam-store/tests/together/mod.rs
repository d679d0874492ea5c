//! Processes that wait for the lock and are served by who has it.
//!
//! A module of the crate, since it makes slips by hand and kills processes at steps that only tests
//! have.

mod deaths;
mod failures;
mod order;
mod overdue;
mod rooms;
mod scene;
mod slips;
