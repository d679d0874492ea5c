//! What can happen to a node's pools and addresses, decoded from bytes, so that proptest and the
//! fuzzer share one generator.
//!
//! Every value is small on purpose: few names, few addresses, so that steps meet each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many bytes one step is decoded from. Any bytes are a step.
pub(crate) const STEP_BYTES: usize = 32;

/// How many pools there can be; the number of a pool says which [`Subnet`] it is in.
pub(crate) const POOLS: u8 = 5;
/// How many sandboxes there can be.
pub(crate) const CONTAINERS: u8 = 6;
/// How many networks, interfaces and nodes there are of each.
pub(crate) const PLACES: u8 = 2;
/// How many pods there are by uid.
pub(crate) const UIDS: u8 = 3;
/// The pods by name: two as a `StatefulSet` has them, one of another kind.
pub(crate) const POD_NAMES: [&str; 3] = ["web-0", "web-1", "job-x"];
/// How many addresses each subnet has.
pub(crate) const SIZE: u8 = 16;

/// One step.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Decides about these demands together, and writes the decision down.
    Decide(Vec<DemandPlan>),
    /// Ends all leases of an attachment.
    Release(Place),
    /// Creates or replaces a pool.
    Apply(PoolPlan),
    /// Time passes.
    Pass {
        /// So much.
        seconds: u64,
    },
    /// Puts an address of a pool into quarantine, held or not.
    Quarantine {
        /// The pool.
        pool: u8,
        /// Which of its addresses, counted round and round.
        number: u8,
        /// For how long.
        seconds: u64,
    },
    /// Ends the rest of an address before its time.
    Wake(IpAddr),
    /// Sets what is reserved on all nodes and what is the node's own, in one subnet.
    Reserve {
        /// The subnet.
        subnet: Subnet,
        /// One bit for each address.
        reserved: u16,
        /// One bit for each address.
        own: u16,
    },
    /// Keeps addresses of one subnet for a pod, in the place of those that were kept for it there.
    Pin(PinPlan),
    /// Changes the policy.
    Follow(PolicyPlan),
    /// Frees what the facts allow.
    Reclaim(FactsPlan),
}

/// Addresses that are kept for a pod.
#[derive(Debug, Clone)]
pub(crate) struct PinPlan {
    pub(crate) subnet: Subnet,
    /// The number of the pod's name.
    pub(crate) name: u8,
    pub(crate) network: Option<u8>,
    pub(crate) interface: Option<u8>,
    /// One bit for each address.
    pub(crate) addresses: u16,
}

/// An interface of a sandbox in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) container: u8,
    pub(crate) network: u8,
    pub(crate) interface: u8,
}

/// What one attachment asks for.
#[derive(Debug, Clone)]
pub(crate) struct DemandPlan {
    pub(crate) place: Place,
    pub(crate) node: u8,
    /// The number of the pod's name and that of its uid, as far as told.
    pub(crate) pod: Option<(u8, Option<u8>)>,
    /// IPv4 and IPv6 pools by number; `None` for the default pools.
    pub(crate) named: Option<(Vec<u8>, Vec<u8>)>,
    /// IPv4, IPv6.
    pub(crate) required: (bool, bool),
    pub(crate) requested: Vec<IpAddr>,
}

/// A pool that breaks no rule of its own; it may break those across pools.
#[derive(Debug, Clone)]
pub(crate) struct PoolPlan {
    pub(crate) pool: u8,
    /// One bit for each address of the subnet.
    pub(crate) ips: u16,
    /// One bit for each address of the subnet.
    pub(crate) excluded: u16,
    pub(crate) gateway: Option<u8>,
    pub(crate) node: Option<u8>,
    pub(crate) network: Option<u8>,
    pub(crate) default: bool,
    pub(crate) disable: bool,
}

/// A policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PolicyPlan {
    /// Lowest, round-robin, random, oldest-released.
    pub(crate) strategy: u8,
    pub(crate) seed: u64,
    pub(crate) cooldown_seconds: u64,
    pub(crate) refuse: bool,
    /// None, ordinal, all.
    pub(crate) sticky: u8,
    pub(crate) sticky_seconds: u64,
}

