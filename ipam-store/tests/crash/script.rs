//! What a node does in its life, by seed: operations, reboots, kills.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipam_core::{Pool, PoolSpec, Reserved, ReservedSpec};

use super::step::{Operation, Step, stamp};
use crate::declared::Declared;
use crate::power::image::Dice;

const CONTAINERS: usize = 48;

/// Addresses of each family that the pools have at first, from 1.
const FIRST_SIZE: usize = 60;

pub(super) fn at(family: usize, number: usize) -> IpAddr {
    let number = u16::try_from(number).unwrap();
    if family == 0 {
        Ipv4Addr::from_bits(0x0a00_0000 + u32::from(number)).into()
    } else {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number).into()
    }
}

/// A pool of each family with addresses up to the number `last`, of which some are reserved.
pub(super) fn declared(last: usize) -> Declared {
    let pool = |name: &str, subnet: &str, family: usize| {
        let spec = PoolSpec {
            subnet: subnet.into(),
            ips: vec![format!("{}-{}", at(family, 1), at(family, last))],
            default: Some(true),
            ..PoolSpec::default()
        };
        Pool::new(name, &spec).unwrap()
    };
    let reserved = |name: &str, family: usize| {
        let ips = vec![at(family, 2).to_string(), at(family, 50).to_string()];
        Reserved::new(name, &ReservedSpec { ip_version: None, ips }).unwrap()
    };
    Declared {
        pools: vec![pool("master-v4", "10.0.0.0/16", 0), pool("master-v6", "fd00::/64", 1)],
        reserved: vec![reserved("gateways-v4", 0), reserved("gateways-v6", 1)],
    }
}

/// `count` steps: pools are applied, then pods come and go. In the middle the node is rebooted,
/// and now and then a pool grows or the file is looked after.
pub(super) fn script(count: usize, seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed, 0);
    let (mut boot, mut seconds) = (0, 1000);
    let mut steps = Vec::new();
    for number in 0..count {
        if number == count / 2 {
            (boot, seconds) = (1, 20);
        }
        seconds += dice.below(12) as u64;
        let container = dice.below(CONTAINERS);
        let operation = match dice.below(32) {
            _ if number == 0 => Operation::Apply(declared(FIRST_SIZE)),
            0..16 => Operation::Allocate { container, pod: container / 2, requested: Vec::new() },
            16..18 => {
                let requested = at(dice.below(2), 1 + dice.below(FIRST_SIZE));
                let pod = CONTAINERS + container;
                Operation::Allocate { container, pod, requested: vec![requested] }
            }
            18..27 => Operation::Release { container },
            27 => {
                let live = (0..CONTAINERS).filter(|_| dice.below(10) > 0).collect();
                Operation::Reclaim { live }
            }
            28 => {
                let address = at(dice.below(2), 1 + dice.below(FIRST_SIZE));
                Operation::Quarantine { address }
            }
            29 => Operation::Apply(declared(FIRST_SIZE + number)),
            30 => Operation::Verify,
            _ => Operation::Compact,
        };
        steps.push(Step { operation, now: stamp(boot, seconds), killed: dice.below(4) == 0 });
    }
    steps
}
