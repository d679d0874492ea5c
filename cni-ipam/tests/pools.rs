//! The plugin with applied pools, where no interface is needed: what a pod asks for by itself.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ipam_core::Pool;
use ipam_store::{Declared, Store};
use serde_json::{Value, json};

fn pool(name: &str, spec: Value) -> Pool {
    Pool::new(name, &serde_json::from_value(spec).unwrap()).unwrap()
}

/// A directory with one pool of each family, and one that this network may not use.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let pools = [
        pool(
            "v4",
            json!({"default": true, "subnet": "10.1.0.0/24", "ips": ["10.1.0.2-10.1.0.9"],
            "excludeIPs": ["10.1.0.4"], "gateway": "10.1.0.1"}),
        ),
        pool("v6", json!({"default": true, "subnet": "fd01::/64", "ips": ["fd01::2-fd01::9"]})),
        pool(
            "other",
            json!({"default": true, "subnet": "10.2.0.0/24", "ips": ["10.2.0.2-10.2.0.9"],
            "multusName": ["kube-system/other"]}),
        ),
    ];
    let store = Store::new(directory.path(), Duration::from_secs(10));
    store.apply(&Declared::pools(pools)).unwrap();
    directory
}

type Answer = Result<Vec<String>, (u64, String)>;

fn call(
    verb: &str,
    container: &str,
    data_dir: &Path,
    args: &str,
    extra: &[(&str, Value)],
) -> Answer {
    let mut config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge",
        "ipam": {"type": "cni-ipam", "nodeName": "n1", "dataDir": data_dir},
    });
    for (key, value) in extra {
        config[*key] = value.clone();
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_cni-ipam"))
        .env_clear()
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", container)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", "/never/opened")
        .env("CNI_PATH", "/usr/lib/cni")
        .env("CNI_ARGS", args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answer: Value = match output.stdout.as_slice() {
        b"" => Value::Null,
        stdout => serde_json::from_slice(stdout).unwrap(),
    };
    if !output.status.success() {
        return Err((answer["code"].as_u64().unwrap(), answer["msg"].as_str().unwrap().to_owned()));
    }
    let ips = answer["ips"].as_array().cloned().unwrap_or_default();
    Ok(ips.iter().map(|ip| ip["address"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn a_requested_address_is_given_from_the_pools_that_may_be_used() {
    let directory = directory();
    let add = |container, args, extra: &[_]| call("ADD", container, directory.path(), args, extra);
    assert_eq!(add("c1", "IP=10.1.0.7", &[]).unwrap(), ["10.1.0.7/24", "fd01::2/64"]);
    let by_args = [("args", json!({"cni": {"ips": ["fd01::8/64"]}}))];
    assert_eq!(add("c2", "", &by_args).unwrap(), ["10.1.0.2/24", "fd01::8/64"]);
    let by_runtime = [("runtimeConfig", json!({"ips": ["10.1.0.8", "fd01::9"]}))];
    assert_eq!(add("c3", "", &by_runtime).unwrap(), ["10.1.0.8/24", "fd01::9/64"]);

    // What cannot be had is said with its reason, and only what may pass by itself is tried again.
    for (args, code, reason) in [
        ("IP=10.1.0.7", 11, "net/c1/eth0 holds it"),
        ("IP=10.1.0.4", 7, "excludeIPs of pool v4 has it"),
        ("IP=10.1.0.1", 7, "no pool has it"),
        ("IP=10.2.0.5", 7, "multusName is [kube-system/other]"),
        ("IP=10.1.0.5,10.1.0.6", 7, "one address per family can be requested"),
        ("IP=10.1.0.x", 4, "10.1.0.x"),
        ("UNKNOWN=1", 4, "unknown key \"UNKNOWN\""),
    ] {
        let (found, text) = add("none", args, &[]).unwrap_err();
        assert_eq!(found, code, "{args}: {text}");
        assert!(text.contains(reason), "{args}: {text}");
    }
    let rest = add("c4", "UNKNOWN=1;IgnoreUnknown=1", &[]).unwrap();
    assert_eq!(rest, ["10.1.0.3/24", "fd01::3/64"], "a refused ADD holds nothing");

    // Its holder's end frees it at once for who asks for it.
    assert_eq!(call("DEL", "c1", directory.path(), "UNKNOWN=1", &[]).unwrap(), [""; 0]);
    assert_eq!(add("c5", "IP=10.1.0.7", &[]).unwrap(), ["10.1.0.7/24", "fd01::4/64"]);
}
