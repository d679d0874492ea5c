//! `ipamctl render`, with the documents of the seeds as they are.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cni_coordinator::CoordinatorConfig;
use cni_ipam::IpamConfig;
use cni_proto::NetworkConfig;
use serde_json::{Value, json};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
const POOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/seed/pools.yaml");

/// The documents of the seeds 002 and 003, of the seed 000, and one with every field.
const CASES: [(&str, &[&str]); 3] =
    [("github", &[]), ("daocloud", &["coordinator.yaml"]), ("everything", &["coordinator.yaml"])];

fn render(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ipamctl")).arg("render").args(arguments).output().unwrap()
}

fn golden(name: &str) -> String {
    format!("{GOLDEN}/{name}")
}

fn of_case(case: &str, further: &[&str], target: &str, plugins: &str) -> Output {
    let mut files = vec![golden(&format!("{case}.yaml"))];
    files.extend(further.iter().map(|file| golden(file)));
    let mut arguments = vec!["--to", target, "--plugins", plugins];
    for file in &files {
        arguments.extend(["-f", file]);
    }
    render(&arguments)
}

fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{}", stderr(output));
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The lists of an output, one after the other.
fn lists(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map(Result::unwrap).collect()
}

#[test]
fn every_example_is_rendered_as_checked_in() {
    for (case, further) in CASES {
        for plugins in ["ours", "peer"] {
            for (target, ending) in [("nad", "nad.yaml"), ("conflist", "conflist")] {
                let rendered = of_case(case, further, target, plugins);
                let file = golden(&format!("{case}.{plugins}.{ending}"));
                let expected = std::fs::read_to_string(&file).unwrap_or_default();
                assert_eq!(stdout(&rendered), expected, "{file}");
            }
        }
    }
}

/// What the reference has from the peer's own code, whatever the order of the fields.
#[test]
fn the_peers_lists_are_those_of_its_controller() {
    let list = |name: &str, coordinator: Value| {
        json!({"cniVersion": "0.3.1", "name": format!("ipvlan-{name}"), "plugins": [
            {"type": "ipvlan", "master": name, "mtu": 0, "ipam": {"type": "spiderpool"}},
            coordinator,
        ]})
    };
    let plain =
        json!({"txQueueLen": 0, "tunePodRoutes": true, "mode": "auto", "type": "coordinator"});
    let mut underlay = plain.clone();
    underlay["mode"] = json!("underlay");
    underlay["podRPFilter"] = json!(0);
    for (case, coordinator) in [("github", plain), ("daocloud", underlay)] {
        let rendered = of_case(case, &[], "conflist", "peer");
        let expected = [list("eth0", coordinator.clone()), list("eth1", coordinator)];
        assert_eq!(lists(stdout(&rendered)), expected, "{case}");
    }
}

#[test]
fn our_lists_are_what_our_plugins_read() {
    for (case, further) in CASES {
        let rendered = of_case(case, further, "conflist", "ours");
        let lists = lists(stdout(&rendered));
        assert!(!lists.is_empty());
        for list in lists {
            let plugins = list["plugins"].as_array().unwrap();
            let own = |index: usize| {
                let mut own = plugins[index].clone();
                own["name"] = list["name"].clone();
                own["cniVersion"] = list["cniVersion"].clone();
                own["ipam"]["nodeName"] = json!("n1");
                NetworkConfig::parse(own.to_string().as_bytes()).unwrap()
            };
            let ipam = IpamConfig::new(&own(0)).unwrap();
            assert!(ipam.network.to_string().starts_with("kube-system/ipvlan-"), "{ipam:?}");
            let coordinator = CoordinatorConfig::new(&own(plugins.len() - 1)).unwrap();
            assert_eq!(coordinator.hijacked.iter().any(|it| it.service), case != "github");
            let annotations = json!({"io.kubernetes.cri.pod-annotations": true});
            assert_eq!(plugins[0]["capabilities"], annotations);
        }
    }
}

