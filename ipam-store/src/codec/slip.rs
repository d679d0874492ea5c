//! The records of a [slip](crate::slip): what a waiting process asks for, and its answer.
//!
//! A slip lives as long as the process that waits, so its records are of this program's version or
//! of no use: one of another version is a kind that is not known, and left alone.

use std::net::IpAddr;

use bincode::{Decode, Encode};
use ipam_core::{
    Asker, Attachment, Demand, Family, Labels, Lease, NamedPools, NetnsRef, PodRef, Policy, Pool,
    PoolPattern, Source, StickyNames, Strategy, WhenOnlyCooling, reserve,
};

use super::{
    CodecError, NetnsRecord, PodRecord, content, decode_lease, decode_pool, decode_reserved,
    encode_lease, encode_pool, open, seal,
};
use crate::ask::{Answer, Ask, Pools, What};
use crate::fault;
use crate::store::Grant;

pub(super) const ASK_1: u8 = 0x61;
pub(super) const ANSWER_1: u8 = 0x62;

#[derive(Encode, Decode)]
struct AskRecord {
    policy: PolicyRecord,
    what: WhatRecord,
}

#[derive(Encode, Decode)]
struct PolicyRecord {
    strategy: StrategyRecord,
    cooldown_seconds: u64,
    takes_cooling: bool,
    sticky: StickyRecord,
    sticky_seconds: u64,
}

#[derive(Encode, Decode)]
enum StrategyRecord {
    Lowest,
    RoundRobin,
    Random { seed: u64 },
    OldestReleased,
}

#[derive(Encode, Decode)]
enum StickyRecord {
    None,
    Ordinal,
    All,
}

#[derive(Encode, Decode)]
enum WhatRecord {
    Allocate { demands: Vec<DemandRecord>, netns: Option<NetnsRecord>, pools: Option<Vec<Vec<u8>>> },
    Release(AttachmentRecord),
}

#[derive(Encode, Decode)]
struct AttachmentRecord {
    network: String,
    container: String,
    ifname: String,
}

#[derive(Encode, Decode)]
struct DemandRecord {
    attachment: AttachmentRecord,
    node: String,
    network: String,
    namespace: Option<String>,
    node_labels: Option<Labels>,
    namespace_labels: Option<Labels>,
    pod_labels: Option<Labels>,
    pod: Option<PodRecord>,
    /// The patterns for IPv4 and for IPv6; `None`: the default pools.
    named: Option<(Vec<String>, Vec<String>)>,
    requires_v4: bool,
    requires_v6: bool,
    requested: Vec<IpAddr>,
}

#[derive(Encode, Decode)]
struct AnswerRecord {
    group: u128,
    outcome: Outcome,
}

/// What was decided, each lease and pool as its own record.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Outcome {
    Granted {
        /// Address, lease and pool.
        grants: Vec<(IpAddr, Vec<u8>, Vec<u8>)>,
        reserved: Vec<Vec<u8>>,
    },
    Released {
        /// Address and lease.
        leases: Vec<(IpAddr, Vec<u8>)>,
    },
}

impl Outcome {
    pub(crate) fn granted(grants: &[Grant], pools: &Pools) -> fault::Outcome<Self> {
        let record = |Grant { lease, pool }: &Grant| {
            Ok((lease.address, encode_lease(lease), pools.record_of(pool)?.to_vec()))
        };
        let grants = grants.iter().map(record).collect::<fault::Outcome<_>>()?;
        Ok(Self::Granted { grants, reserved: pools.reserved.clone() })
    }

    pub(crate) fn released(leases: &[Lease]) -> Self {
        let record = |lease: &Lease| (lease.address, encode_lease(lease));
        Self::Released { leases: leases.iter().map(record).collect() }
    }
}

/// A pool as it is stored.
pub(crate) fn pool(pool: &Pool) -> Vec<u8> {
    encode_pool(pool)
}

pub(crate) fn encode_ask(ask: &Ask) -> Vec<u8> {
    let Policy { strategy, cooldown_seconds, when_only_cooling, sticky, sticky_seconds } =
        ask.policy;
    let policy = PolicyRecord {
        strategy: match strategy {
            Strategy::Lowest => StrategyRecord::Lowest,
            Strategy::RoundRobin => StrategyRecord::RoundRobin,
            Strategy::Random { seed } => StrategyRecord::Random { seed },
            Strategy::OldestReleased => StrategyRecord::OldestReleased,
        },
        cooldown_seconds,
        takes_cooling: when_only_cooling == WhenOnlyCooling::TakeOldest,
        sticky: match sticky {
            StickyNames::None => StickyRecord::None,
            StickyNames::Ordinal => StickyRecord::Ordinal,
            StickyNames::All => StickyRecord::All,
        },
        sticky_seconds,
    };
    let what = match &ask.what {
        What::Release(attachment) => WhatRecord::Release(attachment.into()),
        What::Allocate { demands, netns, pools } => WhatRecord::Allocate {
            demands: demands.iter().map(DemandRecord::from).collect(),
            netns: netns.clone().map(|NetnsRef { path, inode }| NetnsRecord { path, inode }),
            pools: pools.clone(),
        },
    };
    seal(ASK_1, &AskRecord { policy, what })
}

