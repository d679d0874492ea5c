//! Whoever makes pods chooses their names: what is no name holds nothing, and stops no DEL.

use std::path::Path;
use std::time::Duration;

use ipam_core::Pool;
use ipam_store::{Declared, Store};
use serde_json::{Value, json};

mod process;

/// Longer than any name, and short enough for an environment (`MAX_ARG_STRLEN`, 128 KiB).
const LONG: usize = 100_000;

/// Exit code and answer.
fn call(verb: &str, ipam: &Value, args: &str) -> (i32, Value) {
    let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": ipam});
    let output = process::run(process::call(verb, "c1").env("CNI_ARGS", args), &config);
    let answer = if output.stdout.is_empty() { Value::Null } else { json_of(&output.stdout) };
    (output.status.code().unwrap(), answer)
}

fn json_of(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

fn leases(directory: &Path) -> usize {
    match Store::new(directory, Duration::from_secs(60)).contents() {
        Ok(contents) => contents.leases.len(),
        // A network with ranges begins its database with its first lease.
        Err(ipam_store::Error::Missing { .. }) => 0,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_is_no_name_of_a_pod_holds_nothing_and_its_del_succeeds() {
    let root = tempfile::tempdir().unwrap();
    let (pools, ranges) = (root.path().join("pools"), root.path().join("ranges"));
    let spec = json!({"subnet": "10.1.0.0/24", "ips": ["10.1.0.2-10.1.0.9"], "default": true});
    let pool = Pool::new("p", &serde_json::from_value(spec).unwrap()).unwrap();
    Store::new(&pools, Duration::from_secs(60)).apply(&Declared::pools([pool])).unwrap();
    let of_pools = json!({"type": "cni-ipam", "dataDir": pools, "nodeName": "n1"});
    let of_ranges = json!({"type": "cni-ipam", "dataDir": ranges, "subnet": "10.2.0.0/24"});
    for (ipam, directory) in [(of_pools, pools), (of_ranges, ranges.join("net"))] {
        let names = |namespace: &str, name: &str| {
            format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name}")
        };
        let long = "p".repeat(LONG);
        for (args, expected) in [
            (names("default", "\x1bcweb\x07"), r"\u{1b}"),
            (names("default", "a\nb"), r"\n"),
            (names("x\x1b[2J", "web-0"), r"\u{1b}"),
            (names("default", &long), "100000 bytes is too long"),
            (names(&long, "web-0"), "100000 bytes is too long"),
        ] {
            let (code, error) = call("ADD", &ipam, &args);
            assert_eq!((code, &error["code"]), (1, &json!(4)), "{error}");
            let msg = error["msg"].as_str().unwrap();
            assert!(msg.contains(expected), "{msg}");
            assert!(msg.len() < 1000 && !msg.contains(char::is_control), "{} bytes", msg.len());
            assert_eq!(leases(&directory), 0);
            assert_eq!(call("DEL", &ipam, &args), (0, Value::Null));
        }
        let (code, result) = call("ADD", &ipam, &names("default", "web-0"));
        assert_eq!(code, 0, "{result}");
        assert_eq!(leases(&directory), 1);
        // A DEL goes by container and interface; it is not the place to object to a name.
        assert_eq!(call("DEL", &ipam, &names("default", "\x1b[2J")), (0, Value::Null));
        assert_eq!(leases(&directory), 0);
    }
}
