use serde_json::json;

use super::*;

const ID: &str = "4f0e7c1d2b3a49585f6e7d8c9baf0e1d2c3b4a59687f6e5d4c3b2a190f8e7d6c";

struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("results")).unwrap();
        Self(dir)
    }

    fn add(&self, name: &str, text: &str) -> &Self {
        fs::write(self.0.path().join("results").join(name), text).unwrap();
        self
    }

    fn read(&self) -> ResultCache {
        ResultCache::read(self.0.path()).unwrap()
    }
}

fn info() -> Value {
    json!({
        "kind": "cniCacheV1",
        "containerId": ID,
        "config": "eyJjbmlWZXJzaW9uIjoiMS4wLjAifQ==",
        "ifName": "eth0",
        "networkName": "ipvlan-eth0",
        "netns": "/var/run/netns/cni-1",
        "cniArgs": [
            ["IgnoreUnknown", "1"],
            ["K8S_POD_NAMESPACE", "an earlier value"],
            ["K8S_POD_NAMESPACE", "default"],
            ["K8S_POD_NAME", "web-0"],
            ["K8S_POD_INFRA_CONTAINER_ID", ID],
            ["K8S_POD_UID", "a-b"],
        ],
        "capabilityArgs": {"portMappings": []},
        "result": {
            "cniVersion": "1.0.0",
            "interfaces": [
                {"name": "veth1", "mac": "00:11:22:33:44:55"},
                {"name": "eth0", "sandbox": "/var/run/netns/cni-1"},
            ],
            "ips": [
                {"address": "10.0.0.5/24", "interface": 1},
                {"address": "fd00::5/64", "interface": 1},
            ],
            "dns": {},
        },
    })
}

fn addresses(result: &CachedResult) -> Vec<String> {
    result.addresses.iter().map(|one| one.address.to_string()).collect()
}

#[test]
fn a_file_of_today_says_all() {
    let cache = Cache::new();
    cache.add(&format!("ipvlan-eth0-{ID}-eth0"), &info().to_string());
    let ResultCache { results, warnings } = cache.read();
    assert_eq!(warnings, Vec::<String>::new());
    let result = &results[0];
    assert_eq!(result.attachment().unwrap().to_string(), format!("ipvlan-eth0/{ID}/eth0"));
    let pod = result.pod.as_ref().unwrap();
    assert_eq!((pod.to_string().as_str(), pod.uid.as_deref()), ("default/web-0", Some("a-b")));
    assert_eq!(addresses(result), ["10.0.0.5/24", "fd00::5/64"]);
    let eth0 = result.addresses[0].interface.as_ref().unwrap();
    assert_eq!(eth0.name, "eth0");
    assert_eq!(eth0.sandbox.as_deref(), Some("/var/run/netns/cni-1"));
    assert_eq!(result.netns_path(), Some("/var/run/netns/cni-1"));
}

#[test]
fn what_libcni_leaves_out_is_no_fault() {
    let mut info = info();
    for field in ["netns", "cniArgs", "capabilityArgs"] {
        info.as_object_mut().unwrap().remove(field);
    }
    info["config"] = Value::Null;
    let cache = Cache::new();
    cache.add(&format!("ipvlan-eth0-{ID}-eth0"), &info.to_string());
    let ResultCache { results, warnings } = cache.read();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((&results[0].pod, &results[0].netns), (&None, &None));
    assert_eq!(results[0].netns_path(), Some("/var/run/netns/cni-1"), "from the sandbox");
}

#[test]
fn every_layout_of_a_result_gives_its_addresses() {
    let expected: &[&str] = &["10.0.0.5/24", "fd00::5/64"];
    for (result, expected) in [
        (json!({"ip4": {"ip": "10.0.0.5/24"}, "ip6": {"ip": "fd00::5/64"}, "dns": {}}), expected),
        (json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.5/24"}, "ip6": null}), &expected[..1]),
        (
            json!({"cniVersion": "0.3.1", "ips": [
                {"version": "4", "interface": -1, "address": "10.0.0.5/24"},
                {"version": "6", "address": "fd00::5/64", "gateway": ""},
            ]}),
            expected,
        ),
        (json!({"cniVersion": "0.4.0", "interfaces": [{"name": "a"}], "dns": {}}), &[]),
        (json!({"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.5/24"}]}), &expected[..1]),
    ] {
        let mut info = info();
        info["result"] = result;
        let cache = Cache::new();
        cache.add(&format!("ipvlan-eth0-{ID}-eth0"), &info.to_string());
        let ResultCache { results, warnings } = cache.read();
        assert_eq!(warnings, Vec::<String>::new(), "{info}");
        assert_eq!(addresses(&results[0]), expected, "{info}");
    }
}

