//! Pool documents as JSON, several with a line `---` between them, and the rules across them.
#![no_main]

use ipam_core::{
    AddressRange, Family, LabelSelector, Labels, Pool, PoolDocument, PoolSpec, RangeSet, Selector,
    apply,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let pools: Vec<Pool> = text.split("\n---\n").filter_map(pool).collect();
    match apply(&[], &pools, &[]) {
        Ok(changes) => {
            assert_eq!(changes.len(), pools.len());
            for (index, pool) in pools.iter().enumerate() {
                for other in pools[..index].iter().filter(|other| other.name() != pool.name()) {
                    assert!(pool.claimed().intersection(&other.claimed()).is_empty());
                    assert!(!pool.gateway().is_some_and(|g| other.assignable().contains(g)));
                    assert!(!other.gateway().is_some_and(|g| pool.assignable().contains(g)));
                }
            }
        }
        Err(rejections) => {
            assert!(!rejections.is_empty());
            for rejection in rejections {
                assert!(!rejection.violations.as_slice().is_empty());
                assert!(rejection.to_string().contains(rejection.pool.as_str()));
            }
        }
    }
});

fn pool(json: &str) -> Option<Pool> {
    let PoolDocument { metadata, spec, .. } = serde_json::from_str(json).ok()?;
    match Pool::new(&metadata.name, &spec) {
        Ok(pool) => {
            check_guarantees(&pool);
            check_round_trip(&pool);
            check_selector(spec.node_affinity.as_ref(), pool.node_affinity());
            check_selector(spec.namespace_affinity.as_ref(), pool.namespace_affinity());
            check_selector(spec.pod_affinity.as_ref(), pool.pod_affinity());
            Some(pool)
        }
        Err(violations) => {
            assert!(!violations.as_slice().is_empty());
            for violation in violations.as_slice() {
                assert!(violation.to_string().starts_with(&violation.field));
                assert!(!violation.rule.is_empty());
            }
            None
        }
    }
}

fn check_guarantees(pool: &Pool) {
    let subnet = pool.subnet();
    assert_eq!(subnet.trunc(), subnet);
    assert!(pool.claimed().is_subset(&RangeSet::from(AddressRange::from(subnet))));
    assert!(pool.assignable().is_subset(&pool.claimed()));
    for route in pool.routes() {
        assert!(subnet.contains(&route.gateway), "{} outside of {subnet}", route.gateway);
        assert_eq!(route.dst.trunc(), route.dst);
    }
    if let Some(gateway) = pool.gateway() {
        assert!(subnet.contains(&gateway), "{gateway} outside of {subnet}");
        assert!(!pool.assignable().contains(gateway));
    }
    let host_bits = pool.family().bits() - subnet.prefix_len();
    if host_bits >= 2 {
        assert!(!pool.assignable().contains(subnet.network()));
        let broadcast = pool.assignable().contains(subnet.broadcast());
        assert!(pool.family() == Family::V6 || !broadcast);
    }
}

/// The canonical document gives the same pool and itself again, through text too.
fn check_round_trip(pool: &Pool) {
    let spec: PoolSpec = pool.spec();
    let again = Pool::new(pool.name().as_str(), &spec).expect("the canonical document is valid");
    assert_eq!(&again, pool);
    assert_eq!(again.spec(), spec);
    let document = PoolDocument::new(pool.name().to_string(), spec);
    let json = serde_json::to_string(&document).expect("a document has a JSON form");
    let read: PoolDocument = serde_json::from_str(&json).expect("the JSON form is a document");
    assert_eq!(read, document);
}

/// A selector selects as its document says, for labels that are near to what it asks for.
fn check_selector(document: Option<&LabelSelector>, selector: Option<&Selector>) {
    assert_eq!(document.is_some(), selector.is_some());
    let (Some(document), Some(selector)) = (document, selector) else { return };
    let LabelSelector { match_labels, match_expressions } = document;
    assert_eq!(selector.is_empty(), match_labels.is_empty() && match_expressions.is_empty());
    assert_eq!(selector.to_string().is_empty(), selector.is_empty());

    let mut with_first = match_labels.clone();
    let mut with_other = match_labels.clone();
    for expression in match_expressions {
        let value = expression.values.first().cloned().unwrap_or_default();
        with_first.insert(expression.key.clone(), value);
        with_other.entry(expression.key.clone()).or_insert_with(|| "other".into());
    }
    for labels in [&Labels::new(), match_labels, &with_first, &with_other] {
        assert_eq!(selector.matches(labels), selects(document, labels), "{selector} {labels:?}");
    }
}

fn selects(document: &LabelSelector, labels: &Labels) -> bool {
    let has_labels =
        document.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
    has_labels
        && document.match_expressions.iter().all(|expression| {
            let value = labels.get(&expression.key);
            let is_listed = value.is_some_and(|value| expression.values.contains(value));
            match expression.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                other => panic!("{other} was accepted"),
            }
        })
}
