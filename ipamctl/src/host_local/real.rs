//! Our reading and writing against host-local itself, as Debian's containernetworking-plugins has
//! it. Without it these tests fail.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

struct Peer(tempfile::TempDir);

impl Peer {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn start(&self, verb: &str, container: &str, ifname: &str) -> Child {
        let config = json!({
            "cniVersion": "1.0.0",
            "name": "net",
            "type": "ipvlan",
            "ipam": {
                "type": "host-local",
                "dataDir": self.0.path(),
                "ranges": [[{"subnet": "10.0.0.0/29"}], [{"subnet": "fd00:0:0:1::/125"}]],
            },
        });
        let mut child = Command::new("/usr/lib/cni/host-local")
            .env_clear()
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", container)
            .env("CNI_IFNAME", ifname)
            .env("CNI_NETNS", "/never/opened")
            .env("CNI_PATH", "/usr/lib/cni")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("host-local is needed: apt-get install containernetworking-plugins");
        child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        child
    }

    fn run(&self, verb: &str, container: &str, ifname: &str) -> Result<Value, String> {
        let output = self.start(verb, container, ifname).wait_with_output().unwrap();
        let answer = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.success() { Ok(answer) } else { Err(answer.to_string()) }
    }

    /// The addresses that it gave.
    fn add(&self, container: &str, ifname: &str) -> Vec<IpAddr> {
        let result = self.run("ADD", container, ifname).unwrap();
        let ips = result["ips"].as_array().unwrap().iter();
        let addresses = ips.map(|ip| ip["address"].as_str().unwrap().split('/').next().unwrap());
        addresses.map(|address| address.parse().unwrap()).collect()
    }

    fn read(&self) -> HostLocal {
        HostLocal::read(self.0.path(), &"net".parse().unwrap(), PATIENCE).unwrap()
    }
}

fn reservation(address: IpAddr, container: &str, ifname: &str) -> Reservation {
    Reservation {
        address,
        container: container.parse().unwrap(),
        ifname: Some(ifname.parse().unwrap()),
    }
}

#[test]
fn what_host_local_wrote_is_read_exactly() {
    let peer = Peer::new();
    let mut expected = Vec::new();
    for (container, ifname) in [("c1", "eth0"), ("c1", "net1"), ("c2", "eth0")] {
        let addresses = peer.add(container, ifname);
        assert_eq!(addresses.len(), 2);
        expected.extend(addresses.into_iter().map(|one| reservation(one, container, ifname)));
    }
    expected.sort();
    let found = peer.read();
    assert_eq!(found.reservations, expected);
    assert_eq!((&found.abandoned, &found.oddities), (&vec![], &vec![]));
    let of_c2 = expected.iter().filter(|one| one.container.as_str() == "c2");
    let last: Vec<IpAddr> = of_c2.map(|one| one.address).collect();
    assert_eq!(found.last_reserved, BTreeMap::from([(0, last[0]), (1, last[1])]));

    peer.run("DEL", "c1", "eth0").unwrap();
    expected
        .retain(|one| one.container.as_str() != "c1" || *one.ifname.as_ref().unwrap() != eth0());
    assert_eq!(peer.read().reservations, expected);
}

fn eth0() -> IfName {
    "eth0".parse().unwrap()
}

#[test]
fn host_local_goes_on_from_what_we_wrote() {
    let peer = Peer::new();
    let ours = [
        reservation("10.0.0.2".parse().unwrap(), "c1", "eth0"),
        reservation("10.0.0.3".parse().unwrap(), "c1", "net1"),
        reservation("10.0.0.5".parse().unwrap(), "c2", "eth0"),
        reservation("fd00:0:0:1::2".parse().unwrap(), "c1", "eth0"),
        reservation("fd00:0:0:1::4".parse().unwrap(), "c2", "eth0"),
    ];
    let named: Vec<_> = ours.iter().map(|one| ("net".parse().unwrap(), one.clone())).collect();
    write(peer.0.path(), &named, PATIENCE).unwrap();
    assert_eq!(peer.read().reservations, ours);

    for (container, ifname) in [("c1", "eth0"), ("c1", "net1"), ("c2", "eth0")] {
        peer.run("CHECK", container, ifname).unwrap();
    }
    peer.run("CHECK", "c3", "eth0").unwrap_err();
    let again = peer.run("ADD", "c1", "eth0").unwrap_err();
    assert!(again.contains("10.0.0.2") && again.contains("duplicate"), "{again}");

    // 10.0.0.1 is the gateway; 4 and 6 are what is left of the subnet's six.
    let mut given = [peer.add("n1", "eth0"), peer.add("n2", "eth0")];
    given.sort();
    assert_eq!(given[0][0].to_string(), "10.0.0.4");
    assert_eq!(given[1][0].to_string(), "10.0.0.6");
    let full = peer.run("ADD", "n3", "eth0").unwrap_err();
    assert!(full.contains("no IP addresses available"), "{full}");

    peer.run("DEL", "c1", "eth0").unwrap();
    let left: Vec<Reservation> =
        peer.read().reservations.into_iter().filter(|one| ours.contains(one)).collect();
    assert_eq!(left, [ours[1].clone(), ours[2].clone(), ours[4].clone()]);
    assert!(!peer.0.path().join("net/10.0.0.2").exists());
    assert_eq!(peer.add("n4", "eth0")[0].to_string(), "10.0.0.2");
}

#[test]
fn an_abandoned_address_is_never_given() {
    let peer = Peer::new();
    fs::create_dir(peer.0.path().join("net")).unwrap();
    fs::write(peer.0.path().join("net/10.0.0.2"), "").unwrap();
    assert_eq!(peer.add("c1", "eth0")[0].to_string(), "10.0.0.3");
    assert_eq!(peer.read().abandoned, ["10.0.0.2".parse::<IpAddr>().unwrap()]);
}

#[test]
fn host_local_waits_for_the_lock_that_we_take() {
    let peer = Peer::new();
    let directory = peer.0.path().join("net");
    fs::create_dir(&directory).unwrap();
    let ours = lock(&directory, PATIENCE).unwrap();
    let mut child = peer.start("ADD", "c1", "eth0");
    let deadline = Instant::now() + PATIENCE;
    while !waits_for_a_lock(child.id()) {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "it did not wait: {ended:?}");
        assert!(Instant::now() < deadline, "it neither waits nor ends");
        thread::yield_now();
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "only the lock");
    drop(ours);
    assert!(child.wait().unwrap().success());
    assert_eq!(peer.read().reservations.len(), 2);
}

/// By a line such as `7: -> FLOCK  ADVISORY  WRITE 4242 fe:00:917 0 EOF`.
fn waits_for_a_lock(pid: u32) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"->") && words.get(5) == Some(&pid.to_string().as_str())
    })
}
