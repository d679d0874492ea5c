//! Which rule lets a pool through and which refuses it.

use ipam_core::{Asker, Family, Labels, Selection, Source, select};

use crate::{Change, asker, assert_selects, labels, named, pool, selector, stranger, texts, v4};

/// Id and story, what the pool restricts, who asks, and the refusal if there is one.
type Case<'a> = (&'a str, Change<'a>, Asker, Option<&'a str>);

fn assert_cases(cases: &[Case<'_>]) {
    for (case, change, asker, refusal) in cases {
        for family in [Family::V4, Family::V6] {
            let pools = [pool("p", family, 1, change)];
            let told: Vec<String> = refusal.iter().map(|text| format!("p: {text}")).collect();
            let told: Vec<&str> = told.iter().map(String::as_str).collect();
            let taken: &[&str] = if refusal.is_none() { &["p"] } else { &[] };
            assert_selects(case, &pools, &Source::Defaults, asker, taken, &told);
            // Naming a pool overrides `default`, and no filter.
            let source = named(&["p"], &["p"]);
            let is_told = |selection: &Selection<'_, '_>| {
                let refusals: Vec<String> =
                    selection.refusals.iter().map(ToString::to_string).collect();
                refusal.is_none_or(|text| refusals.contains(&format!("p: {text}")))
            };
            let selection = select(&pools, &source, asker);
            assert_eq!(selection.candidates.is_empty(), refusal.is_some(), "{case}, named");
            assert!(is_told(&selection), "{case}, named: {selection:?}");
        }
    }
}

#[test]
fn a_pool_serves_its_nodes() {
    let on = |node: &str| Asker { node: node.parse().unwrap(), ..asker() };
    let zone = r#"{"matchLabels":{"zone":"z1"}}"#;
    let other_zone = r#"{"matchLabels":{"zone":"z2"}}"#;
    assert_cases(&[
        ("no restriction", &|_| {}, stranger(), None),
        ("D00005 disable", &|s| s.disable = Some(true), asker(), Some("disable is true")),
        ("D00011", &|s| s.node_name = texts(&["worker", "master"]), asker(), None),
        (
            "D00012",
            &|s| s.node_name = texts(&["worker", "other"]),
            asker(),
            Some("nodeName is [worker other], this node is master"),
        ),
        (
            "node names are exact",
            &|s| s.node_name = texts(&["master"]),
            on("master2"),
            Some("nodeName is [master], this node is master2"),
        ),
        ("L00001", &|s| s.node_affinity = selector(zone), asker(), None),
        (
            "L00002",
            &|s| s.node_affinity = selector(other_zone),
            asker(),
            Some("nodeAffinity is zone=z2, the labels are [disk=ssd zone=z1]"),
        ),
        (
            "L00002, the node's labels are not known",
            &|s| s.node_affinity = selector(zone),
            stranger(),
            Some("nodeAffinity is zone=z1, the labels are not known"),
        ),
        (
            "L00007: each node of a zone",
            &|s| {
                s.node_affinity = selector(
                    r#"{"matchExpressions":[{"key":"zone","operator":"In","values":["z0","z1"]}]}"#,
                );
            },
            on("any"),
            None,
        ),
        (
            "D00013: the name is there, the affinity is not heard",
            &|s| {
                s.node_name = texts(&["master"]);
                s.node_affinity = selector(other_zone);
            },
            asker(),
            None,
        ),
        (
            "D00013: the affinity does not help a wrong name",
            &|s| {
                s.node_name = texts(&["worker"]);
                s.node_affinity = selector(zone);
            },
            asker(),
            Some("nodeName is [worker], this node is master"),
        ),
    ]);
}

#[test]
fn a_pool_serves_its_namespaces() {
    let with = |namespace: &str| Asker { namespace: Some(namespace.parse().unwrap()), ..asker() };
    assert_cases(&[
        ("D00014", &|s| s.namespace_name = texts(&["dev", "prod"]), asker(), None),
        (
            "D00015",
            &|s| s.namespace_name = texts(&["prod"]),
            with("dev"),
            Some("namespaceName is [prod], the pod's is dev"),
        ),
        (
            "D00015, the pod's namespace is not known",
            &|s| s.namespace_name = texts(&["prod", "dev"]),
            stranger(),
            Some("namespaceName is [prod dev], the pod's is not known"),
        ),
        (
            "L00003",
            &|s| s.namespace_affinity = selector(r#"{"matchLabels":{"team":"red"}}"#),
            asker(),
            None,
        ),
        (
            "L00004",
            &|s| s.namespace_affinity = selector(r#"{"matchLabels":{"team":"blue"}}"#),
            asker(),
            Some("namespaceAffinity is team=blue, the labels are [team=red]"),
        ),
        (
            "L00004, the namespace's labels are not known",
            &|s| s.namespace_affinity = selector(r#"{"matchLabels":{"team":"red"}}"#),
            stranger(),
            Some("namespaceAffinity is team=red, the labels are not known"),
        ),
        (
            "D00016: the name is there, the affinity is not heard",
            &|s| {
                s.namespace_name = texts(&["prod"]);
                s.namespace_affinity = selector(r#"{"matchLabels":{"team":"blue"}}"#);
            },
            asker(),
            None,
        ),
        (
            "D00016: the affinity does not help a wrong name",
            &|s| {
                s.namespace_name = texts(&["dev"]);
                s.namespace_affinity = selector(r#"{"matchLabels":{"team":"red"}}"#);
            },
            asker(),
            Some("namespaceName is [dev], the pod's is prod"),
        ),
    ]);
}

#[test]
fn a_pool_serves_its_pods() {
    assert_cases(&[
        (
            "L00005",
            &|s| s.pod_affinity = selector(r#"{"matchLabels":{"app":"web","tier":"front"}}"#),
            asker(),
            None,
        ),
        (
            "L00006: every label must be there",
            &|s| s.pod_affinity = selector(r#"{"matchLabels":{"app":"web","tier":"back"}}"#),
            asker(),
            Some("podAffinity is app=web,tier=back, the labels are [app=web tier=front]"),
        ),
        (
            "L00006, the pod's labels are not known",
            &|s| s.pod_affinity = selector(r#"{"matchLabels":{"app":"web"}}"#),
            stranger(),
            Some("podAffinity is app=web, the labels are not known"),
        ),
        (
            "the pod is known to have no labels",
            &|s| s.pod_affinity = selector(r#"{"matchLabels":{"app":"web"}}"#),
            Asker { pod_labels: Some(Labels::new()), ..asker() },
            Some("podAffinity is app=web, the labels are []"),
        ),
        (
            "an unknown label is not an absent one",
            &|s| {
                s.pod_affinity =
                    selector(r#"{"matchExpressions":[{"key":"app","operator":"DoesNotExist"}]}"#);
            },
            stranger(),
            Some("podAffinity is !app, the labels are not known"),
        ),
        (
            "an affinity without requirements restricts nobody, known or not",
            &|s| {
                s.node_affinity = selector("{}");
                s.namespace_affinity = selector("{}");
            },
            stranger(),
            None,
        ),
    ]);
}

#[test]
fn a_pool_serves_its_networks() {
    let via = |network: &str| Asker { network: network.parse().unwrap(), ..asker() };
    assert_cases(&[
        ("D00009", &|s| s.multus_name = texts(&["kube-system/ipvlan-eth0"]), asker(), None),
        (
            "D00009: one of several",
            &|s| s.multus_name = texts(&["a/b", "kube-system/ipvlan-eth0"]),
            asker(),
            None,
        ),
        (
            "D00009: a name alone is that network in any namespace",
            &|s| s.multus_name = texts(&["ipvlan-eth0"]),
            asker(),
            None,
        ),
        (
            "D00009: a plain configuration has no namespace to give",
            &|s| s.multus_name = texts(&["kube-system/ipvlan-eth0"]),
            via("ipvlan-eth0"),
            None,
        ),
        (
            "D00010",
            &|s| s.multus_name = texts(&["kube-system/ipvlan-eth1", "ipvlan-eth2"]),
            asker(),
            Some(
                "multusName is [kube-system/ipvlan-eth1 ipvlan-eth2], \
                 this network is kube-system/ipvlan-eth0",
            ),
        ),
        (
            "D00010: the namespace counts",
            &|s| s.multus_name = texts(&["default/ipvlan-eth0"]),
            asker(),
            Some("multusName is [default/ipvlan-eth0], this network is kube-system/ipvlan-eth0"),
        ),
    ]);
}

#[test]
fn the_first_rule_in_the_peers_order_is_told() {
    assert_cases(&[
        (
            "all fields must hold: the peer's order names node before namespace",
            &|s| {
                s.node_name = texts(&["worker"]);
                s.namespace_name = texts(&["dev"]);
            },
            asker(),
            Some("nodeName is [worker], this node is master"),
        ),
        (
            "disable before node",
            &|s| {
                s.disable = Some(true);
                s.node_name = texts(&["worker"]);
            },
            asker(),
            Some("disable is true"),
        ),
        (
            "namespace before pod",
            &|s| {
                s.namespace_name = texts(&["dev"]);
                s.pod_affinity = selector(r#"{"matchLabels":{"app":"db"}}"#);
            },
            asker(),
            Some("namespaceName is [dev], the pod's is prod"),
        ),
        (
            "pod before network",
            &|s| {
                s.pod_affinity = selector(r#"{"matchLabels":{"app":"db"}}"#);
                s.multus_name = texts(&["b"]);
            },
            asker(),
            Some("podAffinity is app=db, the labels are [app=web tier=front]"),
        ),
    ]);
}

#[test]
fn every_operator_selects_in_every_affinity() {
    let expression = |key: &str, operator: &str, values: &str| {
        let body = format!(r#""key":"{key}","operator":"{operator}","values":[{values}]"#);
        format!(r#"{{"matchExpressions":[{{{body}}}]}}"#)
    };
    for (selector_json, matches, shown) in [
        (r#"{"matchLabels":{"k":"a"}}"#.to_string(), true, "k=a"),
        (r#"{"matchLabels":{"k":"b"}}"#.to_string(), false, "k=b"),
        (expression("k", "In", r#""b","a""#), true, "k in (b,a)"),
        (expression("k", "In", r#""b","c""#), false, "k in (b,c)"),
        (expression("gone", "In", r#""a","b""#), false, "gone in (a,b)"),
        (expression("k", "NotIn", r#""b","c""#), true, "k notin (b,c)"),
        (expression("k", "NotIn", r#""a""#), false, "k notin (a)"),
        (expression("gone", "NotIn", r#""a""#), true, "gone notin (a)"),
        (expression("k", "Exists", ""), true, "k"),
        (expression("gone", "Exists", ""), false, "gone"),
        (expression("k", "DoesNotExist", ""), false, "!k"),
        (expression("gone", "DoesNotExist", ""), true, "!gone"),
    ] {
        let known = Some(labels(&[("k", "a")]));
        let asker = Asker {
            node_labels: known.clone(),
            namespace_labels: known.clone(),
            pod_labels: known,
            ..stranger()
        };
        for field in ["nodeAffinity", "namespaceAffinity", "podAffinity"] {
            let pools = [v4("p", 1, |spec| {
                let affinity = match field {
                    "nodeAffinity" => &mut spec.node_affinity,
                    "namespaceAffinity" => &mut spec.namespace_affinity,
                    _ => &mut spec.pod_affinity,
                };
                *affinity = selector(&selector_json);
            })];
            let taken: &[&str] = if matches { &["p"] } else { &[] };
            let told = format!("p: {field} is {shown}, the labels are [k=a]");
            let told: &[&str] = if matches { &[] } else { &[&told] };
            assert_selects(shown, &pools, &Source::Defaults, &asker, taken, told);
        }
    }
}

#[test]
fn two_namespaces_share_a_pool_and_one_uses_two() {
    // L00009
    let pools = [
        v4("shared", 1, |s| s.namespace_name = texts(&["prod", "dev"])),
        v4("own", 2, |s| s.namespace_name = texts(&["prod"])),
    ];
    assert_selects("prod", &pools, &Source::Defaults, &asker(), &["shared", "own"], &[]);
    let dev = Asker { namespace: Some("dev".parse().unwrap()), ..asker() };
    let refused = ["own: namespaceName is [prod], the pod's is dev"];
    assert_selects("dev", &pools, &Source::Defaults, &dev, &["shared"], &refused);
}
