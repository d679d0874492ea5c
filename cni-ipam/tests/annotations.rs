//! What a pod says by its annotations, and the cluster by a file, with no API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cni_proto::POD_ANNOTATIONS;
use ipam_core::Pool;
use ipam_store::{Declared, Store};
use serde_json::{Value, json};

mod process;

/// A default pool, and others by the second number of their addresses.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let pool = |name: &str, number: u8, mut spec: Value| {
        spec["subnet"] = json!(format!("10.{number}.0.0/24"));
        spec["ips"] = json!([format!("10.{number}.0.2-10.{number}.0.9")]);
        spec["gateway"] = json!(format!("10.{number}.0.1"));
        Pool::new(name, &serde_json::from_value(spec).unwrap()).unwrap()
    };
    let of_node = json!({"matchLabels": {"zone": "z1"}});
    let of_namespace = json!({"matchLabels": {"tier": "front"}});
    let pools = [
        pool("default", 1, json!({"default": true})),
        pool("red", 2, json!({})),
        pool("blue", 3, json!({})),
        pool("zone", 4, json!({"nodeAffinity": of_node})),
        pool("front", 5, json!({"namespaceAffinity": of_namespace})),
        pool("app", 6, json!({"podAffinity": {"matchLabels": {"app": "web"}}})),
    ];
    let store = Store::new(directory.path(), Duration::from_secs(60));
    store.apply(&Declared::pools(pools)).unwrap();
    directory
}

struct Call<'a> {
    data_dir: &'a Path,
    container: &'a str,
    ifname: &'a str,
    namespace: &'a str,
    ipam: Value,
    annotations: Value,
}

impl<'a> Call<'a> {
    fn new(data_dir: &'a Path, container: &'a str) -> Self {
        let (ifname, namespace) = ("eth0", "db");
        Self { data_dir, container, ifname, namespace, ipam: json!({}), annotations: Value::Null }
    }

    fn annotated(self, key: &str, value: impl Into<Value>) -> Self {
        let mut annotations = json!({"unrelated.example/annotation": "x"});
        annotations[format!("ipam.spidernet.io/{key}")] = value.into();
        Self { annotations, ..self }
    }

    /// The result, or the error's code and message.
    fn add(self) -> Result<Value, (u64, String)> {
        let mut ipam = self.ipam;
        ipam["type"] = json!("cni-ipam");
        ipam["nodeName"] = json!("n1");
        ipam["dataDir"] = json!(self.data_dir);
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": ipam,
            "capabilities": {POD_ANNOTATIONS: true},
            "runtimeConfig": {POD_ANNOTATIONS: self.annotations},
        });
        let args = format!("K8S_POD_NAMESPACE={};K8S_POD_NAME=p", self.namespace);
        let mut call = process::call("ADD", self.container);
        call.env("CNI_IFNAME", self.ifname).env("CNI_ARGS", args);
        let output = process::run(&mut call, &config);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        if output.status.success() {
            return Ok(answer);
        }
        Err((answer["code"].as_u64().unwrap(), answer["msg"].as_str().unwrap().to_owned()))
    }

    fn address(self) -> String {
        self.add().unwrap()["ips"][0]["address"].as_str().unwrap().to_owned()
    }
}

fn routes(result: &Value) -> Vec<String> {
    let routes = result["routes"].as_array().cloned().unwrap_or_default();
    let route = |it: &Value| format!("{} {}", it["dst"], it["gw"]).replace('"', "");
    routes.iter().map(route).collect()
}

fn is_empty(data_dir: &Path) -> bool {
    Store::new(data_dir, Duration::from_secs(60)).contents().unwrap().leases.is_empty()
}

