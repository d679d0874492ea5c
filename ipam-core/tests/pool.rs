//! A document becomes a valid pool or a list of everything that is wrong with it.

use std::time::{Duration, Instant};

use ipam_core::{LabelSelector, MOST_RANGES, Pool, PoolDocument, PoolSpec, RangeSet, RouteSpec};

fn spec() -> PoolSpec {
    PoolSpec {
        subnet: "172.31.192.0/20".into(),
        ips: vec!["172.31.199.185-172.31.199.189".into()],
        gateway: Some("172.31.207.253".into()),
        ..PoolSpec::default()
    }
}

fn refused(change: impl FnOnce(&mut PoolSpec)) -> String {
    let mut spec = spec();
    change(&mut spec);
    Pool::new("p", &spec).unwrap_err().to_string()
}

#[test]
fn each_rule_names_field_value_and_rule() {
    let route = |dst: &str, gw: &str| RouteSpec { dst: dst.into(), gw: gw.into() };
    for (shown, expected) in [
        (
            refused(|s| s.ips = vec!["10.0.0.1".into()]),
            r#"spec.ips[0] "10.0.0.1": it must lie in the subnet 172.31.192.0/20"#,
        ),
        (
            refused(|s| s.ips = vec!["172.31.199.9-172.31.199.1".into()]),
            "spec.ips[0] \"172.31.199.9-172.31.199.1\": \"172.31.199.9-172.31.199.1\" is reversed",
        ),
        (
            refused(|s| s.ips.push("172.31.207.250-172.31.208.5".into())),
            r#"spec.ips[1] "172.31.207.250-172.31.208.5": it must lie in the subnet"#,
        ),
        (
            refused(|s| s.ips = vec!["fd00::1".into()]),
            r#"spec.ips[0] "fd00::1": it must lie in the subnet"#,
        ),
        (
            refused(|s| s.exclude_ips = vec!["1.1.1.1".into()]),
            r#"spec.excludeIPs[0] "1.1.1.1": it must lie in the subnet"#,
        ),
        (
            refused(|s| s.subnet = "172.31.192.1/20".into()),
            "spec.subnet \"172.31.192.1/20\": it has bits set behind its prefix: \
             write 172.31.192.0/20",
        ),
        (refused(|s| s.subnet = "172.31".into()), r#"spec.subnet "172.31": it must be a CIDR"#),
        (
            refused(|s| s.gateway = Some("10.0.0.1".into())),
            r#"spec.gateway "10.0.0.1": it must lie in the subnet"#,
        ),
        (refused(|s| s.gateway = Some("x".into())), r#"spec.gateway "x": it must be an address"#),
        (
            refused(|s| s.ip_version = Some(6)),
            r#"spec.ipVersion "6": the subnet 172.31.192.0/20 is IPv4"#,
        ),
        (
            refused(|s| s.routes = vec![route("0.0.0.0/0", "172.31.207.253")]),
            "spec.routes[0].dst \"0.0.0.0/0\": the default route comes from spec.gateway",
        ),
        (
            refused(|s| s.routes = vec![route("fd00::/8", "172.31.207.253")]),
            "spec.routes[0].dst \"fd00::/8\": it must be of the subnet's family",
        ),
        (
            refused(|s| s.routes = vec![route("10.0.0.0/8", "1.1.1.1")]),
            "spec.routes[0].gw \"1.1.1.1\": it must lie in the subnet",
        ),
        (
            refused(|s| {
                s.routes = vec![
                    route("10.0.0.0/8", "172.31.207.253"),
                    route("10.1.0.0/8", "172.31.207.252"),
                ];
            }),
            "spec.routes[1].dst \"10.1.0.0/8\": another route has the same destination",
        ),
        (refused(|s| s.multus_name = vec!["a/b/c".into()]), "spec.multusName[0] \"a/b/c\":"),
        (
            refused(|s| s.node_name = vec![String::new()]),
            "spec.nodeName[0] \"\": a node name must not be empty",
        ),
        (Pool::new("Big", &spec()).unwrap_err().to_string(), "metadata.name \"Big\":"),
    ] {
        assert!(shown.contains(expected), "{shown}\n does not contain\n{expected}");
    }
}

#[test]
fn all_violations_are_reported_at_once() {
    let mut spec = spec();
    spec.ips = vec!["9.9.9.9".into(), "b-a".into()];
    spec.gateway = Some("8.8.8.8".into());
    let violations = Pool::new("p", &spec).unwrap_err();
    let fields: Vec<&str> = violations.as_slice().iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["spec.ips[0]", "spec.ips[1]", "spec.gateway"]);
}

#[test]
fn gateway_network_broadcast_and_router_anycast_are_never_assigned() {
    let assignable = |subnet: &str, gateway: Option<&str>| {
        let spec = PoolSpec {
            subnet: subnet.into(),
            ips: vec![subnet.into()],
            gateway: gateway.map(Into::into),
            ..PoolSpec::default()
        };
        Pool::new("p", &spec).unwrap().assignable().to_string()
    };
    assert_eq!(assignable("10.0.0.0/29", Some("10.0.0.3")), "10.0.0.1-10.0.0.2,10.0.0.4-10.0.0.6");
    assert_eq!(assignable("10.0.0.0/30", None), "10.0.0.1-10.0.0.2");
    assert_eq!(assignable("10.0.0.0/31", None), "10.0.0.0-10.0.0.1");
    assert_eq!(assignable("10.0.0.7/32", None), "10.0.0.7");
    assert_eq!(assignable("fd00::/126", None), "fd00::1-fd00::3");
    assert_eq!(assignable("fd00::/127", None), "fd00::-fd00::1");
}

#[test]
fn an_empty_pool_is_legal_and_exclusions_are_subtracted() {
    let mut spec = spec();
    spec.exclude_ips = vec!["172.31.199.186".into()];
    let pool = Pool::new("p", &spec).unwrap();
    assert_eq!(pool.assignable().size(), 4);
    spec.ips.clear();
    assert_eq!(Pool::new("p", &spec).unwrap().assignable().size(), 0);
}

#[test]
fn the_canonical_spec_gives_the_same_pool_again() {
    let mut spec = spec();
    spec.ips = vec!["172.31.199.3".into(), "172.31.199.1 - 172.31.199.2".into()];
    spec.routes = vec![RouteSpec { dst: "10.1.2.3/8".into(), gw: "172.31.207.253".into() }];
    spec.multus_name = vec!["kube-system/ipvlan-eth0".into(), "b".into()];
    spec.namespace_name = vec!["default".into()];
    spec.default = Some(true);
    let pool = Pool::new("p", &spec).unwrap();
    assert_eq!(pool.spec().ips, ["172.31.199.1-172.31.199.3"]);
    assert_eq!(pool.spec().routes[0].dst, "10.0.0.0/8");
    assert_eq!(Pool::new("p", &pool.spec()).unwrap(), pool);
}

#[test]
fn an_unknown_spec_field_is_refused_by_name_and_status_is_not_read() {
    let document = |spec: &str| {
        serde_json::from_str::<PoolDocument>(&format!(
            r#"{{"apiVersion":"spiderpool.spidernet.io/v2beta1","kind":"SpiderIPPool",
                "metadata":{{"name":"p","uid":"x"}},"spec":{spec},
                "status":{{"allocatedIPCount":0}}}}"#
        ))
    };
    let read = document(r#"{"subnet":"10.0.0.0/8","ips":null,"gateway":null}"#).unwrap();
    assert_eq!(read.spec, PoolSpec { subnet: "10.0.0.0/8".into(), ..PoolSpec::default() });
    let error = document(r#"{"subnet":"10.0.0.0/8","exludeIPs":[]}"#).unwrap_err().to_string();
    assert!(error.contains("exludeIPs"), "{error}");
}

fn selector(json: &str) -> Option<LabelSelector> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn affinities_read_back() {
    let mut spec = spec();
    spec.node_affinity = selector(r#"{"matchLabels":{"zone":"z1","a.b/disk":""}}"#);
    spec.namespace_affinity = selector("{}");
    spec.pod_affinity = selector(
        r#"{"matchLabels":{"app":"web"},"matchExpressions":[
            {"key":"tier","operator":"In","values":["b","a"]},
            {"key":"tier","operator":"NotIn","values":["c"]},
            {"key":"x","operator":"Exists"},{"key":"y","operator":"DoesNotExist","values":null}]}"#,
    );
    let pool = Pool::new("p", &spec).unwrap();
    assert_eq!(
        pool.pod_affinity().unwrap().to_string(),
        "app=web,tier in (b,a),tier notin (c),x,!y"
    );
    assert_eq!(pool.node_affinity().unwrap().to_string(), "a.b/disk=,zone=z1");
    assert!(pool.namespace_affinity().unwrap().is_empty());
    assert_eq!(Pool::new("p", &pool.spec()).unwrap(), pool);
    // And through the document, as a store or a user would keep it.
    let document = PoolDocument::new("p".into(), pool.spec());
    let text = serde_json::to_string(&document).unwrap();
    let read: PoolDocument = serde_json::from_str(&text).unwrap();
    assert_eq!(Pool::new(&read.metadata.name, &read.spec).unwrap(), pool);
}

