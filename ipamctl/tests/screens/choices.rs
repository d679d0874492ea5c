//! `ipamctl why`.

use crate::fixture::Fixture;

const CONFLIST: &str = r#"{"cniVersion":"1.0.0","name":"ipvlan-eth0","plugins":[
    {"type":"cni-ipvlan","ipam":{"type":"cni-ipam","nodeName":"master",
        "network":"kube-system/ipvlan-eth0"}},
    {"type":"portmap"}]}"#;

#[test]
fn each_pool_is_chosen_next_or_refused_by_a_rule() {
    let fixture = Fixture::new();
    let file = fixture.write("net.d/10.conflist", CONFLIST);
    let before = fixture.store().contents().unwrap();
    let said = fixture.shown(&["why", "-f", &file, "--pod", "prod/web-9"]);
    for line in [
        "1       cloud   4         74      84      chosen: 172.31.199.103",
        "2       big     4         65363   65529   would be next",
        "-       six     -         -       -       refused: default is not true and nobody names it",
    ] {
        assert!(said.lines().any(|it| it == line), "{line}\n{said}");
    }
    let said = fixture.shown(&["why", "-f", &file, "--node", "worker"]);
    assert!(said.contains("refused: nodeName is [master], this node is worker"), "{said}");
    assert!(said.contains("namespaceName is [prod], the pod's is not known"), "{said}");
    assert!(said.contains("nothing: no pool may be used"), "{said}");
    let named = r#"ipam.spidernet.io/ippool={"ipv6":["six"]}"#;
    let said = fixture.shown(&["why", "-f", &file, "--annotation", named]);
    assert!(said.contains("2001:db8:1:2::1/64 of pool six"), "{said}");
    assert_eq!(fixture.store().contents().unwrap(), before, "nothing is written");
}

#[test]
fn a_pod_that_holds_something_is_told_what_it_would_get_now() {
    let fixture = Fixture::new();
    fixture.write("net.d/05-other.conf", "{");
    fixture.write("net.d/10.conflist", CONFLIST);
    let conf_dir = fixture.path("net.d").display().to_string();
    let said = fixture.shown(&["why", "default/web-2", "--conf-dir", &conf_dir]);
    assert!(said.contains("172.31.199.105 of pool cloud for 2h"), "{said}");
    assert!(said.contains("Would get now:  172.31.199.103/20 of pool cloud"), "{said}");
    let nobody = fixture.refused(&["why", "default/nobody", "--conf-dir", &conf_dir]);
    assert!(nobody.contains("pod default/nobody holds no address"), "{nobody}");
    let empty = fixture.write("none.d/x", "");
    let empty = std::path::Path::new(&empty).parent().unwrap().display().to_string();
    let missing = fixture.refused(&["why", "default/web-2", "--conf-dir", &empty]);
    assert!(missing.contains("172.31.199.105 (cloud) in network ipvlan-eth0"), "{missing}");
}

/// The same answer as a real ADD gets.
#[test]
fn the_store_gives_what_was_foretold() {
    let fixture = Fixture::new();
    let file = fixture.write("net.d/10.conflist", CONFLIST);
    let told = fixture.json(&["why", "-f", &file, "--pod", "prod/web-9"]);
    let address = told["interfaces"][0]["wouldGet"][0]["address"].as_str().unwrap();
    let asker = ipam_core::Asker {
        namespace: Some("prod".parse().unwrap()),
        ..ipam_core::Asker::new(
            "master".parse().unwrap(),
            "kube-system/ipvlan-eth0".parse().unwrap(),
        )
    };
    let attachment = ipam_core::Attachment {
        network: "ipvlan-eth0".parse().unwrap(),
        container: "new".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    let demand = ipam_core::Demand::new(attachment, asker);
    let request = ipam_store::Request { demand, netns: None };
    let given = fixture.store().allocate(&request).unwrap();
    assert_eq!(format!("{}/20", given[0].lease.address), address);
}

/// What it holds is no reason why it would not get it.
#[test]
fn a_pod_that_holds_the_only_address_would_get_that() {
    let fixture = Fixture::new();
    let one = ipam_core::PoolSpec {
        subnet: "10.9.0.0/24".into(),
        ips: vec!["10.9.0.7".into()],
        multus_name: vec!["only".into()],
        default: Some(true),
        ..ipam_core::PoolSpec::default()
    };
    let pools = vec![crate::fixture::pool("one", &one)];
    let declared = ipam_store::Declared { pools, reserved: Vec::new() };
    fixture.store().apply(&declared).unwrap();
    let mut lease = crate::fixture::lease("10.9.0.7", "one", Some("single"), None);
    lease.attachment.network = "only".parse().unwrap();
    assert_eq!(fixture.store().adopt(&[lease], |_| false).unwrap(), []);
    let conflist = r#"{"cniVersion":"1.0.0","name":"only","type":"cni-ipvlan",
        "ipam":{"type":"cni-ipam","nodeName":"master"}}"#;
    let file = fixture.write("net.d/only.conf", conflist);
    let conf_dir = fixture.path("net.d").display().to_string();
    let said = fixture.shown(&["why", "single", "--conf-dir", &conf_dir]);
    assert!(said.contains("Would get now:  10.9.0.7/24 of pool one"), "{said}");
    let said = fixture.shown(&["why", "-f", &file, "--pod", "default/other"]);
    assert!(said.contains("full: 1 held, 0 cooling down"), "{said}");
    assert!(said.contains("`ipamctl gc --dry-run` shows it"), "{said}");
}
