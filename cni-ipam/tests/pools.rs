//! The plugin with applied pools, where no interface is needed: what a pod asks for by itself.

use std::path::Path;
use std::time::Duration;

use ipam_core::{
    Asker, Attachment, Demand, Moment, Pin, Pool, Reserved, ReservedSpec, Rest, Stamp,
};
use ipam_store::{Declared, Request, Store};
use serde_json::{Value, json};

mod process;

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
    let output = process::run(process::call(verb, container).env("CNI_ARGS", args), &config);
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

fn status(data_dir: &Path) -> Result<(), (u64, String)> {
    let ipam = json!({"type": "cni-ipam", "nodeName": "n1", "dataDir": data_dir,
        "statusOnExhaustion": true});
    let extra = [("cniVersion", json!("1.1.0")), ("ipam", ipam)];
    call("STATUS", "", data_dir, "", &extra).map(drop)
}

/// STATUS counted who holds an address against the addresses that are for everybody: a pod with a
/// pinned one, or one that was fenced, took one of them away. And it was full of what a boot
/// had ended and of rests that were over, until an ADD came, which none does while the node is not ready.
#[test]
fn status_is_full_when_an_add_of_an_ordinary_pod_would_be_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path();
    let store = Store::new(data_dir, Duration::from_secs(10));
    let three = json!({"default": true, "subnet": "10.1.0.0/24", "ips": ["10.1.0.2-10.1.0.4"]});
    store.apply(&Declared::pools([pool("v4", three)])).unwrap();
    let reserve = |name, address: &str, pin: Option<&Pin>| {
        let spec = ReservedSpec { ip_version: None, ips: vec![address.into()] };
        let labels = pin.map(Pin::labels).unwrap_or_default();
        let reserved = vec![Reserved::new(name, &spec).unwrap().with_labels(labels).unwrap()];
        store.apply(&Declared { pools: Vec::new(), reserved }).unwrap();
    };
    let add = |container, args| call("ADD", container, data_dir, args, &[]).unwrap();
    let full = Err((50, "no address is free in [v4] (statusOnExhaustion)".to_owned()));

    let pin =
        Pin { namespace: "default".into(), name: "web-0".into(), network: None, ifname: None };
    reserve("pin", "10.1.0.2", Some(&pin));
    let web = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0";
    assert_eq!(add("c1", web), ["10.1.0.2/24"]);
    assert_eq!(add("c2", ""), ["10.1.0.3/24"]);
    assert_eq!(status(data_dir), Ok(()), "one is free, though as many are held as are for all");
    reserve("fence", "10.1.0.3", None);
    assert_eq!(status(data_dir), Ok(()), "who holds a fenced one takes none away");
    assert_eq!(add("c3", ""), ["10.1.0.4/24"]);
    assert_eq!(status(data_dir), full);

    call("DEL", "c1", data_dir, "", &[]).unwrap();
    assert_eq!(status(data_dir), full, "what is pinned is free for its pod alone");
    call("DEL", "c2", data_dir, "", &[]).unwrap();
    assert_eq!(status(data_dir), full, "what is fenced is nobody's");
    call("DEL", "c3", data_dir, "", &[]).unwrap();
    assert_eq!(status(data_dir), Ok(()), "what cools down is given when nothing else is left");

    let now = ipam_store::now();
    let rest = |until| Rest::quarantine("a stranger".into(), now.moment, until);
    let quarantine =
        |until| store.rest("10.1.0.4".parse().unwrap(), &"v4".parse().unwrap(), &rest(until));
    assert!(quarantine(now.moment.after(3600)).unwrap());
    assert_eq!(status(data_dir), full);
    assert!(quarantine(now.moment).unwrap());
    assert_eq!(status(data_dir), Ok(()), "its quarantine is over, and nobody had to notice");
}

#[test]
fn status_is_not_full_of_the_leases_of_an_earlier_boot() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::new(directory.path(), Duration::from_secs(10));
    let one = json!({"default": true, "subnet": "10.1.0.0/24", "ips": ["10.1.0.2"]});
    store.apply(&Declared::pools([pool("v4", one)])).unwrap();
    let earlier = Stamp {
        boot: Some("earlier".parse().unwrap()),
        moment: Moment(1_000_000),
        unix_seconds: 0,
    };
    let attachment = Attachment {
        network: "net".parse().unwrap(),
        container: "c1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    let asker = Asker::new("n1".parse().unwrap(), "net".parse().unwrap());
    let request = Request { demand: Demand::new(attachment, asker), netns: None };
    let then = store.clone().with_clock(move || earlier.clone());
    assert_eq!(then.allocate(&request).unwrap().len(), 1);
    assert_eq!(status(directory.path()), Ok(()), "the next ADD gets it");
    assert_eq!(store.contents().unwrap().leases.len(), 1, "STATUS has written nothing");
    assert_eq!(call("ADD", "c2", directory.path(), "", &[]).unwrap(), ["10.1.0.2/24"]);
    assert_eq!(status(directory.path()).unwrap_err().0, 50);
}
