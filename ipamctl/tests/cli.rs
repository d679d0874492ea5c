//! The tool as an operator uses it, with the seed's four documents.

use std::path::Path;

use ipam_core::{Asker, Attachment, Demand};
use ipam_store::{Request, Store};
use serde_json::Value;

use process::{ipamctl, stdout};

mod process;

const SEED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/seed/pools.yaml");

fn hold_one(directory: &Path, node: &str, container: &str) {
    let attachment = Attachment {
        network: "ipvlan-eth0".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    let asker = Asker::new(node.parse().unwrap(), "kube-system/ipvlan-eth0".parse().unwrap());
    let demand = Demand::new(attachment, asker);
    let request = Request { demand, netns: None };
    Store::new(directory, std::time::Duration::from_secs(60)).allocate(&request).unwrap();
}

#[test]
fn the_seeds_documents_apply_verbatim_and_show_as_in_the_seed() {
    let dir = tempfile::tempdir().unwrap();
    let applied = ipamctl(dir.path(), &["apply", "-f", SEED]);
    assert_eq!(
        stdout(&applied),
        "pool/master-172 created\npool/master-192 created\n\
         pool/worker-172 created\npool/worker-192 created\n"
    );
    let again = ipamctl(dir.path(), &["apply", "-f", SEED]);
    assert!(stdout(&again).lines().all(|line| line.ends_with("unchanged")));

    hold_one(dir.path(), "master", "c1");
    let table = ipamctl(dir.path(), &["get", "pools"]);
    assert_eq!(
        stdout(&table),
        "\
NAME         VERSION   SUBNET            ALLOCATED-IP-COUNT   TOTAL-IP-COUNT   DEFAULT
master-172   4         172.31.192.0/20   1                    5                true
master-192   4         192.168.0.0/24    0                    5                true
worker-172   4         172.31.192.0/20   0                    5                true
worker-192   4         192.168.0.0/24    0                    5                true
"
    );
    let wide = ipamctl(dir.path(), &["get", "pools", "worker-192", "-o", "wide"]);
    let wide = stdout(&wide);
    assert!(wide.lines().next().unwrap().ends_with("DISABLE   NODENAME   MULTUSNAME"), "{wide}");
    assert!(wide.ends_with("false     worker     kube-system/ipvlan-eth1\n"), "{wide}");

    let ips = ipamctl(dir.path(), &["get", "ips", "-o", "wide"]);
    let line = stdout(&ips).lines().nth(1).unwrap().to_string();
    assert!(line.starts_with("172.31.199.185   master-172   <none>"), "{line}");
    assert!(line.contains("c1"), "{line}");
}

#[test]
fn json_and_yaml_carry_the_document_and_its_counts_and_apply_again() {
    let dir = tempfile::tempdir().unwrap();
    stdout(&ipamctl(dir.path(), &["apply", "-f", SEED]));
    hold_one(dir.path(), "worker", "c1");
    let json = ipamctl(dir.path(), &["get", "pools", "-o", "json"]);
    let list: Value = serde_json::from_str(stdout(&json)).unwrap();
    let pool = &list["items"][2];
    assert_eq!(pool["metadata"]["name"], "worker-172");
    assert_eq!(pool["spec"]["ips"][0], "172.31.199.190-172.31.199.194");
    assert_eq!(pool["status"]["allocatedIPCount"], 1);
    assert_eq!(pool["status"]["totalIPCount"], 5);

    let yaml = ipamctl(dir.path(), &["get", "pools", "worker-172", "-o", "yaml"]);
    let list: Value = serde_saphyr::from_str(stdout(&yaml)).unwrap();
    let file = dir.path().join("one.yaml");
    std::fs::write(&file, serde_saphyr::to_string(&list["items"][0]).unwrap()).unwrap();
    let again = ipamctl(dir.path(), &["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(stdout(&again), "pool/worker-172 unchanged\n");

    let ips = ipamctl(dir.path(), &["get", "ips", "-o", "json"]);
    let list: Value = serde_json::from_str(stdout(&ips)).unwrap();
    assert_eq!(list["items"][0]["containerID"], "c1");
}

/// Two nodes share a disk only in a lab; there their databases show as the cluster would.
#[test]
fn several_databases_show_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let (master, worker) = (dir.path().join("master"), dir.path().join("worker"));
    for node in [&master, &worker] {
        stdout(&ipamctl(node, &["apply", "-f", SEED]));
    }
    hold_one(&master, "master", "c1");
    hold_one(&worker, "worker", "c2");
    let both = ["--data-dir", master.to_str().unwrap(), "get", "pools"];
    let table = ipamctl(&worker, &both);
    assert_eq!(stdout(&table).matches("   1                    5 ").count(), 2);
    let refused = ipamctl(&worker, &["--data-dir", "/nowhere", "apply", "-f", SEED]);
    assert!(!refused.status.success());
}

#[test]
fn a_fault_anywhere_stores_nothing_and_names_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let seed = std::fs::read_to_string(SEED).unwrap();
    let file = dir.path().join("pools.yaml");
    let apply = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = ipamctl(&dir.path().join("db"), &["apply", "-f", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"");
        assert!(!dir.path().join("db/ipam.redb").exists() || text.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let reversed = seed.replace("192.168.0.161-192.168.0.165", "192.168.0.165-192.168.0.161");
    let error = apply(&reversed);
    for part in ["pools.yaml: document 4", "pool worker-192", "spec.ips[0]", "is reversed"] {
        assert!(error.contains(part), "{error}");
    }
    // Faults across documents are found by the store, before it is created.
    let twice = format!("{seed}---\n{}", seed.replace("default: true", "default: false"));
    std::fs::write(&file, &twice).unwrap();
    let output = ipamctl(&dir.path().join("db2"), &["apply", "-f", file.to_str().unwrap()]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("document 8 (pool worker-192): metadata.name"), "{error}");
    assert!(error.contains("an earlier document has the same name and other contents"), "{error}");
    let table = ipamctl(&dir.path().join("db2"), &["get", "pools"]);
    assert!(String::from_utf8(table.stderr).unwrap().contains("no database at"));
    // A reservation is a document like others.
    let reserved = "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderReservedIP\n\
        metadata: {name: printers}\nspec: {ips: [192.168.0.156]}\n";
    std::fs::write(&file, format!("{seed}---\n{reserved}")).unwrap();
    let output = ipamctl(&dir.path().join("db2"), &["apply", "-f", file.to_str().unwrap()]);
    assert!(stdout(&output).ends_with("reserved/printers created\n"));
    let table = ipamctl(&dir.path().join("db2"), &["get", "pools", "master-192", "-o", "json"]);
    assert!(stdout(&table).contains("192.168.0.156-192.168.0.160"), "{}", stdout(&table));
}

/// Several documents may have one name; each fault is of the document that it stands in.
#[test]
fn a_fault_across_documents_names_the_first_document_that_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let seed = std::fs::read_to_string(SEED).unwrap();
    let file = dir.path().join("pools.yaml");
    stdout(&ipamctl(dir.path(), &["apply", "-f", SEED]));
    // Document 1 moves a stored pool to another subnet; document 5 is the pool as it is stored.
    let moved = seed.replace("172.31.192.0/20", "172.31.128.0/17");
    std::fs::write(&file, format!("{moved}---\n{seed}")).unwrap();
    let output = ipamctl(dir.path(), &["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    let rule = "the subnet of a pool never changes; it is 172.31.192.0/20";
    for line in error.lines().filter(|line| line.contains(rule)) {
        assert!(
            line.contains("document 1 (pool master-172): spec.subnet")
                || line.contains("document 3 (pool worker-172): spec.subnet"),
            "{error}"
        );
    }
    assert_eq!(error.matches(rule).count(), 2, "{error}");
    assert!(error.contains("document 5 (pool master-172): metadata.name"), "{error}");
}

#[test]
fn the_same_document_twice_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let twice = ipamctl(dir.path(), &["apply", "-f", SEED, "-f", SEED]);
    let lines: Vec<&str> = stdout(&twice).lines().collect();
    assert_eq!(lines.len(), 8);
    assert!(lines[..4].iter().all(|line| line.ends_with(" created")), "{lines:?}");
    assert!(lines[4..].iter().all(|line| line.ends_with(" unchanged")), "{lines:?}");
}

#[test]
fn errors_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let missing = ipamctl(dir.path(), &["get", "pools"]);
    assert_eq!(missing.status.code(), Some(1));
    let text = String::from_utf8(missing.stderr).unwrap();
    assert!(text.contains("no database at") && text.contains("ipamctl apply"), "{text}");
    let nofile = ipamctl(dir.path(), &["apply", "-f", "/nowhere.yaml"]);
    assert!(String::from_utf8(nofile.stderr).unwrap().contains("read /nowhere.yaml"));
}