pub(crate) fn decode_ask(bytes: &[u8]) -> Result<Ask, CodecError> {
    let AskRecord { policy, what } = open(ASK_1, bytes)?;
    let policy = Policy {
        strategy: match policy.strategy {
            StrategyRecord::Lowest => Strategy::Lowest,
            StrategyRecord::RoundRobin => Strategy::RoundRobin,
            StrategyRecord::Random { seed } => Strategy::Random { seed },
            StrategyRecord::OldestReleased => Strategy::OldestReleased,
        },
        cooldown_seconds: policy.cooldown_seconds,
        when_only_cooling: if policy.takes_cooling {
            WhenOnlyCooling::TakeOldest
        } else {
            WhenOnlyCooling::Refuse
        },
        sticky: match policy.sticky {
            StickyRecord::None => StickyNames::None,
            StickyRecord::Ordinal => StickyNames::Ordinal,
            StickyRecord::All => StickyNames::All,
        },
        sticky_seconds: policy.sticky_seconds,
    };
    let what = match what {
        WhatRecord::Release(attachment) => What::Release(attachment.decoded()?),
        WhatRecord::Allocate { demands, netns, pools } => What::Allocate {
            demands: demands.into_iter().map(DemandRecord::decoded).collect::<Result<_, _>>()?,
            netns: netns.map(|NetnsRecord { path, inode }| NetnsRef { path, inode }),
            pools,
        },
    };
    Ok(Ask { policy, what })
}

pub(crate) fn encode_answer(group: u128, outcome: Outcome) -> Vec<u8> {
    seal(ANSWER_1, &AnswerRecord { group, outcome })
}

/// The answer, and the group that it stands or falls with.
pub(crate) fn decode_answer(bytes: &[u8]) -> Result<(u128, Answer), CodecError> {
    let AnswerRecord { group, outcome } = open(ANSWER_1, bytes)?;
    let answer = match outcome {
        Outcome::Released { leases } => {
            let lease = |(address, record): &(IpAddr, Vec<u8>)| decode_lease(*address, record);
            Answer::Released(leases.iter().map(lease).collect::<Result<_, _>>()?)
        }
        Outcome::Granted { grants, reserved } => {
            let reserved = reserved.iter().map(|record| decode_reserved(record));
            let reserved = reserved.collect::<Result<Vec<_>, _>>()?;
            let pools = grants.iter().map(|(_, _, pool)| decode_pool(pool));
            let pools = reserve(&pools.collect::<Result<Vec<_>, _>>()?, &reserved);
            let grant = |((address, lease, _), pool): (&(IpAddr, Vec<u8>, Vec<u8>), Pool)| {
                Ok(Grant { lease: decode_lease(*address, lease)?, pool })
            };
            let grants = grants.iter().zip(pools).map(grant).collect::<Result<_, CodecError>>()?;
            Answer::Granted(grants)
        }
    };
    Ok((group, answer))
}

impl From<&Attachment> for AttachmentRecord {
    fn from(Attachment { network, container, ifname }: &Attachment) -> Self {
        let (network, container) = (network.to_string(), container.to_string());
        Self { network, container, ifname: ifname.to_string() }
    }
}

impl AttachmentRecord {
    fn decoded(self) -> Result<Attachment, CodecError> {
        Ok(Attachment {
            network: self.network.parse().map_err(content)?,
            container: self.container.parse().map_err(content)?,
            ifname: self.ifname.parse().map_err(content)?,
        })
    }
}

impl From<&Demand> for DemandRecord {
    fn from(demand: &Demand) -> Self {
        let Demand { attachment, asker, pod, source, required, requested } = demand.clone();
        let texts = |patterns: &[PoolPattern]| patterns.iter().map(ToString::to_string).collect();
        Self {
            attachment: (&attachment).into(),
            node: asker.node.to_string(),
            network: asker.network.to_string(),
            namespace: asker.namespace.map(|name| name.to_string()),
            node_labels: asker.node_labels,
            namespace_labels: asker.namespace_labels,
            pod_labels: asker.pod_labels,
            pod: pod.map(|PodRef { namespace, name, uid }| PodRecord { namespace, name, uid }),
            named: match &source {
                Source::Defaults => None,
                Source::Named(NamedPools { v4, v6 }) => Some((texts(v4), texts(v6))),
            },
            requires_v4: required.contains(&Family::V4),
            requires_v6: required.contains(&Family::V6),
            requested,
        }
    }
}

impl DemandRecord {
    fn decoded(self) -> Result<Demand, CodecError> {
        let patterns = |texts: Vec<String>| {
            texts.iter().map(|text| text.parse().map_err(content)).collect::<Result<Vec<_>, _>>()
        };
        let families = [(Family::V4, self.requires_v4), (Family::V6, self.requires_v6)];
        Ok(Demand {
            attachment: self.attachment.decoded()?,
            asker: Asker {
                node: self.node.parse().map_err(content)?,
                node_labels: self.node_labels,
                network: self.network.parse().map_err(content)?,
                namespace: self.namespace.map(|name| name.parse()).transpose().map_err(content)?,
                namespace_labels: self.namespace_labels,
                pod_labels: self.pod_labels,
            },
            pod: self.pod.map(|PodRecord { namespace, name, uid }| PodRef { namespace, name, uid }),
            source: match self.named {
                None => Source::Defaults,
                Some((v4, v6)) => {
                    Source::Named(NamedPools { v4: patterns(v4)?, v6: patterns(v6)? })
                }
            },
            required: families.iter().filter(|family| family.1).map(|family| family.0).collect(),
            requested: self.requested,
        })
    }
}
