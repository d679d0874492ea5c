//! Any sequence of asking and releasing equals a naive oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::IpAddr;

use ipam_core::{AddressRange, Asker, Occupancy, Pool, PoolSpec, Refused, Source, assign, select};
use proptest::prelude::*;

struct Held<'a>(&'a BTreeMap<IpAddr, u8>);

impl Occupancy for Held<'_> {
    type Error = Infallible;

    fn lowest_free(&self, range: &AddressRange) -> Result<Option<IpAddr>, Infallible> {
        Ok(range.addresses().find(|address| !self.0.contains_key(address)))
    }
}

#[derive(Debug, Clone)]
enum Step {
    Ask { who: u8, node: u8, network: u8 },
    Release { who: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..24_u8, 0..3_u8, 0..3_u8)
            .prop_map(|(who, node, network)| Step::Ask { who, node, network }),
        1 => (0..24_u8).prop_map(|who| Step::Release { who }),
    ];
    prop::collection::vec(step, 0..120)
}

/// A pool as plain sets: node, network, addresses.
struct Naive {
    node: Option<u8>,
    network: Option<u8>,
    addresses: BTreeSet<IpAddr>,
}

/// Four pools over two nodes and two networks, one of them open to any network and one of IPv6.
fn pools() -> (Vec<Pool>, Vec<Naive>) {
    let table = [
        ("a", "10.0.0.0/24", "10.0.0.2-10.0.0.4", Some(0), Some(0)),
        ("b", "10.0.0.0/24", "10.0.0.8-10.0.0.9", Some(0), None),
        ("c", "10.0.1.0/24", "10.0.1.250-10.0.1.255", Some(1), Some(1)),
        ("d", "fd00::/64", "fd00::-fd00::3", None, Some(1)),
    ];
    let build = |(name, subnet, ips, node, network): (&str, &str, &str, _, _)| {
        let spec = PoolSpec {
            subnet: subnet.into(),
            ips: vec![ips.into()],
            node_name: Option::<u8>::into_iter(node).map(|n| format!("node{n}")).collect(),
            multus_name: Option::<u8>::into_iter(network).map(|n| format!("net{n}")).collect(),
            default: Some(true),
            ..PoolSpec::default()
        };
        let edges = ["10.0.1.255", "fd00::"].map(|text| text.parse::<IpAddr>().unwrap());
        let mut addresses: BTreeSet<IpAddr> =
            ips.parse::<AddressRange>().unwrap().addresses().collect();
        addresses.retain(|address| !edges.contains(address));
        (Pool::new(name, &spec).unwrap(), Naive { node, network, addresses })
    };
    table.into_iter().map(build).unzip()
}

/// What the oracle gives: per family the lowest free address of the most specific pool.
fn oracle(
    pools: &[Naive],
    node: u8,
    network: u8,
    held: &BTreeMap<IpAddr, u8>,
) -> Option<Vec<IpAddr>> {
    let mut given = Vec::new();
    for v6 in [false, true] {
        let mut fitting: Vec<&Naive> = pools
            .iter()
            .filter(|pool| pool.addresses.iter().all(|address| address.is_ipv6() == v6))
            .filter(|pool| pool.node.is_none_or(|wanted| wanted == node))
            .filter(|pool| pool.network.is_none_or(|wanted| wanted == network))
            .collect();
        if fitting.is_empty() {
            continue;
        }
        fitting.sort_by_key(|pool| (pool.node.is_none(), pool.network.is_none()));
        let free = fitting
            .iter()
            .find_map(|pool| pool.addresses.iter().find(|address| !held.contains_key(address)));
        given.push(*free?);
    }
    (!given.is_empty()).then_some(given)
}

proptest! {
    #[test]
    fn every_answer_equals_the_oracles(steps in steps()) {
        let (pools, naive) = pools();
        let mut held: BTreeMap<IpAddr, u8> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Release { who } => held.retain(|_, holder| *holder != who),
                Step::Ask { who, node, network } => {
                    let asker = Asker {
                        node: format!("node{node}").parse().unwrap(),
                        network: format!("net{network}").parse().unwrap(),
                        namespace: None,
                    };
                    let selection = select(&pools, &Source::Defaults, &asker);
                    let Ok(answer) = assign(&selection, &asker, &Held(&held));
                    let expected = oracle(&naive, node, network, &held);
                    match answer {
                        Ok(given) => {
                            let addresses: Vec<IpAddr> = given.iter().map(|a| a.address).collect();
                            prop_assert_eq!(Some(addresses), expected);
                            for one in given {
                                prop_assert!(one.pool.assignable().contains(one.address));
                                prop_assert_eq!(held.insert(one.address, who), None);
                            }
                        }
                        Err(Refused::NoPool(reason)) => {
                            prop_assert_eq!(expected, None);
                            prop_assert_eq!(reason.refusals.len(), pools.len());
                        }
                        Err(_) => prop_assert_eq!(expected, None),
                    }
                }
            }
        }
    }
}
