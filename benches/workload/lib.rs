//! The operations that are measured and the states they start from; all seeds are fixed.
//!
//! This is the only part of the package that knows the interfaces of the crates under test: the
//! bench targets name a case, take an operation from here and time it.

mod book;
mod case;
mod durable;
mod rack;
mod random;
mod resident;
mod texts;

pub use book::{BookHolding, BookRack, full_book};
pub use case::{CASES, Case, LISTED_CASES, every_second_free};
pub use durable::{Durable, DurableHolding};
pub use rack::{Holding, Rack};
pub use resident::resident_bytes;
pub use texts::{
    parse_list, parse_pool, parse_ranges, pool_document, range_list, range_texts, read_document,
    refusal,
};

use ipam_core::{Asker, Attachment, Demand, Pool, PoolSpec};

/// How many operations are timed together, because one takes about as long as reading the clock
/// twice. Every rack has room for as many at once.
pub const BATCH: u32 = 32;

/// Where the measured pool stands among those of [`pools`].
const MEASURED: usize = 3;

/// Four pools as the seed cluster has them: one fits the asker, three do not.
fn pools(measured_subnet: &str) -> Vec<Pool> {
    vec![
        pool("worker-172", "172.31.192.0/20", "worker", "ipvlan-eth0"),
        pool("worker-192", "192.168.0.0/24", "worker", "ipvlan-eth1"),
        pool("master-192", "192.168.1.0/24", "master", "ipvlan-eth1"),
        pool("measured", measured_subnet, "master", "ipvlan-eth0"),
    ]
}

/// How many nodes have room for a [`BATCH`] where each has this many free addresses.
fn copies(free: u128) -> u32 {
    if free >= BATCH.into() { 1 } else { BATCH }
}

fn spec(subnet: &str, node: &str, network: &str) -> PoolSpec {
    PoolSpec {
        subnet: subnet.into(),
        ips: vec![subnet.into()],
        node_name: vec![node.into()],
        multus_name: vec![network.into()],
        default: Some(true),
        ..PoolSpec::default()
    }
}

fn pool(name: &str, subnet: &str, node: &str, network: &str) -> Pool {
    Pool::new(name, &spec(subnet, node, network)).expect("the pool is valid")
}

/// The demand of sandbox number `serial` of the measured node.
fn demand(serial: u32) -> Demand {
    let attachment = Attachment {
        network: "ipvlan-eth0".parse().expect("a valid name"),
        container: format!("{serial:064x}").parse().expect("a valid name"),
        ifname: "eth0".parse().expect("a valid name"),
    };
    let asker = Asker::new(
        "master".parse().expect("a valid name"),
        "ipvlan-eth0".parse().expect("a valid name"),
    );
    Demand::new(attachment, asker)
}
