//! Every `-o json` is as its schema says, and the schemas are what they are said to be.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{Fixture, stderr};

fn schema(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

fn assert_valid(name: &str, document: &Value) {
    let validator = jsonschema::validator_for(&schema(name)).unwrap();
    let faults: Vec<String> = validator
        .iter_errors(document)
        .map(|fault| format!("{}: {fault}", fault.instance_path))
        .collect();
    assert!(faults.is_empty(), "{name}: {faults:#?}\n{document:#}");
    // A schema that takes anything proves nothing.
    let mut more = document.clone();
    more["unknown"] = json!(1);
    assert!(!validator.is_valid(&more), "{name} takes unknown fields");
}

const CONFLIST: &str = r#"{"cniVersion":"1.0.0","name":"ipvlan-eth0","type":"cni-ipvlan",
    "ipam":{"type":"cni-ipam","nodeName":"master","network":"kube-system/ipvlan-eth0"}}"#;

#[test]
fn every_answer_is_as_its_schema_says() {
    let fixture = Fixture::new();
    let file = fixture.write("net.d/10.conf", CONFLIST);
    let node = "--node-in-container";
    for (schema, arguments) in [
        ("pool-list.json", &["get", "pools"][..]),
        ("ip-list.json", &["get", "ips", "--state", "all"]),
        ("reserved-list.json", &["get", "reserved"]),
        ("pool-occupancy.json", &["show", "pool", "cloud"]),
        ("pool-occupancy.json", &["show", "pool", "six"]),
        ("selection.json", &["why", "-f", &file, "--pod", "prod/web-9"]),
        ("selection.json", &["why", "-f", &file, "--node", "worker"]),
        (
            "selection.json",
            &["why", "-f", &file, "--annotation", "ipam.spidernet.io/ippool={\"ipv4\":[\"no\"]}"],
        ),
        ("address-story.json", &["show", "ip", "172.31.199.100", node]),
        ("address-story.json", &["show", "ip", "172.31.199.101", node]),
        ("address-story.json", &["show", "ip", "172.31.199.112", node]),
        ("address-story.json", &["show", "ip", "172.31.199.113", node]),
        ("address-story.json", &["show", "ip", "172.31.199.150", node]),
        ("address-story.json", &["show", "ip", "9.9.9.9", node]),
        ("release.json", &["release", "172.31.199.105", "--dry-run", node]),
        ("collection.json", &["gc", node]),
    ] {
        assert_valid(schema, &fixture.json(arguments));
    }
    let dry = fixture.run(&["gc", "--dry-run", node, "-o", "json"]);
    let dry: Value =
        serde_json::from_slice(&dry.stdout).unwrap_or_else(|_| panic!("{}", stderr(&dry)));
    assert_valid("collection.json", &dry);
}

/// Every field is described, and nothing else is allowed.
#[test]
fn schemas_describe_every_field() {
    fn check(name: &str, path: &str, schema: &Value) {
        if let Some(properties) = schema["properties"].as_object() {
            let is_closed = schema["additionalProperties"] == json!(false);
            assert!(is_closed, "{name} {path}: additionalProperties");
            for (field, of_field) in properties {
                let is_described = of_field["description"].is_string();
                assert!(is_described, "{name} {path}.{field}: no description");
                check(name, &format!("{path}.{field}"), of_field);
            }
        }
        for key in ["items", "anyOf"] {
            match &schema[key] {
                Value::Array(several) => {
                    for one in several {
                        check(name, path, one);
                    }
                }
                Value::Object(_) => check(name, path, &schema[key]),
                _ => {}
            }
        }
        for (part, one) in schema["$defs"].as_object().into_iter().flatten() {
            check(name, &format!("$defs.{part}"), one);
        }
    }
    for name in [
        "pool-list.json",
        "ip-list.json",
        "reserved-list.json",
        "address-story.json",
        "pool-occupancy.json",
        "selection.json",
        "collection.json",
        "release.json",
    ] {
        let schema = schema(name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(schema.get("$id").is_none());
        check(name, "", &schema);
    }
}
