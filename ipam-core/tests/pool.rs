//! A document becomes a valid pool or a list of everything that is wrong with it.

use ipam_core::{Pool, PoolDocument, PoolSpec, RouteSpec};

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
            r#"spec.subnet "172.31.192.1/20": it has bits set behind its prefix: write 172.31.192.0/20"#,
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
                "metadata":{{"name":"p","uid":"x"}},"spec":{spec},"status":{{"allocatedIPCount":0}}}}"#
        ))
    };
    let read = document(r#"{"subnet":"10.0.0.0/8","ips":null,"gateway":null}"#).unwrap();
    assert_eq!(read.spec, PoolSpec { subnet: "10.0.0.0/8".into(), ..PoolSpec::default() });
    let error = document(r#"{"subnet":"10.0.0.0/8","exludeIPs":[]}"#).unwrap_err().to_string();
    assert!(error.contains("exludeIPs"), "{error}");
}
