//! The metrics as Prometheus reads them, beside what is stored and counted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use cni_proto::{Code, Verb};
use ipam_core::{Asker, Attachment, Demand, Labels, Pool, Reserved};
use ipam_store::{Declared, Request, Store};
use prometheus_parse::{Scrape, Value};
use serde_json::json;
use telemetry::{Durations, Failure};

fn ipamctl(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ipamctl"))
        .args(["--data-dir", directory.to_str().unwrap(), "metrics", "--durations"])
        .arg(directory.join("durations"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Values as Prometheus would write them: those of the tests are whole numbers.
type Samples = BTreeMap<String, String>;

/// Every sample under `name{label=value,...}`; a histogram has its count.
fn parsed(text: &str) -> Samples {
    let lines = text.lines().map(|line| Ok(line.to_owned()));
    let scrape = Scrape::parse(lines).unwrap();
    let samples = scrape.samples.iter().map(|sample| {
        let labels: BTreeMap<_, _> = sample.labels.iter().collect();
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let value = match &sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
            Value::Histogram(buckets) => buckets.last().unwrap().count,
            Value::Summary(_) => panic!("{sample:?}"),
        };
        (format!("{}{{{}}}", sample.metric, labels.join(",")), value.to_string())
    });
    samples.collect()
}

fn node() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path(), Duration::from_secs(10));
    let spec = json!({"default": true, "subnet": "10.1.0.0/24", "ips": ["10.1.0.2-10.1.0.11"]});
    let pool = Pool::new("eth1", &serde_json::from_value(spec).unwrap()).unwrap();
    let reserved = |name: &str, ip: &str, labels: Labels| {
        let spec = serde_json::from_value(json!({ "ips": [ip] })).unwrap();
        Reserved::new(name, &spec).unwrap().with_labels(labels).unwrap()
    };
    let fence = [
        ("app.kubernetes.io/managed-by".to_owned(), "ipamctl-sync".to_owned()),
        ("node-ipam/gone-since".to_owned(), "1700000000".to_owned()),
    ];
    let reserved = vec![
        reserved("gone", "10.1.0.10-10.1.0.11", fence.into()),
        reserved("printer", "10.1.0.9", Labels::default()),
    ];
    store.apply(&Declared { pools: vec![pool], reserved }).unwrap();
    (directory, store)
}

fn hold(store: &Store, container: &str) -> Attachment {
    let attachment = Attachment {
        network: "net".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    let asker = Asker::new("n1".parse().unwrap(), "net".parse().unwrap());
    let demand = Demand::new(attachment.clone(), asker);
    store.allocate(&Request { demand, netns: None }).unwrap();
    attachment
}

#[test]
fn totals_are_those_of_the_store_and_of_the_calls() {
    let (directory, store) = node();
    let held: Vec<_> = ["c1", "c2", "c3"].iter().map(|it| hold(&store, it)).collect();
    store.release(&held[1]).unwrap();
    let durations = Durations::new(directory.path().join("durations"));
    let count = |verb, failure, micros| {
        durations.count("cni-ipvlan", verb, failure, Duration::from_micros(micros)).unwrap();
    };
    for micros in [900, 1000, 1001] {
        count(Verb::Add, None, micros);
    }
    count(Verb::Add, Some(Failure::of(Code::TRY_AGAIN)), 5);
    count(Verb::Add, Some(Failure::of(Code::plugin(1))), 5);
    count(Verb::Del, None, 5);
    durations.count("cni-coordinator", Verb::Add, None, Duration::ZERO).unwrap();

    let output = ipamctl(directory.path(), &[]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let samples = parsed(&text);
    let of = |name: &str| samples.get(name).unwrap_or_else(|| panic!("{name} is not in {text}"));
    let state = |state: &str| of(&format!("node_ipam_pool_addresses{{pool=eth1,state={state}}}"));
    let states =
        ["free", "held", "cooling", "sticky", "pinned", "quarantined", "fenced"].map(state);
    // Ten, one of which somebody reserved.
    assert_eq!(states, ["4", "2", "1", "0", "0", "0", "2"]);
    let counters = store.counters().unwrap();
    assert_eq!(of("node_ipam_database_commits_total{}"), &counters.revision.to_string());
    assert_eq!(counters.pools[0].counts.held, 2);
    let file = fs::metadata(directory.path().join("ipam.redb")).unwrap();
    assert_eq!(of("node_ipam_database_bytes{}"), &file.len().to_string());
    assert_eq!(of("node_ipam_database_up{}"), "1");
    assert_eq!(of("node_ipam_sync_fences{}"), "1");
    assert_eq!(of("spiderpool_total_ippool_counts{}"), "1");
    assert_eq!(of("spiderpool_debug_ippool_total_ip_counts{SpiderIPPool=eth1}"), "9");
    assert_eq!(of("spiderpool_debug_ippool_available_ip_counts{SpiderIPPool=eth1}"), "5");
    assert_eq!(of("spiderpool_ipam_allocation_counts{}"), "5");
    assert_eq!(of("spiderpool_ipam_allocation_failure_counts{}"), "2");
    assert_eq!(of("spiderpool_ipam_allocation_err_no_available_pool_counts{}"), "1");
    assert_eq!(of("spiderpool_ipam_release_counts{}"), "1");
    let failures =
        "node_ipam_operation_failures_total{plugin=cni-ipvlan,reason=try_again,verb=ADD}";
    assert_eq!(of(failures), "1");
    let histogram = "node_ipam_operation_duration_seconds";
    assert_eq!(of(&format!("{histogram}{{outcome=done,plugin=cni-ipvlan,verb=ADD}}")), "3");
    let labels = r#"plugin="cni-ipvlan",verb="ADD",outcome="done""#;
    for (bound, count) in [("0.0005", 0), ("0.001", 2), ("0.0025", 3), ("+Inf", 3)] {
        let line = format!("{histogram}_bucket{{{labels},le=\"{bound}\"}} {count}\n");
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    assert!(text.contains(&format!("{histogram}_sum{{{labels}}} 0.002901\n")), "{text}");
    // A family stands together and once.
    let types: Vec<_> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    assert_eq!(types.len(), types.iter().collect::<std::collections::BTreeSet<_>>().len());
}

#[test]
fn a_file_is_replaced_whole_and_readable() {
    let (directory, _store) = node();
    let folder = directory.path().join("textfile");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("node-ipam.prom");
    fs::write(&file, "old").unwrap();
    let output = ipamctl(directory.path(), &["--textfile", file.to_str().unwrap()]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    parsed(&fs::read_to_string(&file).unwrap());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
    let nowhere = ipamctl(directory.path(), &["--textfile", "/nowhere/a.prom"]);
    assert_eq!(nowhere.status.code(), Some(1));
}

/// An alarm needs a sample that says so.
#[test]
fn a_database_that_cannot_be_read_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let output = ipamctl(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let samples = parsed(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(samples["node_ipam_database_up{}"], "0");
}
