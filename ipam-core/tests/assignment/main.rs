//! Which address is chosen, and why not another: one named test for each rule of a decision.

mod node;
mod questions;
mod requests;
mod rests;
mod returning;
mod strategies;
mod together;