#[test]
fn what_is_not_known_or_left_alone_is_said_on_stderr() {
    let github = golden("github.yaml");
    let rendered = render(&["-f", &github, "-f", POOLS]);
    stdout(&rendered);
    let notes = stderr(&rendered);
    for note in [
        "(SpiderIPPool master-172): left alone: it is for `ipamctl apply`",
        "(SpiderMultusConfig ipvlan-eth0): serviceCIDR is not known",
        "overlayPodCIDR is not known: podCIDRType auto asks the API server: give --pod-cidr",
    ] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
    let given = ["--service-cidr", "10.96.0.0/12,fd00:96::/112", "--pod-cidr", "10.244.0.0/16"];
    let rendered = render(&[&["-f", &github, "--to", "conflist"][..], &given].concat());
    assert_eq!(stderr(&rendered), "");
    let coordinator = &lists(stdout(&rendered))[0]["plugins"][1];
    assert_eq!(coordinator["serviceCIDR"], json!(["10.96.0.0/12", "fd00:96::/112"]));
    assert_eq!(coordinator["overlayPodCIDR"], json!(["10.244.0.0/16"]));
}

fn written(directory: &Path, text: &str) -> PathBuf {
    let file = directory.join("documents.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

const GOOD: &str = "\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderMultusConfig
metadata: {name: a, namespace: kube-system}
spec: {cniType: ipvlan, ipvlan: {master: [eth0]}}
";

#[test]
fn each_fault_names_document_field_and_rule_and_nothing_is_rendered() {
    let directory = tempfile::tempdir().unwrap();
    for (from, to, expected) in [
        (
            "ipvlan,",
            "macvlan,",
            "(SpiderMultusConfig a): spec.cniType \"macvlan\": this is not ours",
        ),
        ("ipvlan,", "sriov,", "spec.cniType \"sriov\": this is not ours"),
        ("cniType: ipvlan,", "", "spec.cniType: absent, which is \"custom\": this is not ours"),
        (
            "[eth0]",
            "eth0",
            "spec.ipvlan.master: invalid type: string \"eth0\", expected a sequence",
        ),
        ("[eth0]", "[]", "spec.ipvlan.master \"\": one NIC is needed"),
        ("[eth0]", "[eth0, eth1]", "spec.ipvlan.bond \"\": several masters are made one by a bond"),
        (
            "[eth0]",
            "[\"eth0 up\"]",
            "spec.ipvlan.master \"eth0 up\": it must be the name of a link",
        ),
        (
            "[eth0]",
            "[eth0], vlanID: 4095",
            "spec.ipvlan.vlanID \"4095\": it must be from 0 to 4094",
        ),
        ("[eth0]", "[eth0], vlan: 7", "spec.ipvlan.vlan: unknown field `vlan`"),
        ("[eth0]", "[eth0], ippools: {ipv4: [A]}", "spec.ipvlan.ippools.ipv4: a pool name \"A\""),
        ("spec: {", "spec: {macvlan: {master: [eth0]}, ", "spec.macvlan: unknown field"),
        (
            "spec: {",
            "spec: {coordinator: {mode: best}, ",
            "spec.coordinator.mode \"best\": it must",
        ),
        (
            "spec: {",
            "spec: {coordinator: {mod: auto}, ",
            "spec.coordinator.mod: unknown field `mod`",
        ),
        (
            "spec: {",
            "spec: {coordinator: {podMACPrefix: \"0a:1b\"}, ",
            "cni-coordinator would refuse it: podMACPrefix \"0a:1b\"",
        ),
        (
            "spec: {",
            "spec: {disableIPAM: true, ",
            "spec.disableIPAM: cni-ipvlan makes no interface",
        ),
        ("spec: {", "spec: {chainCNIJsonData: [\"{\"], ", "spec.chainCNIJsonData[0]: EOF"),
        ("spec: {", "spec: {chainCNIJsonData: [\"{}\"], ", "spec.chainCNIJsonData[0]: it must be"),
        ("name: a,", "name: ../a,", "metadata.name \"../a\": it must be a DNS subdomain"),
        (
            "name: a,",
            "name: a, annotations: {multus.spidernet.io/cr-name: /etc/a},",
            "multus.spidernet.io/cr-name \"/etc/a\": it must be",
        ),
        (
            "name: a,",
            "name: a, annotations: {multus.spidernet.io/cni-version: 2.0.0},",
            "multus.spidernet.io/cni-version \"2.0.0\": it must be one of 0.3.0",
        ),
        ("v2beta1", "v1", "apiVersion \"spiderpool.spidernet.io/v1\": it must be"),
        ("SpiderMultusConfig", "SpiderSubnet", "kind \"SpiderSubnet\": it must be"),
    ] {
        let text = format!("{GOOD}---\n{}", GOOD.replacen(from, to, 1));
        let file = written(directory.path(), &text);
        let made = directory.path().join("made");
        std::fs::create_dir_all(&made).unwrap();
        let arguments = ["-f", file.to_str().unwrap(), "--out-dir", made.to_str().unwrap()];
        let rendered = render(&arguments);
        assert_eq!(rendered.status.code(), Some(1), "{to}");
        let said = stderr(&rendered);
        assert!(said.contains("nothing was rendered:") && said.contains(expected), "{to}: {said}");
        assert!(said.contains("documents.yaml: document 2 ("), "{said}");
        assert_eq!(std::fs::read_dir(&made).unwrap().count(), 0, "{to}");
    }
}

/// And none of them ends the program in another way.
#[test]
fn what_is_no_document_is_a_fault() {
    let directory = tempfile::tempdir().unwrap();
    for text in ["", "---", "[1, 2]", "7", "just words", "{", "kind: List\nitems: 7", "\u{0}"] {
        let file = written(directory.path(), text);
        for target in ["nad", "conflist", "namespaces"] {
            let rendered = render(&["--to", target, "-f", file.to_str().unwrap()]);
            assert_eq!(rendered.status.code(), Some(1), "{text:?}");
            assert!(stderr(&rendered).contains("nothing was rendered:\n  "), "{text:?}");
        }
    }
}

#[test]
fn files_are_written_whole_one_for_each_document() {
    let directory = tempfile::tempdir().unwrap();
    let (github, into) = (golden("github.yaml"), directory.path().to_str().unwrap());
    stdout(&render(&["-f", &github, "--out-dir", into]));
    stdout(&render(&["-f", &github, "--to", "conflist", "--out-dir", into]));
    // Again, over what is there.
    stdout(&render(&["-f", &github, "--to", "conflist", "--out-dir", into]));
    let mut names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "10-ipvlan-eth0.conflist",
            "11-ipvlan-eth1.conflist",
            "kube-system-ipvlan-eth0.yaml",
            "kube-system-ipvlan-eth1.yaml",
        ]
    );
    let twice = render(&["-f", &github, "-f", &github]);
    assert!(stderr(&twice).contains("another document has this name"), "{}", stderr(&twice));
}

