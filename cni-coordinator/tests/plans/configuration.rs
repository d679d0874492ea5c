//! Every field: its spellings, its default, its limits.

use std::path::Path;

use cni_coordinator::{CoordinatorConfig, DEFAULT_STATE_DIR, LinkPattern, WantedMode};
use cni_proto::{DelConfig, NetworkConfig};

use crate::pods::read;

fn hijacked(config: &CoordinatorConfig) -> Vec<(String, bool)> {
    config.hijacked.iter().map(|it| (it.cidr.to_string(), it.service)).collect()
}

#[test]
fn defaults() {
    let config = read("").unwrap();
    assert_eq!(config.mode, WantedMode::Auto);
    assert!(config.tune_pod_routes);
    assert_eq!((config.default_route_nic.as_deref(), &*config.first_nic), (None, "eth0"));
    assert_eq!(hijacked(&config), [("169.254.0.0/16".to_owned(), false)]);
    assert!(config.policy_routes.is_empty());
    assert_eq!((config.host_table, config.rp_filter), (500, Some(0)));
    assert_eq!((config.tx_queue_len, config.veth_mtu, config.veth_address), (None, None, None));
    assert_eq!(config.mark.to_string(), "0x80/0x80");
    assert_eq!(config.state_dir, Path::new(DEFAULT_STATE_DIR));
    assert_eq!(config.host_interface_exclude, LinkPattern::defaults());

    let fields = [
        "mode",
        "tunePodRoutes",
        "podDefaultRouteNIC",
        "podDefaultCniNic",
        "overlayPodCIDR",
        "serviceCIDR",
        "hijackCIDR",
        "policyRoutes",
        "hostRuleTable",
        "podRPFilter",
        "txQueueLen",
        "vethLinkAddress",
        "vethMTU",
        "podMACPrefix",
        "mark",
        "stateDir",
        "hostInterfaceExclude",
    ];
    let null: Vec<_> = fields.iter().map(|field| format!(r#""{field}":null"#)).collect();
    assert_eq!(read(&null.join(",")).unwrap(), config);
    let empty = r#""mode":"","podDefaultRouteNic":"","podDefaultCniNic":"","overlayPodCIDR":[],
        "serviceCIDR":[],"policyRoutes":[],"txQueueLen":0,"vethLinkAddress":"","vethMTU":0,
        "podMACPrefix":"","mark":"","stateDir":"""#;
    assert_eq!(read(empty).unwrap(), config);
}

#[test]
fn every_field_is_read() {
    let config = read(
        r#""mode":"underlay","tunePodRoutes":false,"podDefaultRouteNic":"net1",
           "podDefaultCniNic":"ens5","overlayPodCIDR":["10.233.64.7/18"],
           "serviceCIDR":["10.233.0.0/18","fd00:10:233::/116"],
           "hijackCIDR":["169.254.20.10","10.233.0.0/18","fd00::a"],
           "policyRoutes":[{"dst":"10.9.0.9","gw":"10.0.0.1"}],"hostRuleTable":600,"podRPFilter":2,
           "txQueueLen":1000,"vethLinkAddress":"fd00::7","vethMTU":1400,"mark":"0x40/0xc0",
           "stateDir":"/var/lib/x","hostInterfaceExclude":["lo","cilium*"]"#,
    )
    .unwrap();
    assert_eq!(config.mode, WantedMode::Underlay);
    assert!(!config.tune_pod_routes);
    assert_eq!((config.default_route_nic.as_deref(), &*config.first_nic), (Some("net1"), "ens5"));
    let expected = [
        ("10.233.64.0/18", false),
        ("10.233.0.0/18", true),
        ("fd00:10:233::/116", true),
        ("169.254.20.10/32", false),
        ("fd00::a/128", false),
    ];
    assert_eq!(hijacked(&config), expected.map(|(cidr, service)| (cidr.to_owned(), service)));
    assert_eq!(config.policy_routes[0].dst.to_string(), "10.9.0.9/32");
    assert_eq!(config.policy_routes[0].gw.to_string(), "10.0.0.1");
    assert_eq!((config.host_table, config.rp_filter), (600, Some(2)));
    assert_eq!((config.tx_queue_len, config.veth_mtu), (Some(1000), Some(1400)));
    assert_eq!(config.veth_address.unwrap().to_string(), "fd00::7");
    assert_eq!(config.mark.to_string(), "0x40/0xc0");
    assert_eq!(config.state_dir, Path::new("/var/lib/x"));
    let excluded: Vec<_> = config.host_interface_exclude.iter().map(ToString::to_string).collect();
    assert_eq!(excluded, ["lo", "cilium*"]);
}

#[test]
fn spellings_of_the_peer() {
    for key in ["podDefaultRouteNic", "podDefaultRouteNIC", "PodDefaultRouteNic"] {
        let config = read(&format!(r#""{key}":"net1""#)).unwrap();
        assert_eq!(config.default_route_nic.as_deref(), Some("net1"), "{key}");
    }
    for key in ["podDefaultCniNic", "podDefaultCniNIC"] {
        assert_eq!(read(&format!(r#""{key}":"ens5""#)).unwrap().first_nic, "ens5", "{key}");
    }
    for word in ["disable", "disabled"] {
        let mode = read(&format!(r#""mode":"{word}""#)).unwrap().mode;
        assert_eq!(mode, WantedMode::Disabled);
    }
    for (word, mode) in [("auto", WantedMode::Auto), ("overlay", WantedMode::Overlay)] {
        assert_eq!(read(&format!(r#""mode":"{word}""#)).unwrap().mode, mode);
    }
    assert_eq!(read(r#""podRPFilter":-3"#).unwrap().rp_filter, None);
    assert_eq!(read(r#""mark":256"#).unwrap().mark.to_string(), "0x100/0x100");
    assert!(read(r#""hijackCIDR":[]"#).unwrap().hijacked.is_empty());
    // Without effect in the peer, or another's.
    let config = read(
        r#""detectGateway":true,"detectIPConflict":true,"IPConflict":true,"hostRPFilter":0,
           "detectOptions":{"retries":3,"interval":"10ms","timeout":"100ms"},"podCIDRType":"auto",
           "multusNicPrefix":"net","logOptions":{"logLevel":"debug","logFile":"/x"},"unknown":[1]"#,
    );
    assert_eq!(config.unwrap(), read("").unwrap());
}

#[test]
fn what_cannot_be_is_refused_with_field_value_and_remedy() {
    for (fields, expected) in [
        (
            r#""mode":"bridge""#,
            "mode \"bridge\": it must be one of auto, underlay, overlay, disabled, disable",
        ),
        (r#""mode":"Underlay""#, "mode \"Underlay\": it must be one of"),
        (
            r#""podDefaultRouteNIC":"a/b""#,
            "podDefaultRouteNIC \"a/b\": the name of a link has 1 to 15 bytes",
        ),
        (r#""podDefaultCniNic":"sixteen-bytes-00""#, "podDefaultCniNic \"sixteen-bytes-00\": "),
        (
            r#""serviceCIDR":["10.233.0.0/33"]"#,
            "serviceCIDR \"10.233.0.0/33\": it must be a CIDR, as 10.233.0.0/18, or an address",
        ),
        (r#""overlayPodCIDR":["x"]"#, "overlayPodCIDR \"x\": it must be a CIDR"),
        (
            r#""hijackCIDR":["0.0.0.0/0"]"#,
            "hijackCIDR \"0.0.0.0/0\": this is every destination, which is for podDefaultRouteNIC",
        ),
        (
            r#""policyRoutes":[{"dst":"10.0.0.0/8","gw":"fd00::1"}]"#,
            "policyRoutes: gw \"fd00::1\": dst 10.0.0.0/8 is of the other family",
        ),
        (
            r#""policyRoutes":[{"dst":"10.0.0.0/8"}]"#,
            "policyRoutes: gw \"\": it must be an address",
        ),
        (r#""policyRoutes":[{"gw":"10.0.0.1"}]"#, "policyRoutes: dst \"\": it must be a CIDR"),
        (r#""hostRuleTable":0"#, "hostRuleTable 0: it must be from 1 to 4294967295"),
        (r#""hostRuleTable":254"#, "hostRuleTable 254: "),
        (r#""hostRuleTable":4294967296"#, "hostRuleTable 4294967296: "),
        (r#""podRPFilter":3"#, "podRPFilter 3: it must be 0 (off), 1 (strict), 2 (loose) or neg"),
        (r#""txQueueLen":-1"#, "txQueueLen -1: it must be from 0"),
        (r#""vethMTU":-1"#, "vethMTU -1: it must be 0, which is the MTU of the pod's NIC, or from"),
        (r#""vethMTU":67"#, "vethMTU 67: "),
        (r#""vethMTU":65536"#, "vethMTU 65536: "),
        (r#""vethLinkAddress":"10.0.0.1/32""#, "vethLinkAddress \"10.0.0.1/32\": it must be one"),
        (r#""vethLinkAddress":"224.0.0.1""#, "vethLinkAddress \"224.0.0.1\": "),
        (
            r#""podMACPrefix":"0a:1b""#,
            "podMACPrefix \"0a:1b\": an ipvlan link has the MAC of its NIC",
        ),
        (r#""mark":"0x180/0x80""#, "mark: \"0x180/0x80\" is no mark: write VALUE/MASK"),
        (r#""mark":0"#, "mark: \"0\" is no mark"),
        (r#""mark":[1]"#, "mark: it must be a number, or a text as \"0x80/0x80\""),
        (r#""stateDir":"relative""#, "stateDir \"relative\": it must be an absolute path"),
        (r#""hostInterfaceExclude":["^lo$ "]"#, "hostInterfaceExclude: \"^lo$ \" is no link's"),
        (r#""tunePodRoutes":"yes""#, "tunePodRoutes: invalid type: string \"yes\""),
    ] {
        let error = read(fields).unwrap_err();
        assert_eq!(error.code.number(), 7, "{fields}");
        assert!(error.to_string().contains(expected), "{fields}: {error}");
    }
}

#[test]
fn a_del_needs_only_the_place_of_the_records() {
    let of = |fields: &str| {
        let text = format!(r#"{{"name":"n","type":"cni-coordinator"{fields}}}"#);
        CoordinatorConfig::state_dir_of_del(&DelConfig::parse(text.as_bytes()).unwrap())
    };
    let default = Path::new(DEFAULT_STATE_DIR);
    assert_eq!(of(""), default);
    assert_eq!(of(r#","mode":7,"hostRuleTable":"x","stateDir":"/srv/x""#), Path::new("/srv/x"));
    for broken in [r#","stateDir":"x""#, r#","stateDir":{}"#, r#","stateDir":"""#] {
        assert_eq!(of(broken), default, "{broken}");
    }
}

#[test]
fn the_example_is_valid() {
    let list = include_str!("../../../examples/10-node-ipam-services.conflist");
    let mut list: serde_json::Value = serde_json::from_str(list).unwrap();
    let mut own = list["plugins"][1].take();
    own["name"] = list["name"].take();
    own["cniVersion"] = list["cniVersion"].take();
    let config = NetworkConfig::parse(own.to_string().as_bytes()).unwrap();
    let config = CoordinatorConfig::new(&config).unwrap();
    assert_eq!((config.mode, config.hijacked.len()), (WantedMode::Auto, 3));
}

/// As containerd hands it over.
#[test]
fn the_pods_annotation_names_the_nic_before_the_configuration_does() {
    let annotated = |name: &str| {
        read(&format!(
            r#""podDefaultRouteNIC":"net1","runtimeConfig":{{"io.kubernetes.cri.pod-annotations":
               {{"ipam.spidernet.io/default-route-nic":{name:?}}}}}"#
        ))
    };
    assert_eq!(annotated("net2").unwrap().default_route_nic.as_deref(), Some("net2"));
    assert_eq!(annotated("").unwrap().default_route_nic.as_deref(), Some("net1"));
    for wrong in ["a b", "a/b", &"x".repeat(200_000)] {
        let error = annotated(wrong).unwrap_err();
        assert_eq!(error.code, cni_proto::Code::INVALID_CONFIG);
        let key = "annotation ipam.spidernet.io/default-route-nic";
        assert!(error.msg.starts_with(key) && error.msg.len() < 300, "{error}");
    }
}
