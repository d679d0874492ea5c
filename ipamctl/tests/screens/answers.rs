//! Every `-o json` of every verb is as its schema says, and every schema is of some verb.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::fixture::{Fixture, stderr};
use crate::metadata::Metadata;

const NODE: &str = "--node-in-container";

const CONFLIST: &str = r#"{"cniVersion":"1.0.0","name":"ipvlan-eth0","type":"cni-ipvlan",
    "ipam":{"type":"cni-ipam","nodeName":"master","network":"kube-system/ipvlan-eth0"}}"#;

const DOCUMENTS: &str = "\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: more}
spec: {subnet: 10.8.0.0/24, ips: [10.8.0.2-10.8.0.9]}
---
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderReservedIP
metadata: {name: printer}
spec: {ips: [10.8.0.9]}
";

fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn schema(name: &str) -> Value {
    let text = std::fs::read_to_string(schemas().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
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

/// A network namespace with an interface of a pod, for as long as this lives.
struct PodNetns(Child);

impl PodNetns {
    fn new() -> Self {
        let script = "ip link add eth0 type veth peer name other && \
                      ip address add 10.1.16.0/16 dev eth0 && ip link set eth0 up && \
                      echo ready && read -r end";
        let mut child = Command::new("unshare")
            .args(["--net", "bash", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        assert_eq!(line, "ready\n", "it needs root");
        Self(child)
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for PodNetns {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

/// A call, and the schema of what it answers.
struct Case {
    verb: &'static str,
    schema: &'static str,
    arguments: Vec<String>,
    code: i32,
}

fn case(verb: &'static str, schema: &'static str, arguments: &[&str]) -> Case {
    let arguments = arguments.iter().map(ToString::to_string).collect();
    Case { verb, schema, arguments, code: 0 }
}

/// All calls, each upon what those before it have left.
fn cases(fixture: &Fixture, netns: &PodNetns, metadata: &Metadata) -> Vec<Case> {
    let conf = fixture.write("net.d/10.conf", CONFLIST);
    let documents = fixture.write("more.yaml", DOCUMENTS);
    let export = fixture.path("export.json").display().to_string();
    fixture.write("cache/results/x", "");
    std::fs::remove_file(fixture.path("cache/results/x")).unwrap();
    let cache = fixture.path("cache").display().to_string();
    fixture.write("host-local/net/10.1.0.9", "c9\r\neth0");
    fixture.write("host-local/net/10.9.9.9", "c10\r\neth0");
    fixture.write("host-local/net/odd", "what");
    let host_local = fixture.path("host-local").display().to_string();
    let state = fixture.path("state").display().to_string();
    let coordinator = fixture.write(
        "net.d/20.conf",
        r#"{"cniVersion":"1.0.0","name":"c","type":"cni-coordinator","mode":"underlay"}"#,
    );
    let root = fixture.path("root").display().to_string();
    let no = r#"ipam.spidernet.io/ippool={"ipv4":["no"]}"#;
    let sources = ["--cache-dir", &cache, NODE];
    let sync: Vec<String> = metadata.sync();
    let sync: Vec<&str> = sync.iter().map(String::as_str).collect();
    let (why, story, occupancy) = ("selection", "address-story", "pool-occupancy");
    let mut cases = vec![
        case("apply", "application", &["apply", "-f", &documents, "--no-node-scan"]),
        case("get pools", "pool-list", &["get", "pools"]),
        case("get ips", "ip-list", &["get", "ips", "--state", "all"]),
        case("get reserved", "reserved-list", &["get", "reserved"]),
        case("get pins", "pin-list", &["get", "pins"]),
        case("show pool", occupancy, &["show", "pool", "cloud"]),
        case("show pool", occupancy, &["show", "pool", "six"]),
        case("why", why, &["why", "-f", &conf, "--pod", "prod/web-9"]),
        case("why", why, &["why", "-f", &conf, "--node", "worker"]),
        case("why", why, &["why", "-f", &conf, "--annotation", no]),
        case("pin", "pin", &["pin", "172.31.199.171", "--pod", "default/db-1"]),
        case("unpin", "unpin", &["unpin", "172.31.199.171"]),
        case("release", "release", &["release", "172.31.199.105", "--dry-run", NODE]),
        case("release", "release", &["release", "172.31.199.105", NODE]),
        case("gc", "collection", &["gc", "--dry-run", NODE]),
        case("gc", "collection", &["gc", NODE]),
        case("delete pools", "deletion", &["delete", "pools", "more"]),
        case("verify", "verification", &["verify", "--compact"]),
        case("doctor", "diagnosis", &["doctor", "--root", &root]),
        case("export", "node-ipam-export", &["export"]),
        case("import host-local", "import", &["import", "host-local", &host_local, NODE, "--all"]),
        case("rebuild", "rebuild", &[&["rebuild", "--dry-run"], &sources[..]].concat()),
        case("rebuild", "rebuild", &[&["rebuild", "--force"], &sources[..]].concat()),
        case("restore", "restoration", &[&["restore", "--force", &export], &sources[..]].concat()),
        case("repair", "repair", &["repair", "--dry-run", "--state-dir", &state]),
        case(
            "explain coordinator",
            "explanation",
            &["explain", "coordinator", "-f", &coordinator, "--netns", &netns.path()],
        ),
        case("sync", "synchronization", &[&sync[..], &["--dry-run"]].concat()),
        case("sync", "synchronization", &sync),
    ];
    for address in ["100", "101", "105", "110", "112", "113", "150", "170"] {
        let address = format!("172.31.199.{address}");
        cases.push(case("show ip", story, &["show", "ip", &address, NODE]));
    }
    cases.push(case("show ip", story, &["show", "ip", "9.9.9.9", NODE]));
    for case in &mut cases {
        case.code = match case.arguments.as_slice() {
            [gc, dry, ..] if gc == "gc" && dry == "--dry-run" => 3,
            [doctor, ..] if doctor == "doctor" => 3,
            _ => 0,
        };
    }
    cases
}

#[test]
fn every_answer_is_as_its_schema_says_and_no_verb_is_left_out() {
    let fixture = Fixture::new();
    let (netns, metadata) = (PodNetns::new(), Metadata::of(r#","10.7.0.9","10.7.0.10""#));
    let cases = cases(&fixture, &netns, &metadata);
    for Case { verb, schema, arguments, code } in &cases {
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Its -o is a file: the document is JSON anyway.
        if *verb != "export" {
            arguments.extend(["-o", "json"]);
        }
        let output = fixture.run(&arguments);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {}", stderr(&output));
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", stderr(&output)));
        assert_valid(schema, &document);
        if *verb == "export" {
            std::fs::write(fixture.path("export.json"), &output.stdout).unwrap();
        }
    }

    let mut with_output = BTreeSet::new();
    verbs_with_output(&ipamctl::command(), "", &mut with_output);
    let tested: BTreeSet<String> = cases.iter().map(|case| case.verb.to_owned()).collect();
    assert_eq!(with_output, tested, "a verb with -o that is in no case, or the other way round");
    let used: BTreeSet<String> = cases.iter().map(|case| case.schema.to_owned()).collect();
    let there: BTreeSet<String> = std::fs::read_dir(schemas())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(there, used, "a schema that is of no verb, or the other way round");
}

fn verbs_with_output(command: &clap::Command, name: &str, found: &mut BTreeSet<String>) {
    if command.get_arguments().any(|argument| argument.get_short() == Some('o')) {
        found.insert(name.trim_start().to_owned());
    }
    for verb in command.get_subcommands() {
        verbs_with_output(verb, &format!("{name} {}", verb.get_name()), found);
    }
}

/// A round a line, also where there is nothing new.
#[test]
fn a_sync_that_watches_answers_lines() {
    let fixture = Fixture::new();
    let metadata = Metadata::of(r#","10.7.0.9""#);
    let arguments = metadata.sync();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let arguments = [&arguments[..], &["--watch", "1", "-o", "json"]].concat();
    let mut child = fixture.command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    let rounds: Vec<Value> =
        (0..2).map(|_| serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    for round in &rounds {
        assert_valid("synchronization", round);
    }
    assert_eq!(rounds[0]["pools"][0]["added"], json!(["10.7.0.9"]));
    assert_eq!(rounds[1]["pools"][0]["change"], "unchanged");
}

/// Every field is described, and nothing else is allowed.
#[test]
fn schemas_describe_every_field() {
    fn check(name: &str, path: &str, schema: &Value) {
        if let Some(properties) = schema["properties"].as_object() {
            let is_closed = schema["additionalProperties"] == json!(false);
            assert!(is_closed, "{name} {path}: additionalProperties");
            for (field, of_field) in properties {
                // Inside of a choice, the choice is described.
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
    for entry in std::fs::read_dir(schemas()).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        let schema = schema(&name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(schema.get("$id").is_none());
        check(&name, "", &schema);
    }
}
