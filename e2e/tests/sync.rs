//! `ipamctl sync` against a metadata service, with real plugins over a real database. As root.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::ipam::{Ipam, NETWORK, NODE};
use e2e::metadata::{Dialect, MetadataNic, MetadataServer, Mischief};
use e2e::{Mac, Outcome, sandbox, seed};
use serde_json::Value;

const MAC: &str = "00:16:3e:00:00:01";
const POOL: &str = "cloud-00163e000001-10.0.1.0-24";

/// How long a condition is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

fn nic(secondary: &[u8]) -> Result<MetadataNic> {
    let mac = Mac([0x00, 0x16, 0x3e, 0, 0, 1]);
    let mut nic =
        MetadataNic::new(mac, "10.0.1.5".parse()?, "10.0.1.0/24".parse()?, "10.0.1.253".parse()?);
    nic.secondary = secondary.iter().map(|last| Ipv4Addr::new(10, 0, 1, *last)).collect();
    Ok(nic)
}

/// A node whose cloud gave these addresses to its one NIC.
struct Node {
    ipam: Ipam,
    server: MetadataServer,
    _folder: tempfile::TempDir,
}

impl Node {
    fn new(dialect: Dialect, secondary: &[u8]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ipam = Ipam::new(folder.path().join("ipam"))?.with("cooldownSeconds", 0);
        let server = MetadataServer::start(dialect, vec![nic(secondary)?])?;
        Ok(Self { ipam, server, _folder: folder })
    }

    fn give(&self, secondary: &[u8]) -> Result<()> {
        self.server.give(vec![nic(secondary)?]);
        Ok(())
    }

    fn sync(&self, further: &[&str]) -> Result<Outcome> {
        let (url, network) = (self.server.url(), format!("{MAC}={NETWORK}"));
        let usual = ["sync", "--endpoint", &url, "--network", &network, "--node-name", NODE];
        self.ipam.ipamctl(&[&usual, further].concat())
    }

    /// A sync after which nothing waits for a confirmation any more.
    fn sync_now(&self) -> Result<Outcome> {
        self.sync(&["--confirm-seconds", "0"])
    }

    /// What is stored, to its last word.
    fn stored(&self) -> Result<Vec<String>> {
        ["pools", "reserved", "ips"]
            .into_iter()
            .map(|what| self.ipam.ipamctl(&["get", what, "-o", "json"])?.success())
            .collect()
    }

    /// ADDs until none is left; the addresses in the order in which they came.
    fn exhaust(&self, prefix: &str) -> Result<Vec<String>> {
        let mut addresses = Vec::new();
        loop {
            let answer = self.ipam.add(&format!("{prefix}{}", addresses.len()))?;
            if answer.error_code() == Some(11) || answer.error_code() == Some(101) {
                return Ok(addresses);
            }
            let result = answer.success()?;
            let address = result["ips"][0]["address"].as_str().context("an address")?;
            addresses.push(address.to_owned());
        }
    }
}

fn code(outcome: &Outcome) -> Option<i32> {
    outcome.status.code()
}

#[test]
fn an_empty_node_gets_its_pool_and_what_the_cloud_adds_is_used_after_the_next_sync() -> Result<()> {
    for dialect in [Dialect::Alibaba, Dialect::Aws] {
        let node = Node::new(dialect, &[7, 8])?;
        let shown = node.sync(&["--dry-run"])?;
        let expected = format!("pool/{POOL} created\n  + 10.0.1.7-10.0.1.8 added\n");
        assert_eq!((code(&shown), shown.stdout.as_str()), (Some(0), expected.as_str()));
        ensure!(!node.ipam.directory().join("ipam.redb").exists(), "a dry run made a database");
        assert_eq!(node.sync(&[])?.success()?, expected);
        assert_eq!(node.sync(&[])?.success()?, format!("pool/{POOL} unchanged\n"));
        let answer = node.ipam.add("first")?.success()?.clone();
        assert_eq!(answer["ips"][0]["address"], "10.0.1.7/24");
        let gateway = if dialect == Dialect::Aws { "10.0.1.1" } else { "10.0.1.253" };
        assert_eq!(answer["ips"][0]["gateway"], gateway);
        assert_eq!(node.exhaust("a")?, ["10.0.1.8/24"]);

        // Until the metadata service knows, nothing changes.
        node.server.misbehave(Mischief { is_stale: true, ..Mischief::default() });
        node.give(&[7, 8, 20, 21])?;
        assert_eq!(node.sync(&[])?.success()?, format!("pool/{POOL} unchanged\n"));
        node.server.misbehave(Mischief::default());
        let told = node.sync(&[])?.success()?;
        assert_eq!(told, format!("pool/{POOL} configured\n  + 10.0.1.20-10.0.1.21 added\n"));
        assert_eq!(node.exhaust("b")?, ["10.0.1.20/24", "10.0.1.21/24"]);
    }
    Ok(())
}

