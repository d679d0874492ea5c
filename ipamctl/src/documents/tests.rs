use cni_proto::field_names;
use ipam_core::{PoolSpec, ReservedSpec};

use super::*;
use crate::documentation::documented;

fn read(text: &str) -> Documents {
    let mut documents = Documents::default();
    documents.add_file(Path::new("pools.yaml"), text);
    documents
}

const GOOD: &str = "\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata: {name: a}
spec: {subnet: 10.0.0.0/24, ips: [10.0.0.1-10.0.0.2]}
";

#[test]
fn documents_are_counted_without_the_empty_ones() {
    let documents = read(&format!("---\n---\n{GOOD}---\n{}", GOOD.replace("10.0", "10.1")));
    assert_eq!(documents.faults, Vec::<String>::new());
    let places: Vec<String> = documents.pools.iter().map(|(p, _)| p.to_string()).collect();
    assert_eq!(places, ["pools.yaml: document 1", "pools.yaml: document 2"]);
}

#[test]
fn a_list_as_kubectl_writes_it_is_its_items() {
    let item = |text: &str| {
        let indented: Vec<_> = text.lines().map(|line| format!("  {line}")).collect();
        format!("- {}\n", indented.join("\n").trim_start())
    };
    let second = GOOD.replace("10.0", "10.1").replace("name: a", "name: b, uid: x, generation: 2");
    let items = item(GOOD) + &item(&(second + "status: {totalIPCount: 2}\n"));
    let list = |items: &str| format!("apiVersion: v1\nkind: List\nmetadata: {{}}\nitems:\n{items}");
    let documents = read(&list(&items));
    assert_eq!(documents.faults, Vec::<String>::new());
    let places: Vec<String> = documents.pools.iter().map(|(p, _)| p.to_string()).collect();
    let at = |item| format!("pools.yaml: document 1, item {item}");
    assert_eq!(places, [at(1), at(2)]);

    let faults = read(&list(&items.replace("ips: [10.1.", "ipz: [10.1."))).faults;
    assert!(
        faults[0].starts_with("pools.yaml: document 1, item 2 (pool b): spec.ipz"),
        "{faults:?}"
    );
    let nested = list(&item(&list(&item(GOOD))));
    assert!(read(&nested).faults[0].contains("item 1: apiVersion \"v1\""));
    assert!(read("apiVersion: v1\nkind: List\nitems: 7\n").faults[0].contains("items: a list"));
    assert!(read(&list(" []")).faults.is_empty(), "an empty list is a document");
}

#[test]
fn each_fault_names_file_document_field_value_and_rule() {
    for (from, to, expected) in [
        (
            "ips: [10.0.0.1-",
            "ips: [10.9.0.1-",
            "document 2 (pool a): spec.ips[0] \"10.9.0.1-10.0.0.2\"",
        ),
        (
            "10.0.0.1-10.0.0.2",
            "10.0.1.1",
            "document 2 (pool a): spec.ips[0] \"10.0.1.1\": it must lie in the subnet 10.0.0.0/24",
        ),
        (
            "10.0.0.0/24",
            "10.0.0.1/24",
            "spec.subnet \"10.0.0.1/24\": it has bits set behind its prefix: write 10.0.0.0/24",
        ),
        ("ips:", "gateway: 10.1.0.1, ips:", "spec.gateway \"10.1.0.1\": it must lie in the subnet"),
        (
            "ips:",
            "ipz:",
            "document 2 (pool a): spec.ipz: unknown field `ipz`, expected one of `ipVersion`",
        ),
        (
            "[10.0.0.1-10.0.0.2]",
            "10.0.0.1-2",
            "document 2 (pool a): spec.ips: invalid type: string \"10.0.0.1-2\", expected a sequence",
        ),
        (
            "ips:",
            "routes: [{dst: 10.9.0.0/24, gw: 10.0.0.9}, {dst: 10.8.0.0/24}], ips:",
            "document 2 (pool a): spec.routes[1]: missing field `gw`",
        ),
        (
            "10.0.0.1-10.0.0.2]",
            "10.0.0.1, 7]",
            "document 2 (pool a): spec.ips[1]: invalid type: integer `7`, expected a string",
        ),
        ("subnet: 10.0.0.0/24, ", "", "document 2 (pool a): spec: missing field `subnet`"),
        ("name: a", "name: 7", "document 2: metadata.name: invalid type: integer `7`"),
        ("name: a", "name: \"a\\nb\"", "document 2 (pool a\\nb): metadata.name"),
        ("spec:", "sepc: 1\nspec:", "document 2 (pool a): sepc: unknown field `sepc`"),
        (
            "SpiderIPPool",
            "SpiderSubnet",
            "document 2: kind \"SpiderSubnet\": it must be SpiderIPPool",
        ),
        ("v2beta1", "v1", "document 2: apiVersion \"spiderpool.spidernet.io/v1\""),
        ("kind: SpiderIPPool\n", "", "document 2: kind \"\""),
        ("metadata: {name: a}\n", "", "document 2: missing field `metadata`"),
        ("spec:", "spec: [", "document 2:"),
    ] {
        let documents = read(&format!("{GOOD}---\n{}", GOOD.replacen(from, to, 1)));
        let faults = documents.faults.join("\n");
        assert!(faults.contains(expected), "{to}: {faults}");
        assert!(faults.starts_with("pools.yaml: document 2"), "{to}: {faults}");
    }
}

#[test]
fn a_field_without_effect_is_a_warning_and_no_fault() {
    let documents = read(&GOOD.replace("ips:", "vlan: 7, ips:"));
    assert_eq!(documents.faults, Vec::<String>::new());
    assert_eq!(documents.pools.len(), 1);
    let warning = &documents.warnings[0];
    assert!(warning.contains("document 1 (pool a): spec.vlan 7: it has no effect"), "{warning}");
}

#[test]
fn what_is_no_yaml_or_empty_is_a_fault() {
    for text in ["", "---\n", "# only a comment\n"] {
        let faults = read(text).faults;
        assert!(faults[0].contains("no document"), "{text:?}: {faults:?}");
    }
    for text in ["\u{0}\u{1}", "{", "just words", "[1, 2]", "a: b: c", "\t- x"] {
        let documents = read(text);
        assert!(!documents.faults.is_empty(), "{text:?} was accepted");
        assert!(documents.pools.is_empty());
    }
}

#[test]
fn the_documentation_has_every_field_and_no_other() {
    let pools = field_names::<PoolSpec>().iter().map(|&field| field.to_owned()).collect();
    assert_eq!(documented("Pools", "field of `spec`"), pools);
    // The same names with the same meaning, so that the table is for both.
    assert!(field_names::<ReservedSpec>().iter().all(|&field| pools.contains(field)));
}

/// In bounded time and memory: what explodes is refused by the parser's budget, not read.
#[test]
fn aliases_that_explode_and_depths_without_end_are_faults() {
    let ten = |item: &str| [item; 10].join(", ");
    let level = |level: usize| match level.checked_sub(1) {
        None => format!("a0: &a0 [{}]\n", ten("x")),
        Some(before) => format!("a{level}: &a{level} [{}]\n", ten(&format!("*a{before}"))),
    };
    let aliases: String = (0..30).map(level).collect::<Vec<_>>().concat();
    for text in [aliases, "[".repeat(100_000), "a: ".repeat(100_000)] {
        let documents = read(&text);
        assert_eq!(documents.pools.len(), 0);
        assert!(!documents.faults.is_empty());
        assert!(documents.faults.iter().all(|fault| fault.len() < 1000));
    }
}