/// What is known of the node when leases are reclaimed.
#[derive(Debug, Clone)]
pub(crate) struct FactsPlan {
    /// Whether the boot is known, and if so, whether it is a later one than that of the leases.
    pub(crate) later_boot: Option<bool>,
    /// How long ago the facts were gathered.
    pub(crate) snapshot_age: u64,
    pub(crate) grace_seconds: u64,
    /// The network that a runtime's list is about, and one bit for each container on it.
    pub(crate) valid: Option<(u8, u8)>,
    /// One bit for each container whose namespace lives.
    pub(crate) live: Option<u8>,
    /// Addresses on an interface.
    pub(crate) alive: Vec<IpAddr>,
}

/// One of three disjoint subnets. Pools 0 and 1 share the first, 2 and 3 the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subnet {
    /// 255.255.255.240/28, the last of IPv4.
    LastV4,
    /// `ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124`, the last of IPv6.
    LastV6,
    /// 10.0.0.0/28.
    Other,
}

impl Subnet {
    pub(crate) const ALL: [Self; 3] = [Self::LastV4, Self::LastV6, Self::Other];

    pub(crate) fn of_pool(pool: u8) -> Self {
        match pool {
            0 | 1 => Self::LastV4,
            2 | 3 => Self::LastV6,
            _ => Self::Other,
        }
    }

    pub(crate) fn cidr(self) -> &'static str {
        match self {
            Self::LastV4 => "255.255.255.240/28",
            Self::LastV6 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fff0/124",
            Self::Other => "10.0.0.0/28",
        }
    }

    /// Its address of this number, counted round and round.
    pub(crate) fn address(self, number: u8) -> IpAddr {
        let number = number % SIZE;
        match self {
            Self::LastV4 => Ipv4Addr::new(255, 255, 255, 240 + number).into(),
            Self::LastV6 => Ipv6Addr::from_bits(u128::MAX - 15 + u128::from(number)).into(),
            Self::Other => Ipv4Addr::new(10, 0, 0, number).into(),
        }
    }

    /// The addresses whose bits are set.
    pub(crate) fn addresses(self, bits: u16) -> impl Iterator<Item = IpAddr> {
        let numbers = (0..SIZE).filter(move |number| bits >> number & 1 == 1);
        numbers.map(move |number| self.address(number))
    }
}

