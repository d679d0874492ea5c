//! The operator's hands on the pools and leases of a node.
#![warn(clippy::unwrap_used)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipamctl::main()
}
