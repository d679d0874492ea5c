//! Why a pool may not be used.

use alloc::borrow::{Cow, ToOwned};
use alloc::vec::Vec;
use core::fmt;

use crate::addr::Family;
use crate::labels::{Labels, Selector};
use crate::owner::{NamespaceName, NetworkRef, NodeName};

/// One pool that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal<'a> {
    /// The pool's name, or the pattern that no pool matches.
    pub pool: Cow<'a, str>,
    /// The rule, with both values.
    pub reason: RefusalReason<'a>,
}

impl Refusal<'_> {
    /// The same, for longer than the pools and the asker live.
    pub fn into_owned(self) -> Refusal<'static> {
        Refusal { pool: self.pool.into_owned().into(), reason: self.reason.into_owned() }
    }
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pool, self.reason)
    }
}

/// The rule that refused a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReason<'a> {
    /// It was named and does not exist.
    Unknown,
    /// Nobody named it and it is no default.
    NotDefault,
    /// Others were named.
    NotNamed,
    /// It was named among the pools of the other family.
    Family {
        /// The pool's family.
        pool: Family,
    },
    /// `disable: true`.
    Disabled,
    /// `nodeName` lists other nodes.
    Node {
        /// The pool's list.
        wanted: Cow<'a, [NodeName]>,
        /// The asking node.
        asking: Cow<'a, NodeName>,
    },
    /// `namespaceName` lists other namespaces.
    Namespace {
        /// The pool's list.
        wanted: Cow<'a, [NamespaceName]>,
        /// The asking pod's namespace.
        asking: Option<Cow<'a, NamespaceName>>,
    },
    /// `multusName` lists other networks.
    Network {
        /// The pool's list.
        wanted: Cow<'a, [NetworkRef]>,
        /// The asking network.
        asking: Cow<'a, NetworkRef>,
    },
    /// An affinity selects other labels.
    Labels {
        /// Which affinity: `nodeAffinity`, `namespaceAffinity` or `podAffinity`.
        field: &'static str,
        /// The pool's selector.
        wanted: Cow<'a, Selector>,
        /// The labels it was held against.
        asking: Option<Cow<'a, Labels>>,
    },
}

impl RefusalReason<'_> {
    /// The same, for longer than the pools and the asker live.
    pub fn into_owned(self) -> RefusalReason<'static> {
        match self {
            Self::Unknown => RefusalReason::Unknown,
            Self::NotDefault => RefusalReason::NotDefault,
            Self::NotNamed => RefusalReason::NotNamed,
            Self::Family { pool } => RefusalReason::Family { pool },
            Self::Disabled => RefusalReason::Disabled,
            Self::Node { wanted, asking } => {
                RefusalReason::Node { wanted: owned(wanted), asking: owned(asking) }
            }
            Self::Namespace { wanted, asking } => {
                RefusalReason::Namespace { wanted: owned(wanted), asking: asking.map(owned) }
            }
            Self::Network { wanted, asking } => {
                RefusalReason::Network { wanted: owned(wanted), asking: owned(asking) }
            }
            Self::Labels { field, wanted, asking } => {
                RefusalReason::Labels { field, wanted: owned(wanted), asking: asking.map(owned) }
            }
        }
    }
}

fn owned<T: ToOwned + ?Sized>(value: Cow<'_, T>) -> Cow<'static, T> {
    Cow::Owned(value.into_owned())
}

impl fmt::Display for RefusalReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such pool"),
            Self::NotDefault => f.write_str("default is not true and nobody names it"),
            Self::NotNamed => f.write_str("other pools are named"),
            Self::Family { pool } => write!(f, "it is {pool} and named for the other family"),
            Self::Disabled => f.write_str("disable is true"),
            Self::Node { wanted, asking } => {
                write!(f, "nodeName is {}, this node is {asking}", Listed(wanted))
            }
            Self::Namespace { wanted, asking: Some(asking) } => {
                write!(f, "namespaceName is {}, the pod's is {asking}", Listed(wanted))
            }
            Self::Namespace { wanted, asking: None } => {
                write!(f, "namespaceName is {}, the pod's is not known", Listed(wanted))
            }
            Self::Network { wanted, asking } => {
                write!(f, "multusName is {}, this network is {asking}", Listed(wanted))
            }
            Self::Labels { field, wanted, asking: None } => {
                write!(f, "{field} is {wanted}, the labels are not known")
            }
            Self::Labels { field, wanted, asking: Some(labels) } => {
                let labels: Vec<_> =
                    labels.iter().map(|(k, v)| alloc::format!("{k}={v}")).collect();
                write!(f, "{field} is {wanted}, the labels are {}", Listed(&labels))
            }
        }
    }
}

struct Listed<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if index > 0 { " " } else { "" })?;
        }
        f.write_str("]")
    }
}
