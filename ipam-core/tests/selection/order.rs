//! Which pools are offered, and which goes first.

use ipam_core::{Pool, PoolSpec, Source};

use crate::{Change, asker, assert_selects, named, selector, stranger, texts, v4, v6};

#[test]
fn names_and_wildcards_offer_pools_of_their_family_in_the_users_order() {
    let not_default = |spec: &mut PoolSpec| spec.default = None;
    let pools = [
        v4("a-1", 1, |_| {}),
        v4("a-2", 2, not_default),
        v6("a-6", 1, |_| {}),
        v4("b-1", 3, |_| {}),
        v6("b-6", 2, not_default),
    ];
    let other = |name: &str| format!("{name}: other pools are named");
    for (case, source, taken, refused) in [
        (
            "A00006: defaults, of both families",
            Source::Defaults,
            &["a-1", "a-6", "b-1"][..],
            texts(&[
                "a-2: default is not true and nobody names it",
                "b-6: default is not true and nobody names it",
            ]),
        ),
        (
            "A00004: a named pool need not be a default, and defaults are not added",
            named(&["a-2"], &[]),
            &["a-2"],
            ["a-1", "a-6", "b-1", "b-6"].map(other).to_vec(),
        ),
        (
            "the user's order, not that of the pools",
            named(&["b-1", "a-2", "a-1"], &[]),
            &["b-1", "a-2", "a-1"],
            ["a-6", "b-6"].map(other).to_vec(),
        ),
        (
            "A00015: a wildcard is of its family",
            named(&["a-*"], &[]),
            &["a-1", "a-2"],
            ["a-6", "b-1", "b-6"].map(other).to_vec(),
        ),
        (
            "A00015: a literal keeps its place among wildcards",
            named(&["b-?", "a-2", "a-[12]"], &["*-6"]),
            &["b-1", "a-2", "a-1", "a-6", "b-6"],
            Vec::new(),
        ),
        (
            "duplicates collapse, the first place counts",
            named(&["b-1", "b-1", "*", "b-1"], &["b-6", "b-6"]),
            &["b-1", "a-1", "a-2", "b-6"],
            ["a-6"].map(other).to_vec(),
        ),
        (
            "a wildcard without a pool is told like a name without one",
            named(&["c-*", "gone", "a-1"], &[]),
            &["a-1"],
            [
                texts(&["c-*: no such pool", "gone: no such pool"]),
                ["a-2", "a-6", "b-1", "b-6"].map(other).to_vec(),
            ]
            .concat(),
        ),
        (
            "a name without a pool is told once, however often it is written",
            named(&["gone", "gone"], &["gone"]),
            &[],
            [
                texts(&["gone: no such pool"]),
                ["a-1", "a-2", "a-6", "b-1", "b-6"].map(other).to_vec(),
            ]
            .concat(),
        ),
        (
            "a pool among those of the other family",
            named(&["a-6", "a-1"], &[]),
            &["a-1"],
            [
                texts(&["a-6: it is IPv6 and named for the other family"]),
                ["a-2", "b-1", "b-6"].map(other).to_vec(),
            ]
            .concat(),
        ),
        (
            "a pool in both lists is taken for its own family",
            named(&["a-6", "a-1"], &["a-6"]),
            &["a-1", "a-6"],
            ["a-2", "b-1", "b-6"].map(other).to_vec(),
        ),
        (
            "nothing is named",
            named(&[], &[]),
            &[],
            ["a-1", "a-2", "a-6", "b-1", "b-6"]
                .map(|name| format!("{name}: other pools are named"))
                .to_vec(),
        ),
    ] {
        let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
        assert_selects(case, &pools, &source, &stranger(), taken, &refused);
    }
}

#[test]
fn the_pool_that_restricts_more_goes_first_and_equals_keep_their_order() {
    let pod = |s: &mut PoolSpec| s.pod_affinity = selector(r#"{"matchLabels":{"app":"web"}}"#);
    let node = |s: &mut PoolSpec| s.node_name = texts(&["master"]);
    let node_labels =
        |s: &mut PoolSpec| s.node_affinity = selector(r#"{"matchLabels":{"zone":"z1"}}"#);
    let namespace = |s: &mut PoolSpec| s.namespace_name = texts(&["prod"]);
    let namespace_labels =
        |s: &mut PoolSpec| s.namespace_affinity = selector(r#"{"matchLabels":{"team":"red"}}"#);
    let network = |s: &mut PoolSpec| s.multus_name = texts(&["ipvlan-eth0"]);
    // Best first; each beats all below together.
    let ladder: [(&str, Change<'_>); 6] = [
        ("pod", &pod),
        ("node", &node),
        ("node-labels", &node_labels),
        ("namespace", &namespace),
        ("namespace-labels", &namespace_labels),
        ("network", &network),
    ];
    for (place, (name, change)) in ladder.iter().enumerate() {
        let below = v4("below", 1, |spec| {
            for (_, change) in &ladder[place + 1..] {
                change(spec);
            }
        });
        let pools = [below, v4(name, 2, change)];
        for source in [Source::Defaults, named(&["below", name], &[])] {
            assert_selects("priority", &pools, &source, &asker(), &[name, "below"], &[]);
        }
    }
    // Among those with the same highest restriction the next one decides.
    let pools = [
        v4("pod-only", 1, pod),
        v4("pod-network", 2, |s| {
            pod(s);
            network(s);
        }),
        v4("pod-node", 3, |s| {
            pod(s);
            node(s);
        }),
    ];
    let taken = ["pod-node", "pod-network", "pod-only"];
    assert_selects("next restriction", &pools, &Source::Defaults, &asker(), &taken, &[]);
    // Equals: the user's order, else that of the pools, however many there are and however the
    // others stand among them.
    let names: Vec<String> = (0..60).map(|n| format!("p{}", (n * 7) % 60)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let is_restricted = |name: &&str| name.ends_with(['1', '4', '5', '8']);
    let pools: Vec<Pool> = names
        .iter()
        .zip(1..)
        .map(|(name, at)| {
            v4(name, at, |s| {
                if is_restricted(name) {
                    node(s);
                }
            })
        })
        .collect();
    let best_first = |names: &[&str]| -> Vec<String> {
        let (restricted, open): (Vec<&str>, Vec<&str>) =
            names.iter().partition(|n| is_restricted(n));
        restricted.into_iter().chain(open).map(ToString::to_string).collect()
    };
    let mut backwards = names.clone();
    backwards.reverse();
    for (source, names) in [
        (Source::Defaults, best_first(&names)),
        (named(&names, &[]), best_first(&names)),
        (named(&backwards, &[]), best_first(&backwards)),
    ] {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_selects("equals", &pools, &source, &asker(), &names, &[]);
    }
}