/// Takes small numbers from the bytes of a step; zeros when they are used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    /// `true` once in `parts` times.
    fn rarely(&mut self, parts: u8) -> bool {
        self.below(parts) == parts - 1
    }

    fn bits(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    fn place(&mut self) -> Place {
        let bits = self.byte();
        Place {
            container: bits % CONTAINERS,
            network: bits / CONTAINERS % PLACES,
            interface: bits / CONTAINERS / PLACES % PLACES,
        }
    }

    fn address(&mut self) -> IpAddr {
        let byte = self.byte();
        Subnet::ALL[usize::from(byte / SIZE) % Subnet::ALL.len()].address(byte)
    }

    fn demand(&mut self) -> DemandPlan {
        let place = self.place();
        let node = self.below(PLACES);
        let pod = match self.byte() {
            0..64 => None,
            byte => {
                let uid = byte / 16 % (UIDS + 1);
                Some((byte % 3, (uid < UIDS).then_some(uid)))
            }
        };
        let named = match self.byte() {
            0..160 => None,
            byte => {
                let list = |choice: u8, pools: &[u8]| match choice {
                    0 => vec![],
                    1 => pools.to_vec(),
                    2 => pools.iter().rev().copied().collect(),
                    _ => pools[..1].to_vec(),
                };
                Some((list(byte % 4, &[1, 0, 4]), list(byte / 4 % 4, &[3, 2, 3])))
            }
        };
        let required = match self.byte() {
            0..160 => (false, false),
            byte => (byte % 2 == 1, byte / 2 % 2 == 1),
        };
        let count = match self.below(16) {
            0..11 => 0,
            11..15 => 1,
            _ => 2,
        };
        let requested = [self.address(), self.address()].into_iter().take(count).collect();
        DemandPlan { place, node, pod, named, required, requested }
    }

    fn pool(&mut self) -> PoolPlan {
        let pool = self.below(POOLS);
        // Those of the same subnet mostly keep apart, or hardly any could be applied.
        let (ips, excluded) = (self.bits(), self.bits() & self.bits());
        let ips = match (pool, self.rarely(8)) {
            (0 | 2, false) => ips & 0xff0f,
            (1 | 3, false) => ips & 0x00f0,
            _ => ips,
        };
        let some = |byte: u8, end: u8| (byte % 4 == 3).then_some(byte / 4 % end);
        PoolPlan {
            pool,
            ips,
            excluded,
            gateway: some(self.byte(), SIZE),
            node: some(self.byte(), PLACES),
            network: some(self.byte(), PLACES),
            default: !self.rarely(6),
            disable: self.rarely(8),
        }
    }

    fn pin(&mut self) -> PinPlan {
        let subnet = Subnet::ALL[usize::from(self.below(3))];
        let (name, place) = (self.below(3), self.byte());
        let some = |byte: u8| (byte % 4 == 3).then_some(byte / 4 % PLACES);
        let (network, interface) = (some(place), some(place / 8));
        PinPlan {
            subnet,
            name,
            network,
            interface,
            addresses: self.bits() & self.bits() & self.bits(),
        }
    }

    fn policy(&mut self) -> PolicyPlan {
        PolicyPlan {
            strategy: self.below(4),
            seed: u64::from(self.byte()),
            cooldown_seconds: if self.rarely(3) { 0 } else { 30 },
            refuse: self.rarely(2),
            sticky: self.below(3),
            sticky_seconds: u64::from(self.below(4)) * 40,
        }
    }

    fn facts(&mut self) -> FactsPlan {
        let later_boot = [None, Some(false), Some(false), Some(true)];
        FactsPlan {
            later_boot: later_boot[usize::from(self.below(4))],
            snapshot_age: u64::from(self.below(40)),
            grace_seconds: u64::from(self.below(40)),
            valid: self.rarely(2).then(|| (self.below(PLACES), self.byte())),
            live: (!self.rarely(4)).then(|| self.byte()),
            alive: Subnet::ALL
                .into_iter()
                .flat_map(|subnet| subnet.addresses(self.bits() & self.bits()))
                .collect(),
        }
    }
}

impl Step {
    /// The step that these bytes stand for.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let mut bytes = Bytes(bytes);
        match bytes.below(34) {
            0..13 => {
                let count = [1, 1, 1, 2, 2, 3][usize::from(bytes.below(6))];
                Self::Decide((0..count).map(|_| bytes.demand()).collect())
            }
            13..18 => Self::Release(bytes.place()),
            18..22 => Self::Apply(bytes.pool()),
            22..25 => Self::Pass { seconds: u64::from(bytes.below(40)) },
            25 | 26 => Self::Quarantine {
                pool: bytes.below(POOLS),
                number: bytes.byte(),
                seconds: u64::from(bytes.below(60)),
            },
            27 => Self::Wake(bytes.address()),
            28 => Self::Reserve {
                subnet: Subnet::ALL[usize::from(bytes.below(3))],
                reserved: bytes.bits() & bytes.bits() & bytes.bits(),
                own: bytes.bits() & bytes.bits() & bytes.bits(),
            },
            29 => Self::Follow(bytes.policy()),
            30 | 31 => Self::Pin(bytes.pin()),
            _ => Self::Reclaim(bytes.facts()),
        }
    }
}

impl PolicyPlan {
    /// The policy that these bytes stand for.
    pub(crate) fn decode(bytes: &[u8]) -> Self {
        Bytes(bytes).policy()
    }
}
