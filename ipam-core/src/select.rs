//! Which pools an attachment may draw from, and which rule refused each of the others.

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use crate::owner::{NamespaceName, NetworkRef, NodeName, PoolName};
use crate::pool::Pool;

/// Who asks, as far as pools care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The node that the attachment lives on.
    pub node: NodeName,
    /// The network that it attaches to.
    pub network: NetworkRef,
    /// The namespace of its pod, where the runtime told.
    pub namespace: Option<NamespaceName>,
}

/// Which pools are offered before any filter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// Every pool with `default: true`.
    #[default]
    Defaults,
    /// These pools, whether default or not; the order decides among equals.
    Named(Vec<PoolName>),
}

/// The pools that may be used, best first, and why the others may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection<'a> {
    /// In the order in which they are to be tried.
    pub candidates: Vec<&'a Pool>,
    /// Every other pool, with the rule that refused it.
    pub refusals: Vec<Refusal>,
}

/// One pool that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The pool.
    pub pool: PoolName,
    /// The rule, with both values.
    pub reason: RefusalReason,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pool, self.reason)
    }
}

/// The rule that refused a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReason {
    /// A named pool does not exist.
    Unknown,
    /// Nobody named the pool and it is no default.
    NotDefault,
    /// Other pools were named.
    NotNamed,
    /// `disable: true`.
    Disabled,
    /// `nodeName` lists other nodes.
    Node {
        /// The pool's list.
        wanted: Vec<NodeName>,
        /// The asking node.
        asking: NodeName,
    },
    /// `namespaceName` lists other namespaces.
    Namespace {
        /// The pool's list.
        wanted: Vec<NamespaceName>,
        /// The asking pod's namespace.
        asking: Option<NamespaceName>,
    },
    /// `multusName` lists other networks.
    Network {
        /// The pool's list.
        wanted: Vec<NetworkRef>,
        /// The asking network.
        asking: NetworkRef,
    },
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("no such pool"),
            Self::NotDefault => f.write_str("default is not true and no configuration names it"),
            Self::NotNamed => f.write_str("the configuration names other pools"),
            Self::Disabled => f.write_str("disable is true"),
            Self::Node { wanted, asking } => {
                write!(f, "nodeName is {}, this node is {asking}", Listed(wanted))
            }
            Self::Namespace { wanted, asking: Some(asking) } => {
                write!(f, "namespaceName is {}, the pod's is {asking}", Listed(wanted))
            }
            Self::Namespace { wanted, asking: None } => {
                write!(f, "namespaceName is {}, the runtime named none", Listed(wanted))
            }
            Self::Network { wanted, asking } => {
                write!(f, "multusName is {}, this network is {asking}", Listed(wanted))
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

/// The pools that `asker` may draw from, best first.
///
/// Within one field of a pool any match suffices; all fields must match. Pools that name more of
/// node, namespace and network go first, in this order of weight (the peer's); among equals the
/// order of [`Source::Named`] or of `pools` decides.
pub fn select<'a>(pools: &'a [Pool], source: &Source, asker: &Asker) -> Selection<'a> {
    let mut selection = Selection { candidates: Vec::new(), refusals: Vec::new() };
    let mut offered: Vec<&Pool> = Vec::new();
    if let Source::Named(names) = source {
        for (index, name) in names.iter().enumerate() {
            match pools.iter().find(|pool| pool.name() == name) {
                _ if names[..index].contains(name) => {}
                Some(pool) => offered.push(pool),
                None => selection
                    .refusals
                    .push(Refusal { pool: name.clone(), reason: RefusalReason::Unknown }),
            }
        }
    }
    for pool in pools {
        let reason = match source {
            Source::Defaults if pool.is_default() => {
                offered.push(pool);
                continue;
            }
            Source::Defaults => RefusalReason::NotDefault,
            Source::Named(names) if names.contains(pool.name()) => continue,
            Source::Named(_) => RefusalReason::NotNamed,
        };
        selection.refusals.push(Refusal { pool: pool.name().clone(), reason });
    }
    for pool in offered {
        match refusal(pool, asker) {
            None => selection.candidates.push(pool),
            Some(reason) => {
                selection.refusals.push(Refusal { pool: pool.name().clone(), reason });
            }
        }
    }
    selection.candidates.sort_by_key(|pool| {
        Reverse((
            !pool.nodes().is_empty(),
            !pool.namespaces().is_empty(),
            !pool.networks().is_empty(),
        ))
    });
    selection
}

/// The first rule, in the peer's order, by which `pool` refuses `asker`.
fn refusal(pool: &Pool, asker: &Asker) -> Option<RefusalReason> {
    if pool.is_disabled() {
        return Some(RefusalReason::Disabled);
    }
    if !pool.nodes().is_empty() && !pool.nodes().contains(&asker.node) {
        return Some(RefusalReason::Node {
            wanted: pool.nodes().to_vec(),
            asking: asker.node.clone(),
        });
    }
    let in_namespace =
        asker.namespace.as_ref().is_some_and(|asking| pool.namespaces().contains(asking));
    if !pool.namespaces().is_empty() && !in_namespace {
        return Some(RefusalReason::Namespace {
            wanted: pool.namespaces().to_vec(),
            asking: asker.namespace.clone(),
        });
    }
    if !pool.networks().is_empty()
        && !pool.networks().iter().any(|network| network.matches(&asker.network))
    {
        return Some(RefusalReason::Network {
            wanted: pool.networks().to_vec(),
            asking: asker.network.clone(),
        });
    }
    None
}

/// No pool is left for an asker. The text is what the user reads when an ADD fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoPool {
    /// The asking node.
    pub node: NodeName,
    /// The asking network.
    pub network: NetworkRef,
    /// Every pool with the rule that refused it.
    pub refusals: Vec<Refusal>,
}

impl fmt::Display for NoPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no pool for node {} and network {}", self.node, self.network)?;
        if self.refusals.is_empty() {
            return f.write_str(": no pool is stored, apply one");
        }
        let refusals: Vec<String> =
            self.refusals.iter().map(alloc::string::ToString::to_string).collect();
        write!(f, ": {}", refusals.join("; "))
    }
}

impl core::error::Error for NoPool {}
