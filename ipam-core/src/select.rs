//! Which pools an attachment may draw from, and which rule refused each of the others.

use alloc::borrow::Cow;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::addr::Family;
use crate::hints::{NamedPools, Source};
use crate::labels::{Labels, Selector};
use crate::owner::{NamespaceName, NetworkRef, NodeName, PoolName};
use crate::pool::Pool;

mod refusal;

pub use refusal::{Refusal, RefusalReason};

/// Who asks, as far as pools care. What is `None` is not known: a pool that restricts it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The node that the attachment lives on.
    pub node: NodeName,
    /// Its labels.
    pub node_labels: Option<Labels>,
    /// The network that it attaches to.
    pub network: NetworkRef,
    /// The namespace of its pod.
    pub namespace: Option<NamespaceName>,
    /// The namespace's labels.
    pub namespace_labels: Option<Labels>,
    /// The pod's labels.
    pub pod_labels: Option<Labels>,
}

impl Asker {
    /// Somebody of whom no more is known than node and network.
    pub fn new(node: NodeName, network: NetworkRef) -> Self {
        Self {
            node,
            node_labels: None,
            network,
            namespace: None,
            namespace_labels: None,
            pod_labels: None,
        }
    }
}

/// The pools that may be used, best first, and why the others may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection<'a, 'r> {
    /// In the order in which they are to be tried.
    pub candidates: Vec<&'a Pool>,
    /// Every other pool, and every name without a pool, with the rule that refused it. They borrow:
    /// a decision that finds an address needs none of them.
    pub refusals: Vec<Refusal<'r>>,
}

/// The pools that `asker` may draw from, best first.
///
/// Within one field of a pool any match suffices; all fields must match. A name takes the place of
/// the affinity of the same kind. The pools that restrict most go first, with the peer's weights:
/// pod labels, node name, node labels, namespace name, namespace labels, network. Among equals the
/// order of the names decides, then that of `pools`.
pub fn select<'a: 'r, 'r>(
    pools: &'a [Pool],
    source: &Source,
    asker: &'r Asker,
) -> Selection<'a, 'r> {
    let mut refusals = Vec::new();
    let candidates = candidates(pools, source, asker, |refusal| refusals.push(refusal));
    Selection { candidates, refusals }
}

/// The candidates of [`select`]; its refusals go to who wants them. A decision that finds an address
/// wants none.
pub(crate) fn candidates<'a: 'r, 'r>(
    pools: &'a [Pool],
    source: &Source,
    asker: &'r Asker,
    mut refused: impl FnMut(Refusal<'r>),
) -> Vec<&'a Pool> {
    let mut candidates = match source {
        Source::Defaults => default_pools(pools, &mut refused),
        Source::Named(named) => named_pools(pools, named, &mut refused),
    };
    candidates.retain(|pool| match refusal(pool, asker) {
        None => true,
        Some(reason) => {
            refused(of(pool, reason));
            false
        }
    });
    candidates.sort_by_key(|pool| Reverse(weight(pool)));
    candidates
}

/// The pools that serve those for whom nobody named one.
fn default_pools<'a: 'r, 'r>(
    pools: &'a [Pool],
    refused: &mut impl FnMut(Refusal<'r>),
) -> Vec<&'a Pool> {
    let mut offered = Vec::new();
    for pool in pools {
        if pool.is_default() {
            offered.push(pool);
        } else {
            refused(of(pool, RefusalReason::NotDefault));
        }
    }
    offered
}

fn of<'a>(pool: &'a Pool, reason: RefusalReason<'a>) -> Refusal<'a> {
    Refusal { pool: pool.name().as_str().into(), reason }
}