#[test]
fn labels_are_kept_and_judged_as_kubernetes_does() {
    let text = r#"{"apiVersion":"a","kind":"k","metadata":{"name":"p","uid":"u",
        "labels":{"app.kubernetes.io/managed-by":"x"},"annotations":{"y":"z"}},
        "spec":{"subnet":"10.0.0.0/24"}}"#;
    let document: PoolDocument = serde_json::from_str(text).unwrap();
    let pool = Pool::try_from(&document).unwrap();
    assert_eq!(pool.labels()["app.kubernetes.io/managed-by"], "x");
    let again = PoolDocument::from(&pool);
    assert_eq!(again.metadata, document.metadata);
    assert_eq!(Pool::try_from(&again).unwrap(), pool);
    let without = Pool::new("p", &pool.spec()).unwrap();
    assert_ne!(without, pool, "a document without them takes them away");
    assert!(!serde_json::to_string(&PoolDocument::from(&without)).unwrap().contains("labels"));
    let document: PoolDocument =
        serde_json::from_str(&text.replace(r#":"x"}"#, r#":"x y"}"#)).unwrap();
    let error = Pool::try_from(&document).unwrap_err().to_string();
    assert!(error.contains("metadata.labels[\"app.kubernetes.io/managed-by\"]"), "{error}");
    let none: PoolDocument =
        serde_json::from_str(&text.replace(r#"{"app.kubernetes.io/managed-by":"x"}"#, "null"))
            .unwrap();
    assert_eq!(Pool::try_from(&none).unwrap(), without);
}

#[test]
fn a_router_may_be_known_by_its_link_local_address() {
    let spec = |subnet: &str, gateway: &str| PoolSpec {
        subnet: subnet.into(),
        gateway: Some(gateway.into()),
        ..PoolSpec::default()
    };
    let pool = Pool::new("p", &spec("2600::/64", "fe80:ec2::1")).unwrap();
    assert_eq!(pool.gateway(), "fe80:ec2::1".parse().ok());
    assert_eq!(Pool::new("p", &pool.spec()).unwrap(), pool);
    for (subnet, gateway) in [
        ("10.0.0.0/24", "169.254.1.1"),
        ("10.0.0.0/24", "fe80::1"),
        ("2600::/64", "fec0::1"),
        ("2600::/64", "2601::1"),
    ] {
        let error = Pool::new("p", &spec(subnet, gateway)).unwrap_err().to_string();
        assert!(error.contains("it must lie in the subnet"), "{error}");
    }
}

#[test]
fn every_field_of_the_peers_document_is_read() {
    let document: PoolDocument = serde_json::from_str(
        r#"{"apiVersion":"spiderpool.spidernet.io/v2beta1","kind":"SpiderIPPool",
        "metadata":{"name":"p"},"spec":{"ipVersion":6,"subnet":"fd00::/64",
        "ips":["fd00::10-fd00::1f","fd00::2"],"excludeIPs":["fd00::11"],"gateway":"fd00::1",
        "routes":[{"dst":"fd01::/64","gw":"fd00::5"}],"podAffinity":{"matchLabels":{"a":"b"}},
        "namespaceAffinity":{"matchLabels":{"a":"b"}},"namespaceName":["n"],
        "nodeAffinity":{"matchLabels":{"a":"b"}},"nodeName":["m"],"multusName":["k/i"],
        "default":true,"disable":true}}"#,
    )
    .unwrap();
    let pool = Pool::new(&document.metadata.name, &document.spec).unwrap();
    assert_eq!(pool.assignable().to_string(), "fd00::2,fd00::10,fd00::12-fd00::1f");
    assert_eq!(pool.claimed(), *pool.assignable());
    assert_eq!(pool.gateway(), "fd00::1".parse().ok());
    assert_eq!(pool.routes()[0].dst.to_string(), "fd01::/64");
    assert_eq!(pool.routes()[0].gateway.to_string(), "fd00::5");
    assert_eq!(pool.nodes()[0].as_str(), "m");
    assert_eq!(pool.namespaces()[0].as_str(), "n");
    assert_eq!(pool.networks()[0].to_string(), "k/i");
    for affinity in [pool.pod_affinity(), pool.node_affinity(), pool.namespace_affinity()] {
        assert_eq!(affinity.unwrap().to_string(), "a=b");
    }
    assert!(pool.is_default() && pool.is_disabled());
    assert!(document.spec.warnings().is_empty());
    let bare = Pool::new("p", &spec()).unwrap();
    assert!(!bare.is_default() && !bare.is_disabled(), "both are false when absent");
}

#[test]
fn a_bad_selector_is_named_by_its_path() {
    for (field, json, expected) in [
        ("podAffinity", "{}", "spec.podAffinity \"{}\": it has no requirement"),
        (
            "podAffinity",
            r#"{"matchLabels":{},"matchExpressions":[]}"#,
            "spec.podAffinity \"{}\": it has no requirement",
        ),
        (
            "podAffinity",
            r#"{"matchLabels":{"a":"no value"}}"#,
            r#"spec.podAffinity.matchLabels["a"] "": "no value" is no label value"#,
        ),
        (
            "nodeAffinity",
            r#"{"matchExpressions":[{"key":"a","operator":"Exists"},{"key":"b","operator":"In"}]}"#,
            "spec.nodeAffinity.matchExpressions[1].values \"\": In needs at least one value",
        ),
        (
            "namespaceAffinity",
            r#"{"matchExpressions":[{"key":"a b","operator":"Exists"}]}"#,
            r#"spec.namespaceAffinity.matchExpressions[0].key "": "a b" is no label key"#,
        ),
    ] {
        let shown = refused(|spec| match field {
            "podAffinity" => spec.pod_affinity = selector(json),
            "nodeAffinity" => spec.node_affinity = selector(json),
            _ => spec.namespace_affinity = selector(json),
        });
        assert!(shown.starts_with(expected), "{shown}\n does not start with\n{expected}");
    }
    let shown = refused(|spec| {
        spec.node_affinity =
            selector(r#"{"matchExpressions":[{"key":"a","operator":"Gt","values":["5"]}]}"#);
    });
    assert_eq!(
        shown,
        "spec.nodeAffinity.matchExpressions[0].operator \"\": \"Gt\" is none of In, NotIn, Exists, \
         DoesNotExist",
        "of an unknown operator nobody knows which values it needs"
    );
}

#[test]
fn a_vlan_is_read_with_a_warning_and_dropped() {
    for vlan in [0, 100, -1, 5000] {
        let text = format!(r#"{{"subnet":"10.0.0.0/8","vlan":{vlan}}}"#);
        let spec: PoolSpec = serde_json::from_str(&text).unwrap();
        assert_eq!(spec.warnings().len(), 1);
        assert!(spec.warnings()[0].starts_with(&format!("spec.vlan {vlan}: it has no effect")));
        let pool = Pool::new("p", &spec).unwrap();
        assert_eq!(pool.spec().vlan, None);
        assert!(!serde_json::to_string(&pool.spec()).unwrap().contains("vlan"));
    }
    let spec: PoolSpec = serde_json::from_str(r#"{"subnet":"10.0.0.0/8","vlan":null}"#).unwrap();
    assert!(spec.warnings().is_empty());
}

#[test]
fn an_address_is_reserved_own_or_assignable() {
    let set = |text: &str| text.parse::<RangeSet>().unwrap();
    let pool = Pool::new("p", &spec()).unwrap();
    assert_eq!(pool.reserved(), &RangeSet::new());
    let among = pool.among(
        &set("172.31.199.185,172.31.192.7,10.0.0.0-10.0.0.9,fd00::1"),
        &set("172.31.199.187,192.168.0.1"),
    );
    assert_eq!(among.assignable().to_string(), "172.31.199.186,172.31.199.188-172.31.199.189");
    assert_eq!(
        among.reserved().to_string(),
        "172.31.192.7,172.31.199.185",
        "what lies in the subnet, whether the pool has it or not"
    );
    assert_eq!(among.claimed(), pool.claimed(), "claims do not change: other pools stay refused");
    assert_eq!(among.spec(), pool.spec(), "nor does the document");
    let twice = among.among(&set("172.31.199.186"), &RangeSet::new());
    assert_eq!(twice.assignable().to_string(), "172.31.199.188-172.31.199.189");
    assert_eq!(twice.reserved().to_string(), "172.31.192.7,172.31.199.185-172.31.199.186");
    let everything = pool.among(&set("0.0.0.0/0,::/0"), &RangeSet::new());
    assert!(everything.assignable().is_empty());
    assert_eq!(everything.reserved().to_string(), "172.31.192.0-172.31.207.255");
    assert_eq!(pool.among(&RangeSet::new(), &RangeSet::new()), pool);
}

#[test]
fn a_list_of_ranges_has_a_longest_length() {
    let many = |count| vec!["172.31.199.185".to_string(); count];
    let mut spec = spec();
    spec.ips = many(MOST_RANGES);
    spec.exclude_ips = many(MOST_RANGES);
    assert_eq!(Pool::new("p", &spec).unwrap().assignable(), &RangeSet::new());
    spec.ips = many(MOST_RANGES + 1);
    spec.exclude_ips = many(MOST_RANGES + 1);
    assert_eq!(
        Pool::new("p", &spec).unwrap_err().to_string(),
        "spec.ips \"[...]\": 65537 entries: at most 65536; \
         spec.excludeIPs \"[...]\": 65537 entries: at most 65536"
    );
}

#[test]
fn of_many_violations_the_first_hundred_are_kept_and_the_others_counted() {
    let mut spec = spec();
    spec.ips = vec!["x".to_string(); 100];
    let violations = Pool::new("p", &spec).unwrap_err();
    assert_eq!(violations.as_slice().len(), 100);
    assert!(!violations.to_string().contains("more"));
    spec.ips = vec!["x".to_string(); 50_000];
    let violations = Pool::new("p", &spec).unwrap_err();
    assert_eq!(violations.as_slice().len(), 100);
    assert_eq!(violations.as_slice()[99].field, "spec.ips[99]");
    assert!(violations.to_string().ends_with("; and 49900 more"));
}

#[test]
fn a_long_value_is_shown_by_its_beginning() {
    for text in ["9".repeat(10 << 20), "é".repeat(5 << 20), format!("{}x", " ".repeat(10 << 20))] {
        let shown = refused(|spec| {
            spec.ips = vec![text.clone()];
            spec.subnet.clone_from(&text);
            spec.gateway = Some(text.clone());
            spec.node_name = vec![text.clone()];
            spec.routes = vec![RouteSpec { dst: text.clone(), gw: text.clone() }];
            spec.pod_affinity = Some(LabelSelector {
                match_labels: [(text.clone(), text.clone())].into(),
                match_expressions: Vec::new(),
            });
        });
        assert!(shown.len() < 12_000, "a message of {} bytes", shown.len());
    }
}

/// It takes less than one second. A busy machine needs more, and whatever is quadratic minutes.
const GENEROUS: Duration = Duration::from_secs(3);

#[test]
fn ten_megabytes_are_read_or_refused_at_once() {
    let ten_megabytes = 10 << 20;
    let limit = |what: &str, act: &mut dyn FnMut()| {
        let start = Instant::now();
        act();
        assert!(start.elapsed() < GENEROUS, "{what} took {:?}", start.elapsed());
    };
    // As short as entries get: refused by their number.
    let short = vec!["172.31.199.185".to_string(); ten_megabytes / 14];
    // As many as are allowed, none touching the next, in the worst order.
    let apart: Vec<String> = (0..u32::try_from(MOST_RANGES).unwrap())
        .rev()
        .map(|n| std::net::Ipv4Addr::from_bits(0x0a00_0001 + 2 * n))
        .map(|address| format!("{address}{}", " ".repeat(150)))
        .collect();
    assert!(apart.iter().map(String::len).sum::<usize>() > ten_megabytes);
    let one = "1".repeat(ten_megabytes);
    limit("too many", &mut || assert!(refused(|s| s.ips.clone_from(&short)).contains("at most")));
    limit("padded", &mut || {
        let mut spec = PoolSpec { subnet: "10.0.0.0/8".into(), ..PoolSpec::default() };
        spec.ips.clone_from(&apart);
        spec.exclude_ips.clone_from(&apart);
        let pool = Pool::new("p", &spec).unwrap();
        assert_eq!(pool.assignable().size(), 0);
    });
    limit("one entry", &mut || {
        assert!(refused(|s| s.ips = vec![one.clone()]).contains("spec.ips[0]"));
    });
    let routes: Vec<RouteSpec> = (0..260_000_u32)
        .map(|n| std::net::Ipv4Addr::from_bits(n << 8))
        .map(|dst| RouteSpec { dst: format!("{dst}/24"), gw: "172.31.207.253".into() })
        .collect();
    limit("routes", &mut || {
        let spec = PoolSpec { routes: routes.clone(), ..spec() };
        assert!(Pool::new("p", &spec).is_ok_and(|pool| pool.routes().len() == 260_000));
    });
    let text = apart.join(",");
    limit("a set from text", &mut || {
        assert_eq!(text.parse::<RangeSet>().unwrap().ranges().len(), MOST_RANGES);
    });
}
