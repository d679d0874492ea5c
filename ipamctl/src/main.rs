//! The operator's hands on the pools and leases of a node.

fn main() {}