#[test]
fn what_is_taken_away_is_fenced_and_named_and_never_reissued_until_it_is_given_back() -> Result<()>
{
    let node = Node::new(Dialect::Alibaba, &[7, 8, 9])?;
    node.sync(&[])?.success()?;
    let namespace = sandbox::namespaces(0, 1)?.pop().context("one namespace")?;
    sandbox::add(&node.ipam, "web", &namespace)?.success()?;
    node.give(&[8])?;
    let fenced = node.sync_now()?;
    assert_eq!(code(&fenced), Some(4));
    assert!(
        fenced
            .stdout
            .contains("  ~ 10.0.1.7 fenced for 0 s: held by pod default/web (net/web/eth0)"),
        "{}",
        fenced.stdout
    );
    let lines = node.ipam.told(&fenced);
    assert!(lines[0].starts_with("ipamctl: 10.0.1.7 is held by pod default/web (net/web/eth0)"));
    let table = node.ipam.ipamctl(&["get", "reserved"])?.success()?;
    assert!(table.contains("cloud-gone-v4-") && table.contains("10.0.1.7,10.0.1.9"), "{table}");
    // 9 was free: it goes with the next reading. 7 is held: it stays.
    let again = node.sync_now()?;
    assert_eq!(code(&again), Some(4));
    assert!(again.stdout.contains("  - 10.0.1.9 removed\n"), "{}", again.stdout);
    assert_eq!(node.ipam.held()?.keys().collect::<Vec<_>>(), ["10.0.1.7"]);
    assert_eq!(node.exhaust("a")?, ["10.0.1.8/24"]);
    // Released, and still fenced: nobody gets it, not the same pod either.
    node.ipam.del("web")?.success()?;
    assert_eq!(node.exhaust("b")?, Vec::<String>::new());
    let refused = sandbox::add(&node.ipam, "web", &namespace)?;
    assert_eq!(refused.error_code(), Some(11));
    // Given back, before it was removed.
    node.give(&[7, 8])?;
    let back = node.sync_now()?.success()?;
    assert_eq!(back, format!("pool/{POOL} unchanged\n  = 10.0.1.7 given back\n"));
    assert_eq!(node.exhaust("c")?, ["10.0.1.7/24"]);
    let table = node.ipam.ipamctl(&["get", "reserved"])?.success()?;
    assert_eq!(table.lines().count(), 1, "{table}");
    Ok(())
}

