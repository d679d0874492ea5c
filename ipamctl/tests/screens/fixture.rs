//! A store in which every state of an address is there, and the tool that looks at it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ipam_core::{
    Attachment, Lease, Moment, NetnsRef, Pin, PodRef, Pool, PoolSpec, Reserved, ReservedSpec, Rest,
    Stamp, StickyKey,
};
use ipam_store::{Contents, Resting, Store};
use serde_json::Value;
use tempfile::TempDir;

/// When the fence of the fixture began.
pub(crate) const GONE_SINCE: &str = "1795300000";

pub(crate) struct Fixture {
    directory: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Store::new(directory.path().join("db"), Duration::from_secs(60))
            .create(&contents())
            .unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.path("db"), Duration::from_secs(60))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipamctl"));
        command
            .args(["--data-dir", self.path("db").to_str().unwrap()])
            .args(arguments)
            .env("COLUMNS", "80")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The standard output of a call that succeeds.
    pub(crate) fn shown(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.shown(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    /// The standard error of a call that fails.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        stderr(&output)
    }

    pub(crate) fn held(&self) -> Vec<String> {
        let leases = self.store().contents().unwrap().leases;
        leases.iter().map(|lease| lease.address.to_string()).collect()
    }
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn pool(name: &str, spec: &PoolSpec) -> Pool {
    Pool::new(name, spec).unwrap()
}

/// A lease of this boot that is old enough for everything.
pub(crate) fn lease(address: &str, pool: &str, pod: Option<&str>, netns: Option<&str>) -> Lease {
    let now = ipam_store::now();
    Lease {
        address: ip(address),
        pool: pool.parse().unwrap(),
        attachment: Attachment {
            network: "ipvlan-eth0".parse().unwrap(),
            container: format!("c-{}", pod.unwrap_or("nobody")).parse().unwrap(),
            ifname: "eth0".parse().unwrap(),
        },
        pod: pod.map(|name| PodRef {
            namespace: "default".into(),
            name: name.into(),
            uid: Some(format!("uid-of-{name}")),
        }),
        netns: netns.map(|path| NetnsRef { path: path.into(), inode: None }),
        since: Stamp {
            moment: Moment(now.moment.0.saturating_sub(7200)),
            unix_seconds: now.unix_seconds - 7200,
            ..now
        },
    }
}

fn contents() -> Contents {
    let now = ipam_store::now();
    let list = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let cloud = PoolSpec {
        subnet: "172.31.192.0/20".into(),
        gateway: Some("172.31.207.253".into()),
        ips: list(&["172.31.199.100-172.31.199.189", "172.31.201.7"]),
        exclude_ips: list(&["172.31.199.120-172.31.199.123"]),
        node_name: list(&["master"]),
        multus_name: list(&["kube-system/ipvlan-eth0"]),
        default: Some(true),
        ..PoolSpec::default()
    };
    let big = PoolSpec {
        subnet: "10.1.0.0/16".into(),
        ips: list(&["10.1.0.2-10.1.255.250"]),
        namespace_name: list(&["prod"]),
        default: Some(true),
        ..PoolSpec::default()
    };
    let six = PoolSpec {
        subnet: "2001:db8:1:2::/64".into(),
        ips: list(&["2001:db8:1:2::/64"]),
        ..PoolSpec::default()
    };
    let reserved = |name: &str, ips: &[&str]| {
        Reserved::new(name, &ReservedSpec { ip_version: None, ips: list(ips) }).unwrap()
    };
    let labels =
        [("app.kubernetes.io/managed-by", "ipamctl-sync"), ("node-ipam/gone-since", GONE_SINCE)];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let fence = reserved("cloud-gone-v4-1795300000", &["172.31.199.101-172.31.199.102"]);
    let pin =
        Pin { namespace: "default".into(), name: "cache-0".into(), network: None, ifname: None };
    let own = format!("/proc/{}/ns/net", std::process::id());
    let mut leases = vec![
        lease("172.31.199.100", "cloud", Some("web-0"), Some(&own)),
        lease("172.31.199.101", "cloud", Some("web-1"), Some("/run/netns/gone")),
        lease("172.31.199.105", "cloud", Some("web-2"), Some("/run/netns/gone")),
        lease("172.31.199.106", "cloud", None, None),
    ];
    // Blocks of 64 that are full, and a little, half and mostly so.
    for (block, count) in [(0_u32, 64), (1, 10), (2, 32), (3, 60)] {
        for host in 0..count {
            let address = format!("10.1.{}.{}", 16, block * 64 + host);
            let mut lease = lease(&address, "big", Some("many"), Some(&own));
            lease.attachment.container = format!("c-{block}-{host}").parse().unwrap();
            leases.push(lease);
        }
    }
    let key = StickyKey {
        namespace: "default".into(),
        name: "db-0".into(),
        network: "ipvlan-eth0".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    let later = |seconds| now.moment.after(seconds);
    let rests = [
        ("172.31.199.110", Rest::cooling(now.moment, later(3650))),
        ("172.31.199.111", Rest::cooling(now.moment, later(3650))),
        ("172.31.199.112", Rest::sticky(key, now.moment, later(86_400))),
        ("172.31.199.113", Rest::quarantine("02:00:00:00:00:07".into(), now.moment, later(7200))),
    ];
    let resting = |(address, rest): (&str, Rest)| Resting {
        address: ip(address),
        pool: "cloud".parse().unwrap(),
        rest,
    };
    Contents {
        pools: vec![pool("big", &big), pool("cloud", &cloud), pool("six", &six)],
        reserved: vec![
            fence.with_labels(labels).unwrap(),
            reserved("printers", &["172.31.199.150-172.31.199.152"]),
            reserved("cache", &["172.31.199.170"]).with_labels(pin.labels()).unwrap(),
        ],
        leases,
        rests: rests.map(resting).into(),
        boot: now.boot,
        moment: now.moment,
        revision: 1,
    }
}

/// Compares with a file that is kept, or writes it anew where `UPDATE` is set.
pub(crate) fn assert_golden(name: &str, shown: &str) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/screens/golden").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, shown).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    assert_eq!(shown, expected, "{name}: UPDATE=1 writes it anew");
}
