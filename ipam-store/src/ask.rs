//! What a waiting process asks for, whole: who decides it needs nothing else.

use ipam_core::{Attachment, Demand, Lease, NetnsRef, Policy, Pool, Stamp};
use redb::ReadableTable;

use crate::codec::slip::{self, Outcome as Encoded};
use crate::error::Undecided;
use crate::fault::{Fault, Outcome};
use crate::history::Ended;
use crate::register::Register;
use crate::store::Grant;
use crate::transaction;

/// One decision, with the rules that it is to be made by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) policy: Policy,
    pub(crate) what: What,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Allocate {
        demands: Vec<Demand>,
        netns: Option<NetnsRef>,
        /// The records of the pools that must be the stored ones; `None`: those that are.
        pools: Option<Vec<Vec<u8>>>,
    },
    Release(Attachment),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted(Vec<Grant>),
    Released(Vec<Lease>),
}

impl Answer {
    /// What was granted. A slip has the answer to its own request, of which there are two kinds.
    pub(crate) fn granted(self) -> Vec<Grant> {
        match self {
            Self::Granted(grants) => grants,
            Self::Released(_) => Vec::new(),
        }
    }

    /// What was released.
    pub(crate) fn released(self) -> Vec<Lease> {
        match self {
            Self::Released(leases) => leases,
            Self::Granted(_) => Vec::new(),
        }
    }
}

/// The longest record of a pool that is written into an answer, in bytes.
pub(crate) const LONGEST_POOL: usize = 32 << 10;

impl Ask {
    /// The one attachment that it is about, if it is only one.
    pub(crate) fn attachment(&self) -> Option<&Attachment> {
        match &self.what {
            What::Release(attachment) => Some(attachment),
            What::Allocate { demands, .. } => {
                let first = &demands.first()?.attachment;
                demands.iter().all(|demand| demand.attachment == *first).then_some(first)
            }
        }
    }

    pub(crate) fn is_release(&self) -> bool {
        matches!(self.what, What::Release(_))
    }

    /// Whether the pools are those that it was made for.
    pub(crate) fn fits(&self, pools: &Pools) -> bool {
        match &self.what {
            What::Allocate { pools: Some(asked), .. } => *asked == pools.records,
            _ => true,
        }
    }

    /// Decides it and writes the decision down; `None` if it is refused, and nothing is written.
    pub(crate) fn decide(
        &self,
        register: &mut Register<'_>,
        pools: &Pools,
        now: &Stamp,
    ) -> Outcome<Option<Encoded>> {
        match &self.what {
            What::Release(attachment) => {
                let done =
                    transaction::release(register, attachment, Ended::Released, &self.policy, now)?;
                Ok(Some(Encoded::released(&done.answer)))
            }
            What::Allocate { demands, netns, .. } => {
                let netns = netns.as_ref();
                match transaction::allocate(register, demands, netns, &self.policy, now) {
                    Ok(done) => Ok(Some(Encoded::granted(&done.answer, pools)?)),
                    Err(Undecided::Refused(_)) => Ok(None),
                    Err(Undecided::Fault(fault)) => Err(fault),
                    Err(Undecided::Store(error)) => Err(Fault::Disagreement(error.to_string())),
                }
            }
        }
    }
}

/// The stored pools and reserved addresses as their records.
#[derive(Debug)]
pub(crate) struct Pools {
    names: Vec<String>,
    records: Vec<Vec<u8>>,
    pub(crate) reserved: Vec<Vec<u8>>,
}

impl Pools {
    pub(crate) fn stored(register: &Register<'_>) -> Outcome<Self> {
        let (mut names, mut records) = (Vec::new(), Vec::new());
        for row in register.pools.iter()? {
            let (name, record) = row?;
            names.push(name.value().to_owned());
            records.push(record.value().to_vec());
        }
        let mut reserved = Vec::new();
        for row in register.reserved.iter()? {
            reserved.push(row?.1.value().to_vec());
        }
        Ok(Self { names, records, reserved })
    }

    /// Whether all of it is short enough for an answer.
    pub(crate) fn are_short(&self) -> bool {
        let reserved: usize = self.reserved.iter().map(Vec::len).sum();
        let longest = self.records.iter().map(Vec::len).max().unwrap_or_default();
        reserved <= LONGEST_POOL && longest <= LONGEST_POOL
    }

    pub(crate) fn record_of(&self, pool: &Pool) -> Outcome<&[u8]> {
        let name = pool.name().as_str();
        let place = self.names.iter().position(|known| known == name);
        let record = place.and_then(|place| self.records.get(place));
        let lost = || Fault::Disagreement(format!("pool {name} is decided with and not stored"));
        record.map(Vec::as_slice).ok_or_else(lost)
    }

    /// The records of pools that come with a request, in the order in which they are stored.
    pub(crate) fn configured(pools: &[Pool]) -> Vec<Vec<u8>> {
        pools.iter().map(slip::pool).collect()
    }
}
