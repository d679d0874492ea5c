//! Addresses that are kept for one pod, as an operator keeps them.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use ipam_core::{Asker, Attachment, Demand, PodRef, Policy};
use ipam_store::{AllocateError, Request, Store};
use serde_json::Value;

use process::{ipamctl, stdout};

mod process;

const POOL: &str = "\
apiVersion: spiderpool.spidernet.io/v2beta1
kind: SpiderIPPool
metadata:
  name: p
spec:
  subnet: 10.0.0.0/24
  gateway: 10.0.0.1
  ips: [10.0.0.1-10.0.0.4]
  default: true
";

/// What is said to who fails.
fn refusal(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A directory with a store of three addresses, 10.0.0.2 to 10.0.0.4.
fn three() -> tempfile::TempDir {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("pool.yaml");
    std::fs::write(&file, POOL).unwrap();
    let store = parent.path().join("ipam");
    stdout(&ipamctl(&store, &["apply", "--no-node-scan", "-f", file.to_str().unwrap()]));
    parent
}

fn store(directory: &Path) -> Store {
    let policy = Policy { cooldown_seconds: 60, ..Policy::default() };
    Store::new(directory, Duration::from_secs(60)).with_policy(policy)
}

fn attachment(container: &str) -> Attachment {
    Attachment {
        network: "net".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn add(directory: &Path, container: &str, pod: &str) -> Result<String, AllocateError> {
    let asker = Asker::new("n".parse().unwrap(), "net".parse().unwrap());
    let pod = PodRef { namespace: "default".into(), name: pod.into(), uid: None };
    let demand = Demand { pod: Some(pod), ..Demand::new(attachment(container), asker) };
    let grants = store(directory).allocate(&Request { demand, netns: None })?;
    Ok(grants[0].lease.address.to_string())
}

fn del(directory: &Path, container: &str) {
    assert_eq!(store(directory).release(&attachment(container)).unwrap().len(), 1);
}

#[test]
fn a_pinned_address_goes_to_its_pod_and_to_nobody_else() {
    let parent = three();
    let directory = &parent.path().join("ipam");
    let pin = ["pin", "10.0.0.3", "--pod", "default/web-0"];
    assert_eq!(stdout(&ipamctl(directory, &pin)), "10.0.0.3 is pinned to pod default/web-0\n");
    assert_eq!(stdout(&ipamctl(directory, &pin)), "10.0.0.3 is pinned to pod default/web-0\n");

    assert_eq!(add(directory, "a", "other-1").unwrap(), "10.0.0.2");
    assert_eq!(add(directory, "b", "other-2").unwrap(), "10.0.0.4");
    let full = add(directory, "c", "other-3").unwrap_err().to_string();
    assert!(full.contains("p (2 of 2 held, 1 more pinned)"), "{full}");
    // Again and again, without a cooldown for its own, and after a rebuild of what was applied.
    for round in 0..3 {
        assert_eq!(add(directory, "w", "web-0").unwrap(), "10.0.0.3");
        del(directory, "w");
        if round == 1 {
            let contents = store(directory).contents().unwrap();
            store(directory).replace(&contents).unwrap();
        }
    }
    assert!(stdout(&ipamctl(directory, &["export"])).contains("node-ipam/pinned-name"));

    assert_eq!(
        stdout(&ipamctl(directory, &["unpin", "10.0.0.3"])),
        "10.0.0.3 is not pinned any more\n"
    );
    assert_eq!(add(directory, "c", "other-3").unwrap(), "10.0.0.3");
    assert!(
        refusal(&ipamctl(directory, &["unpin", "10.0.0.3"])).contains("10.0.0.3 is not pinned")
    );
}

#[test]
fn who_holds_it_keeps_it_and_is_named() {
    let parent = three();
    let directory = &parent.path().join("ipam");
    assert_eq!(add(directory, "a", "other").unwrap(), "10.0.0.2");
    assert_eq!(
        stdout(&ipamctl(directory, &["pin", "10.0.0.2", "--pod", "default/web-0"])),
        "10.0.0.2 is pinned to pod default/web-0\n\
         pod default/other holds it, and keeps it till its end\n"
    );
    assert_eq!(add(directory, "w", "web-0").unwrap(), "10.0.0.3");
    del(directory, "w");
    del(directory, "a");
    assert_eq!(add(directory, "w", "web-0").unwrap(), "10.0.0.2");
    assert_eq!(
        stdout(&ipamctl(directory, &["get", "pins"])),
        "\
IP         NAMESPACE   POD     NETWORK   INTERFACE   POOL   HOLDER
10.0.0.2   default     web-0   <any>     <any>       p      pod default/web-0
"
    );
}

#[test]
fn what_cannot_be_kept_is_refused_and_nothing_is_stored() {
    let parent = three();
    let directory = &parent.path().join("ipam");
    let long = format!("default/{}", "x".repeat(64));
    stdout(&ipamctl(directory, &["pin", "10.0.0.3", "--pod", "default/web-0"]));
    for (address, pod, expected) in [
        ("10.0.0.9", "default/web-1", "no pool has 10.0.0.9: `ipamctl get pools`"),
        ("10.0.0.1", "default/web-1", "pool p never hands 10.0.0.1 out"),
        ("10.0.0.3", "default/web-1", "is pinned to pod default/web-0: `ipamctl unpin 10.0.0.3`"),
        ("10.0.0.4", &long, "a pin is kept in labels"),
    ] {
        let output = ipamctl(directory, &["pin", address, "--pod", pod]);
        assert!(refusal(&output).contains(expected), "{output:?}");
    }
    let usage = ipamctl(directory, &["pin", "10.0.0.4", "--pod", "web-0"]);
    assert_eq!(usage.status.code(), Some(2));
    assert_eq!(store(directory).contents().unwrap().reserved.len(), 1);
}

#[test]
fn the_json_is_what_the_schema_says() {
    let parent = three();
    let directory = &parent.path().join("ipam");
    let schema: Value = serde_json::from_str(include_str!("../schemas/pin.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    add(directory, "a", "other").unwrap();
    let pin = |arguments: &[&str]| {
        let all = [&["pin", "10.0.0.2", "--pod", "default/web-0", "-o", "json"], arguments];
        serde_json::from_str::<Value>(stdout(&ipamctl(directory, &all.concat()))).unwrap()
    };
    let plain = pin(&[]);
    let narrow = pin(&["--network", "net", "--ifname", "eth0"]);
    assert_eq!(narrow["interface"], "eth0");
    assert_eq!(narrow["holder"]["podName"], "other");
    let listed = ipamctl(directory, &["get", "pins", "-o", "json"]);
    let listed: Value = serde_json::from_str(stdout(&listed)).unwrap();
    assert_eq!(listed["items"][0], narrow);
    del(directory, "a");
    for object in [plain, narrow, pin(&[])] {
        let errors: Vec<_> = validator.iter_errors(&object).map(|e| e.to_string()).collect();
        assert_eq!(errors, [""; 0], "{object}");
    }
    assert!(!validator.is_valid(&serde_json::json!({})));
}