#[test]
fn an_annotation_names_the_pools_of_a_pod_before_namespace_and_configuration() {
    let directory = directory();
    let call = |container| Call::new(directory.path(), container);
    assert_eq!(call("c1").address(), "10.1.0.2/24");
    let red = || call("c2").annotated("ippool", r#"{"ipv4":["re*"]}"#);
    let configured = Call { ipam: json!({"default_ipv4_ippool": ["blue"]}), ..red() };
    assert_eq!(configured.address(), "10.2.0.2/24");

    // Each interface its own.
    let both = r#"[{"interface":"eth0","ipv4":["red"]},
                   {"interface":"net1","ipv4":["blue"],"cleangateway":true}]"#;
    assert_eq!(call("c3").annotated("ippools", both).address(), "10.2.0.3/24");
    let second = Call { ifname: "net1", ..call("c3").annotated("ippools", both) };
    let result = second.add().unwrap();
    assert_eq!(result["ips"][0]["address"], "10.3.0.2/24");
    assert_eq!(routes(&result), [""; 0], "no default route");
}

#[test]
fn routes_go_to_the_interface_whose_subnet_has_the_next_hop() {
    let directory = directory();
    let listed = r#"[{"dst":"10.77.0.0/16","gw":"10.1.0.7"},{"dst":"10.78.0.0/16","gw":"10.2.0.7"},
                     {"dst":"10.79.0.1","gw":"10.1.0.8"}]"#;
    let result = Call::new(directory.path(), "c1").annotated("routes", listed).add().unwrap();
    let of_subnet = ["0.0.0.0/0 10.1.0.1", "10.77.0.0/16 10.1.0.7", "10.79.0.1/32 10.1.0.8"];
    assert_eq!(routes(&result), of_subnet);
    let default = r#"[{"dst":"0.0.0.0/0","gw":"10.1.0.9"}]"#;
    let result = Call::new(directory.path(), "c2").annotated("routes", default).add().unwrap();
    assert_eq!(routes(&result), ["0.0.0.0/0 10.1.0.9"], "in place of the pool's");
}