#[test]
fn of_namespaces_and_nodes_what_the_plugin_reads_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let text = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata:
    name: web
    uid: 0
    labels: {tier: front}
    annotations:
      ipam.spidernet.io/default-ipv4-ippool: '[\"blue\"]'
      kubectl.kubernetes.io/last-applied-configuration: '{}'
  spec: {finalizers: [kubernetes]}
---
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {zone: z1}}
";
    let file = written(directory.path(), text);
    let rendered = render(&["--to", "namespaces", "-f", file.to_str().unwrap()]);
    let list: Value = serde_json::from_str(stdout(&rendered)).unwrap();
    let pools = json!({"ipam.spidernet.io/default-ipv4-ippool": "[\"blue\"]"});
    assert_eq!(
        list["items"],
        json!([
            {"kind": "Namespace",
             "metadata": {"name": "web", "labels": {"tier": "front"}, "annotations": pools}},
            {"kind": "Node", "metadata": {"name": "n1", "labels": {"zone": "z1"}}},
        ])
    );
    for (from, to, expected) in [
        (
            "'[\"blue\"]'",
            "blue",
            "(Namespace web): annotation ipam.spidernet.io/default-ipv4-ippool",
        ),
        ("kind: Node", "kind: Pod", "(Pod n1): kind \"Pod\": it must be Namespace or Node"),
        ("name: n1, ", "", "metadata.name: absent"),
        ("zone: z1", "zone: 1", "metadata.labels[\"zone\"]: it must be a text"),
    ] {
        let file = written(directory.path(), &text.replacen(from, to, 1));
        let refused = render(&["--to", "namespaces", "-f", file.to_str().unwrap()]);
        assert!(!refused.status.success() && stderr(&refused).contains(expected), "{to}");
    }
}