/// What the user of the seed's document typed by hand, for each node and NIC.
#[test]
fn the_seeds_pools_come_by_themselves() -> Result<()> {
    let cluster = seed::cluster();
    for node in ["master", "worker"] {
        let folder = tempfile::tempdir()?;
        let (by_hand, by_sync) =
            (Ipam::new(folder.path().join("hand"))?, Ipam::new(folder.path().join("sync"))?);
        let pools = folder.path().join("pools.yaml");
        fs::write(&pools, seed::POOLS)?;
        by_hand.ipamctl(&["apply", "--no-node-scan", "-f", &pools.to_string_lossy()])?.success()?;
        let nics = MetadataNic::of_node(&cluster, node)?;
        let server = MetadataServer::start(Dialect::Alibaba, nics.clone())?;
        let url = server.url();
        let mut arguments = vec!["sync", "--endpoint", &url, "--node-name", node];
        let networks: Vec<String> = nics
            .iter()
            .zip([seed::IPVLAN_ETH0, seed::IPVLAN_ETH1])
            .map(|(nic, network)| format!("--network={}={network}", nic.mac))
            .collect();
        arguments.extend(networks.iter().map(String::as_str));
        by_sync.ipamctl(&arguments)?.success()?;
        let specs = |ipam: &Ipam| -> Result<Vec<Value>> {
            let text = ipam.ipamctl(&["get", "pools", "-o", "json"])?.success()?;
            let list: Value = serde_json::from_str(&text)?;
            let items = list["items"].as_array().context("items")?.iter();
            let of_node = items.filter(|item| item["spec"]["nodeName"][0] == node);
            let mut specs: Vec<Value> = of_node.map(|item| item["spec"].clone()).collect();
            specs.sort_by_key(|spec| spec["subnet"].to_string());
            Ok(specs)
        };
        assert_eq!(specs(&by_sync)?, specs(&by_hand)?);
        assert_eq!(specs(&by_sync)?.len(), 2);
    }
    Ok(())
}

/// Everything that a service may say when it should say nothing.
#[test]
fn a_service_that_is_down_or_lies_loses_nothing() -> Result<()> {
    let node = Node::new(Dialect::Alibaba, &[7, 8, 9])?;
    node.sync(&[])?.success()?;
    node.ipam.add("web")?.success()?;
    let before = node.stored()?;
    let file = |name: &str, text: Option<&str>| Mischief {
        files: BTreeMap::from([(name.to_owned(), text.map(str::to_owned))]),
        ..Mischief::default()
    };
    let huge = "[\"10.0.1.7\"]".repeat(100_000);
    for (what, mischief) in [
        ("down", Mischief { is_down: true, ..Mischief::default() }),
        ("500", Mischief { statuses: VecDeque::from(vec![500; 20]), ..Mischief::default() }),
        ("429", Mischief { statuses: VecDeque::from(vec![429; 20]), ..Mischief::default() }),
        ("no NIC", file("macs/", Some(""))),
        ("no list", file("macs/", None)),
        ("garbage", file("macs/", Some("<html>maintenance</html>"))),
        ("no primary", file("primary-ip-address", None)),
        ("another primary", file("primary-ip-address", Some("10.0.1.99"))),
        ("no addresses", file("private-ipv4s", None)),
        ("half a list", file("private-ipv4s", Some("[\"10.0.1.5\",\"10.0."))),
        ("huge", file("private-ipv4s", Some(&huge))),
        ("another subnet", file("vswitch-cidr-block", Some("10.7.0.0/16"))),
        ("another gateway", file("gateway", Some("10.7.0.1"))),
    ] {
        node.server.misbehave(mischief);
        let outcome = node.sync(&[
            "--provider",
            "alibaba",
            "--confirm-seconds",
            "0",
            "--deadline",
            "2",
            "--prune",
        ])?;
        assert_eq!(code(&outcome), Some(1), "{what}: {outcome:?}");
        assert!(
            outcome.stderr.starts_with("ipamctl: nothing was changed: http://")
                || outcome.stderr.starts_with("ipamctl: nothing was changed: NIC "),
            "{what}: {outcome:?}"
        );
        assert!(outcome.stderr.len() < 1000, "{what}: {}", outcome.stderr.len());
        assert_eq!(node.stored()?, before, "{what}");
    }
    // A list that is whole and too short is believed as far as it does no harm: what a pod holds
    // stays, what is free comes back with the truth.
    node.server.misbehave(file("private-ipv4s", Some("[\"10.0.1.5\"]")));
    for _ in 0..3 {
        assert_eq!(code(&node.sync_now()?), Some(4));
    }
    let pools = node.ipam.ipamctl(&["get", "pools"])?.success()?;
    assert!(pools.contains("   1                    3 "), "the pool keeps its addresses: {pools}");
    assert_eq!(node.ipam.add("other")?.error_code(), Some(11), "and gives none");
    node.server.misbehave(Mischief::default());
    node.sync_now()?.success()?;
    assert_eq!(node.stored()?, before);
    assert_eq!(node.exhaust("a")?.len(), 2);
    Ok(())
}