#[test]
fn an_annotation_that_cannot_be_followed_is_named_and_nothing_is_held() {
    let directory = directory();
    let long = format!("[\"{}\"]", "x".repeat(200_000));
    for (key, value, reason) in [
        ("ippool", json!("{"), "annotation ipam.spidernet.io/ippool: EOF"),
        ("ippool", json!("[]"), "expected an object"),
        ("ippool", json!("{\"ipv4\":[\"\u{1}\"]}"), "control character"),
        ("ippool", json!(r#"{"ipv4":["\u001b[31m"]}"#), r#"a pool name "\u{1b}[31m" must not"#),
        ("ippool", json!(format!("{{\"ipv4\":{long}}}")), "a pool name of 200000 bytes"),
        ("ippool", json!(format!("{{\"ipv4\":{long:?}}}")), "invalid type: string"),
        ("ippool", json!("x".repeat(300_000)), "300000 bytes are too many: at most 262144"),
        ("ippool", json!({"ipv4": ["red"]}), "annotation ipam.spidernet.io/ippool: it must be a"),
        ("ippools", json!("[{\"interface\":\"eth7\",\"ipv4\":[\"red\"]}]"), "for interface eth0"),
        ("routes", json!("[{\"dst\":\"a\",\"gw\":\"b\"}]"), "annotation ipam.spidernet.io/routes"),
        ("subnet", json!("{\"ipv4\":[\"s\"]}"), "annotation ipam.spidernet.io/subnet: no pools"),
        ("subnets", json!("[]"), "annotation ipam.spidernet.io/subnets: no pools are made"),
    ] {
        let call = Call::new(directory.path(), "c1").annotated(key, value);
        let (code, msg) = call.add().unwrap_err();
        assert_eq!(code, 7, "{msg}");
        assert!(msg.contains(reason) && msg.len() < 1000, "{key}: {msg}");
        assert!(msg.contains("ipam.spidernet.io/") && !msg.contains(char::is_control), "{msg}");
        assert!(is_empty(directory.path()), "{msg}");
    }
    let call = Call { annotations: json!(["x"]), ..Call::new(directory.path(), "c1") };
    assert!(call.add().unwrap_err().1.contains("it must be an object"));
    // A name that no pool has is no broken annotation: the pools are listed with their reasons.
    let unknown = Call::new(directory.path(), "c1").annotated("ippool", r#"{"ipv4":["green"]}"#);
    let (code, msg) = unknown.add().unwrap_err();
    assert!(code == 101 && msg.contains("green"), "{code} {msg}");
}

fn with_file(directory: &Path, text: &str) -> PathBuf {
    let file = directory.join("namespaces.json");
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_file_has_the_pools_of_namespaces_and_the_labels_that_pools_ask_for() {
    let directory = directory();
    let elsewhere = tempfile::tempdir().unwrap();
    let listed = json!({"kind": "List", "items": [
        {"kind": "Namespace", "metadata": {"name": "web", "labels": {"tier": "front"},
            "annotations": {"ipam.spidernet.io/default-ipv4-ippool": "[\"blue\"]"}}},
        {"kind": "Namespace", "metadata": {"name": "shop", "labels": {"tier": "front"}}},
        {"kind": "Node", "metadata": {"name": "n1", "labels": {"zone": "z1"}}},
        {"kind": "Node", "metadata": {"name": "n2", "labels": {"zone": "z2"}}},
    ]});
    let file = with_file(elsewhere.path(), &listed.to_string());
    let call = |container, namespace, ipam: Value| {
        let mut ipam = ipam;
        ipam["namespacesFile"] = json!(file);
        Call { namespace, ipam, ..Call::new(directory.path(), container) }
    };
    let named = |pool: &str| json!({"default_ipv4_ippool": [pool]});
    assert_eq!(call("c1", "web", named("red")).address(), "10.3.0.2/24", "the namespace's");
    let red = call("c2", "web", json!({})).annotated("ippool", r#"{"ipv4":["red"]}"#);
    assert_eq!(red.address(), "10.2.0.2/24", "the pod's own");
    assert_eq!(call("c3", "db", json!({})).address(), "10.1.0.2/24", "nobody names any");
    assert_eq!(call("c4", "shop", named("front")).address(), "10.5.0.2/24");
    assert_eq!(call("c5", "db", named("zone")).address(), "10.4.0.2/24");
    let refused = |ipam, namespace| call("c6", namespace, ipam).add().unwrap_err();
    let (code, msg) = refused(named("front"), "db");
    assert!(code == 101 && msg.contains("namespaceAffinity is tier=front"), "{msg}");
    // What no runtime and no file tells.
    let (code, msg) = refused(named("app"), "web-of-nobody");
    assert!(code == 101 && msg.contains("podAffinity is app=web, the labels are not"), "{msg}");

    with_file(elsewhere.path(), &listed.to_string().replace("[\\\"blue\\\"]", "blue"));
    let (code, msg) = refused(json!({}), "web");
    assert!(code == 7 && msg.contains("ipam.spidernet.io/default-ipv4-ippool"), "{msg}");
    with_file(elsewhere.path(), "items: []");
    let (code, msg) = refused(json!({}), "web");
    assert!(code == 7 && msg.contains("kubectl get namespaces,nodes -o json"), "{msg}");
}

/// Whatever the pod or the file says by then: nothing of it is read.
#[test]
fn a_del_needs_neither_annotations_nor_the_file() {
    let directory = directory();
    Call::new(directory.path(), "c1").address();
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge",
        "ipam": {"type": "cni-ipam", "dataDir": directory.path(), "namespacesFile": "/nowhere"},
        "runtimeConfig": {POD_ANNOTATIONS: ["broken"]},
    });
    let output = process::run(process::call("DEL", "c1").env_remove("CNI_NETNS"), &config);
    assert!(output.status.success());
    assert!(is_empty(directory.path()));
}