/// The pools that the patterns stand for, each once, in the order of the patterns.
fn named_pools<'a: 'r, 'r>(
    pools: &'a [Pool],
    named: &NamedPools,
    refused: &mut impl FnMut(Refusal<'r>),
) -> Vec<&'a Pool> {
    let mut offered: Vec<&Pool> = Vec::new();
    let mut told = BTreeSet::new();
    let mut unknown = BTreeSet::new();
    let mut misplaced = Vec::new();
    for (family, patterns) in [(Family::V4, &named.v4), (Family::V6, &named.v6)] {
        for pattern in patterns {
            let mut found = false;
            for pool in pools.iter().filter(|pool| pattern.matches(pool.name())) {
                if pool.family() == family {
                    found = true;
                    if told.insert(pool.name()) {
                        offered.push(pool);
                    }
                } else if !pattern.is_wildcard() {
                    found = true;
                    misplaced.push(pool);
                }
            }
            if !found && unknown.insert(pattern.to_string()) {
                let pool = pattern.to_string().into();
                refused(Refusal { pool, reason: RefusalReason::Unknown });
            }
        }
    }
    // Whoever names a pool for both families means its own.
    for pool in misplaced {
        if told.insert(pool.name()) {
            refused(of(pool, RefusalReason::Family { pool: pool.family() }));
        }
    }
    for pool in pools.iter().filter(|pool| !told.contains(pool.name())) {
        refused(of(pool, RefusalReason::NotNamed));
    }
    offered
}

fn weight(pool: &Pool) -> [bool; 6] {
    [
        pool.pod_affinity().is_some(),
        !pool.nodes().is_empty(),
        pool.node_affinity().is_some(),
        !pool.namespaces().is_empty(),
        pool.namespace_affinity().is_some(),
        !pool.networks().is_empty(),
    ]
}

/// The first rule, in the peer's order, by which `pool` refuses `asker`.
pub(crate) fn refusal<'a>(pool: &'a Pool, asker: &'a Asker) -> Option<RefusalReason<'a>> {
    if pool.is_disabled() {
        return Some(RefusalReason::Disabled);
    }
    by_node(pool, asker)
        .or_else(|| by_namespace(pool, asker))
        .or_else(|| by_labels("podAffinity", pool.pod_affinity(), asker.pod_labels.as_ref()))
        .or_else(|| by_network(pool, asker))
}

fn by_node<'a>(pool: &'a Pool, asker: &'a Asker) -> Option<RefusalReason<'a>> {
    if pool.nodes().is_empty() {
        return by_labels("nodeAffinity", pool.node_affinity(), asker.node_labels.as_ref());
    }
    (!pool.nodes().contains(&asker.node)).then(|| RefusalReason::Node {
        wanted: pool.nodes().into(),
        asking: Cow::Borrowed(&asker.node),
    })
}

fn by_namespace<'a>(pool: &'a Pool, asker: &'a Asker) -> Option<RefusalReason<'a>> {
    if pool.namespaces().is_empty() {
        let labels = asker.namespace_labels.as_ref();
        return by_labels("namespaceAffinity", pool.namespace_affinity(), labels);
    }
    let is_listed =
        asker.namespace.as_ref().is_some_and(|asking| pool.namespaces().contains(asking));
    (!is_listed).then(|| RefusalReason::Namespace {
        wanted: pool.namespaces().into(),
        asking: asker.namespace.as_ref().map(Cow::Borrowed),
    })
}

fn by_labels<'a>(
    field: &'static str,
    wanted: Option<&'a Selector>,
    labels: Option<&'a Labels>,
) -> Option<RefusalReason<'a>> {
    let wanted = wanted?;
    // A selector without requirements selects everything, known or not.
    if wanted.is_empty() || labels.is_some_and(|labels| wanted.matches(labels)) {
        return None;
    }
    let asking = labels.map(Cow::Borrowed);
    Some(RefusalReason::Labels { field, wanted: Cow::Borrowed(wanted), asking })
}

fn by_network<'a>(pool: &'a Pool, asker: &'a Asker) -> Option<RefusalReason<'a>> {
    let is_listed = pool.networks().iter().any(|network| network.matches(&asker.network));
    (!pool.networks().is_empty() && !is_listed).then(|| RefusalReason::Network {
        wanted: pool.networks().into(),
        asking: Cow::Borrowed(&asker.network),
    })
}

/// A pool by its name.
pub(crate) fn by_name<'a>(pools: &[&'a Pool], name: &PoolName) -> Option<&'a Pool> {
    pools.iter().copied().find(|pool| pool.name() == name)
}