#[test]
fn a_persons_pool_is_never_changed_and_an_overlap_names_both() -> Result<()> {
    let node = Node::new(Dialect::Aws, &[7, 8])?;
    // 10.0.0.0/16, which overlaps the cloud's subnet.
    node.ipam.apply("10.0.1.8-10.0.1.20")?.success()?;
    let before = node.stored()?;
    let outcome = node.sync(&[])?;
    assert_eq!(code(&outcome), Some(3), "{outcome:?}");
    let expected = format!(
        "ipamctl: 10.0.1.8: pool pool has it, which was applied by hand, and pool {POOL} of sync would"
    );
    assert!(outcome.stderr.starts_with(&expected), "{}", outcome.stderr);
    assert_eq!(node.stored()?, before);
    Ok(())
}

#[test]
fn fences_and_labels_survive_a_rebuild() -> Result<()> {
    let node = Node::new(Dialect::Alibaba, &[7, 8, 9])?;
    node.sync(&[])?.success()?;
    node.give(&[7])?;
    node.sync(&[])?.success()?;
    let before = node.ipam.ipamctl(&["get", "reserved", "-o", "yaml"])?.success()?;
    assert!(before.contains("node-ipam/gone-since") && before.contains("managed-by"), "{before}");
    fs::remove_file(node.ipam.directory().join("ipam.redb"))?;
    node.ipam.ipamctl(&["rebuild"])?.success()?;
    assert_eq!(node.ipam.ipamctl(&["get", "reserved", "-o", "yaml"])?.success()?, before);
    assert_eq!(node.exhaust("a")?, ["10.0.1.7/24"]);
    let pools = node.ipam.ipamctl(&["get", "pools", "-o", "yaml"])?.success()?;
    assert!(pools.contains("ipamctl-sync"), "{pools}");
    Ok(())
}

/// Ends the process with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_watch_goes_on_after_faults_and_names_the_network_by_the_nics_link() -> Result<()> {
    let namespace = sandbox::namespaces(1, 1)?.pop().context("one namespace")?;
    namespace
        .ip(&format!("link set lo up\nlink add eth7 address {MAC} type veth peer name peer7"))?;
    let given = vec![nic(&[7])?];
    let at = "127.0.0.1:8080".parse()?;
    let server = MetadataServer::start_in(&namespace, at, Dialect::Aws, given)?;
    server.misbehave(Mischief { is_down: true, ..Mischief::default() });
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?;
    let mut command = Command::new(e2e::plugin_dir()?.join("ipamctl"));
    command.arg("--data-dir").arg(ipam.directory());
    command.args(["sync", "--watch", "1", "--deadline", "1", "--endpoint", &server.url()]);
    command.args(["--provider", "aws", "--node-name", NODE, "--no-node-scan"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut watch = Ended(namespace.spawn(&mut command)?);
    let until = |what: &str, is_so: &dyn Fn() -> Result<bool>, watch: &mut Ended| -> Result<()> {
        let began = Instant::now();
        while !is_so()? {
            ensure!(watch.0.try_wait()?.is_none(), "{what}: the watch has ended");
            ensure!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    };
    until("asked in vain", &|| Ok(server.requests().len() > 3), &mut watch)?;
    server.misbehave(Mischief::default());
    let has = |text: &str| {
        let shown = ipam.ipamctl(&["get", "pools", "-o", "wide"])?;
        Ok(shown.stdout.contains(text))
    };
    until("a pool", &|| has("kube-system/ipvlan-eth7"), &mut watch)?;
    server.give(vec![nic(&[7, 8, 9])?]);
    until("two more", &|| has(" 3 "), &mut watch)
}
