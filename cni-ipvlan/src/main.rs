//! CNI plugin: one ipvlan interface on the NIC of the node, addressed from the node's own pools.

fn main() {}