/// The whole file stays useful when one of its parts is strange.
#[test]
fn what_is_strange_in_a_file_is_named_and_the_rest_read() {
    let name = format!("ipvlan-eth0-{ID}-eth0");
    let cases: [(&str, Value, &str, usize); 5] = [
        ("/result/ips/0/address", json!("10.0.0.5"), "result.ips[0].address \"10.0.0.5\"", 1),
        ("/result/ips/1", json!({}), "result.ips[1].address null: it is no address", 1),
        ("/result/ips", json!({"a": 1}), "result.ips: it is no list", 0),
        ("/result", Value::Null, "it has no result", 0),
        ("/ifName", json!("eth9"), "its name does not fit its contents", 2),
    ];
    for (place, value, expected, count) in cases {
        let mut info = info();
        *info.pointer_mut(place).unwrap() = value;
        let cache = Cache::new();
        cache.add(&name, &info.to_string());
        let ResultCache { results, warnings } = cache.read();
        assert_eq!(warnings.len(), 1, "{place}: {warnings:?}");
        assert!(warnings[0].contains(&name), "{warnings:?}");
        assert!(warnings[0].contains(expected), "{warnings:?}");
        assert_eq!(results[0].addresses.len(), count, "{place}");
    }
}

#[test]
fn a_file_that_is_no_result_is_a_warning_with_its_name() {
    let mut later = info();
    later["kind"] = json!("cniCacheV2");
    let mut unnamed = info();
    unnamed["networkName"] = json!("");
    let mut odd = info();
    odd["cniArgs"][1] = json!(["K8S_POD_NAMESPACE"]);
    let cache = Cache::new();
    cache
        .add("good", &json!({"cniVersion": "0.4.0"}).to_string())
        .add("a-empty", "")
        .add("b-cut", "{\"kind\":\"cniCach")
        .add("c-list", "[]")
        .add("d-later", &later.to_string())
        .add("e-other", "{\"a\": 1}")
        .add("f-unnamed", &unnamed.to_string())
        .add("g-odd", &odd.to_string());
    let results = cache.0.path().join("results");
    fs::create_dir(results.join("h-folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", results.join("i-link")).unwrap();
    let read = cache.read();
    assert_eq!(read.results.len(), 1);
    let warned = |name: &str| {
        let of = read.warnings.iter().filter(|text| text.contains(&format!("results/{name}: ")));
        of.cloned().collect::<Vec<_>>().join("\n")
    };
    for (name, expected) in [
        ("good", "its name is not NETWORK-CONTAINERID-IFNAME"),
        ("a-empty", "it is empty"),
        ("b-cut", "it is no JSON: EOF"),
        ("c-list", "it is no JSON object"),
        ("d-later", "kind \"cniCacheV2\": only cniCacheV1 is known"),
        ("e-other", "neither a kind nor the fields of a result"),
        ("f-unnamed", "networkName: a network name must not be empty"),
        ("g-odd", "cniArgs[1]"),
        ("h-folder", "it is no regular file"),
        ("i-link", "No such file"),
    ] {
        assert!(warned(name).contains(expected), "{name}: {}", warned(name));
    }
    assert_eq!(read.warnings.len(), 10, "{:?}", read.warnings);
}

#[test]
fn an_old_file_is_whose_its_name_says_as_far_as_that_is_certain() {
    let bare = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.5/24"}});
    let eth0 = json!({
        "cniVersion": "0.3.1",
        "interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/proc/7/ns/net"}],
        "ips": [{"version": "4", "address": "10.0.0.5/24", "interface": 1}],
    });
    let long = |text: &str| text.replace("ID", ID);
    for (name, result, expected) in [
        ("net-c1-eth0", &bare, vec!["net/c1/eth0"]),
        ("a-net-ID-eth0", &bare, vec!["a-net/ID/eth0"]),
        ("a-net-ID-my-if", &bare, vec!["a-net/ID/my-if"]),
        ("a-net-c1-eth0", &bare, vec!["a/net/c1-eth0", "a/net-c1/eth0", "a-net/c1/eth0"]),
        ("a-net-c1-eth0", &eth0, vec!["a/net-c1/eth0", "a-net/c1/eth0"]),
        ("net-ID", &bare, vec![]),
        ("net-ID", &eth0, vec!["net/ID/eth0"]),
        ("a-net-ID", &eth0, vec!["a-net/ID/eth0"]),
        ("a-net-ID", &bare, vec![]),
    ] {
        let cache = Cache::new();
        cache.add(&long(name), &result.to_string());
        let ResultCache { results, warnings } = cache.read();
        let candidates: Vec<String> =
            results[0].candidates.iter().map(ToString::to_string).collect();
        assert_eq!(candidates, expected.iter().map(|text| long(text)).collect::<Vec<_>>());
        assert_eq!(warnings.is_empty(), expected.len() == 1, "{warnings:?}");
        assert_eq!(addresses(&results[0]), ["10.0.0.5/24"]);
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = ResultCache::read(&dir.path().join("none")).unwrap_err();
    assert!(format!("{error:#}").contains("none/results: No such file"), "{error:#}");
}

/// The warning had a quarter of a megabyte.
#[test]
fn a_name_that_can_mean_a_thousand_attachments_is_told_in_short() {
    let cache = Cache::new();
    cache.add(&vec!["a"; 120].join("-"), r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.5/24"}}"#);
    let ResultCache { results, warnings } = cache.read();
    assert!(results[0].candidates.len() > 500, "{}", results[0].candidates.len());
    let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(warning.len() < 3000 && warning.ends_with(" others"), "{warning}");
}
