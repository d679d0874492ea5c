//! podman 4 with its CNI backend, on a real ipvlan kernel. As root.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::runtimes::lease::{addresses_in, leased, leases};
use e2e::runtimes::setting::{self, GATEWAY_V4, GATEWAY_V6, NODE, OTHER_NODE};
use e2e::runtimes::{
    Addresses, Boot, Conflist, Container, Disk, IMAGE, Image, Podman, Recorder, Remains, recording,
    remove_forgotten, wait_for,
};
use e2e::{Lab, Namespace, seed};
use serde_json::{Value, json};

/// On a machine that is emulated and busy.
const PATIENCE: Duration = Duration::from_secs(240);

/// podman gives out names of interfaces in no order, if they are not requested.
const BOTH: [&str; 2] = ["dual:interface_name=eth0", "second:interface_name=eth1"];

const V4: Addresses = Addresses::Pools { v4: &["v4"], v6: &[] };
const V6: Addresses = Addresses::Pools { v4: &[], v6: &["v6"] };
const DUAL: Addresses = Addresses::Pools { v4: &["v4"], v6: &["v6"] };
const SECOND: Addresses = Addresses::Pools { v4: &["second"], v6: &[] };

/// The addresses of a container's interface, which must be those that are leased to it.
fn addresses(boot: &Boot<'_>, container: &Container, interface: &str) -> Result<Vec<String>> {
    let leased = leased(boot, &container.id, interface)?;
    let shown = addresses_in(&container.netns, interface)?;
    ensure!(leased == shown && !leased.is_empty(), "{interface}: {leased:?} {shown:?}");
    Ok(leased)
}

fn ping(podman: &Podman<'_>, name: &str, target: &str) -> Result<()> {
    podman.exec(name, &["ping", "-c", "1", "-W", "9", target])?.success().map(drop)
}

#[test]
fn the_documented_list_serves_podman_in_a_strict_cloud() -> Result<()> {
    let lab = Lab::start(&setting::strict_cloud())?;
    let node = lab.node(NODE)?;
    let boot = setting::boot(node, seed::POOLS)?;
    Conflist::install_example(&boot)?;
    let podman = Podman::set_up(&boot)?;
    podman.load(&Image::make()?)?;
    let before = Remains::of(&boot)?;

    podman.run("web", &["ipvlan-eth0"], &["--cap-add", "NET_RAW"])?;
    ensure!(addresses(&boot, &podman.container("web")?, "eth0")? == ["172.31.199.185"]);
    ping(&podman, "web", "172.31.207.253")?;
    ensure!(lab.node(OTHER_NODE)?.ping("172.31.199.185", 2)?.all_received());

    podman.call(&["restart", "-t", "0", "web"])?.success()?;
    // The last address rests, also for the container that had it.
    ensure!(addresses(&boot, &podman.container("web")?, "eth0")? == ["172.31.199.186"]);
    ping(&podman, "web", "172.31.207.253")?;
    podman.call(&["stop", "-t", "0", "web"])?.success()?;
    ensure!(leases(&boot)?.is_empty(), "{:?}", leases(&boot)?);
    podman.call(&["start", "web"])?.success()?;
    ensure!(addresses(&boot, &podman.container("web")?, "eth0")? == ["172.31.199.187"]);
    podman.remove("web")?;
    before.ensure_unchanged(&boot)
}

/// IPv6 alone; both families and a second network; a crash of all that podman has running; then a
/// power cut.
#[test]
fn networks_of_all_families_outlive_podman_and_not_the_node() -> Result<()> {
    let lab = Lab::start(&setting::cluster())?;
    setting::give_gateway(&lab)?;
    let node = lab.node(NODE)?;
    let disk = Disk::of(node)?;
    {
        let boot = Boot::start(node, &disk)?;
        setting::apply(&boot, setting::POOLS)?;
        Conflist::new("v6", "eth0", V6).install(&boot, 10)?;
        Conflist::new("dual", "eth0", DUAL).install(&boot, 20)?;
        Conflist::new("second", "eth1", SECOND).install(&boot, 30)?;
        let podman = Podman::set_up(&boot)?;
        podman.load(&Image::make()?)?;
        let before = Remains::of(&boot)?;

        podman.run("six", &["v6"], &["--cap-add", "NET_RAW"])?;
        ensure!(addresses(&boot, &podman.container("six")?, "eth0")? == ["fd00:172::1"]);
        ping(&podman, "six", GATEWAY_V6)?;
        podman.run("both", &BOTH, &["--cap-add", "NET_RAW"])?;
        let both = podman.container("both")?;
        let eth0 = addresses(&boot, &both, "eth0")?;
        ensure!(eth0 == ["172.31.200.1", "fd00:172::2"], "{eth0:?}");
        ensure!(addresses(&boot, &both, "eth1")? == ["192.168.0.200"]);
        for gateway in [GATEWAY_V4, GATEWAY_V6] {
            ping(&podman, "both", gateway)?;
        }

        // The monitors first, lest they clean up.
        let killed = [boot.kill(&["conmon"])?, boot.kill(&["sleep"])?].concat();
        ensure!(killed.iter().filter(|(_, name)| name == "sleep").count() == 2, "{killed:?}");
        ensure!(leases(&boot)?.len() == 4, "nobody said DEL: {:?}", leases(&boot)?);
        podman.remove("six")?;
        podman.remove("both")?;
        before.ensure_unchanged(&boot)?;

        podman.run("both", &BOTH, &["--cap-add", "NET_RAW"])?;
        podman.run("other", &["dual"], &[])?;
        ensure!(leases(&boot)?.len() == 5, "{:?}", leases(&boot)?);
        // The power cut: nobody stops anything.
    }
    let boot = Boot::start(node, &disk)?;
    let podman = Podman::set_up(&boot)?;
    podman.call(&["start", "both"])?.success()?;
    ensure!(leases(&boot)?.len() == 3, "the last boot's are free: {:?}", leases(&boot)?);
    ensure!(addresses(&boot, &podman.container("both")?, "eth0")?.len() == 2);
    ping(&podman, "both", GATEWAY_V6)?;
    podman.remove("both")?;
    podman.remove("other")?;
    ensure!(leases(&boot)?.is_empty(), "{:?}", leases(&boot)?);
    ensure!(boot.namespaces()?.is_empty(), "{:?}", boot.namespaces()?);
    Ok(())
}

#[test]
fn a_requested_address_is_had_once_and_sent_as_recorded() -> Result<()> {
    let lab = Lab::start(&setting::cluster())?;
    let node = lab.node(NODE)?;
    let boot = setting::boot(node, setting::POOLS)?;
    let ranges = json!({
        "ranges": [[{ "subnet": "172.31.192.0/20", "rangeStart": "172.31.201.1",
                      "rangeEnd": "172.31.201.9", "gateway": GATEWAY_V4 }],
                   [{ "subnet": "fd00:172::/64", "rangeStart": "fd00:172::81",
                      "rangeEnd": "fd00:172::89", "gateway": GATEWAY_V6 }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
    });
    Conflist::new("ranges", "eth0", Addresses::Ranges(ranges)).install(&boot, 10)?;
    let recorder = Recorder::install(&boot)?;
    let podman = Podman::set_up(&boot)?;
    podman.load(&Image::make()?)?;

    podman.run("web", &["ranges"], &["--ip", "172.31.201.7", "--cap-add", "NET_RAW"])?;
    let web = podman.container("web")?;
    let own = addresses_in(&web.netns, "eth0")?;
    ensure!(own == ["172.31.201.7", "fd00:172::81"], "{own:?}");
    ping(&podman, "web", GATEWAY_V4)?;
    let before = Remains::of(&boot)?;
    let refused = podman.run("second", &["ranges"], &["--ip", "172.31.201.7"]).err();
    let said = format!("{:#}", refused.context("the address was given twice")?);
    ensure!(said.contains("requested address 172.31.201.7 cannot be had"), "{said}");
    podman.remove("second")?;
    before.ensure_unchanged(&boot)?;
    let two = ["--ip", "172.31.201.8", "--ip6", "fd00:172::88"];
    podman.run("two", &["ranges"], &two)?;
    let both = podman.container("two")?;
    let own = addresses_in(&both.netns, "eth0")?;
    ensure!(own == ["172.31.201.8", "fd00:172::88"], "{own:?}");
    podman.remove("two")?;
    podman.remove("web")?;
    let database = "/var/lib/cni/node-ipam/networks/ranges";
    let held = boot.ipamctl(&["--data-dir", database, "get", "ips", "-o", "json"])?.success()?;
    ensure!(serde_json::from_str::<Value>(&held)?["items"] == json!([]), "{held}");
    recording::compare("podman-static", &recorder.calls(&web.id, "eth0")?)?;
    recording::compare("podman-static-dual", &recorder.calls(&both.id, "eth0")?)
}

/// Whether a TCP connection comes about.
fn connects(from: &Namespace, to: &str) -> Result<bool> {
    let to: SocketAddr = to.parse()?;
    from.enter(|| Ok(TcpStream::connect_timeout(&to, Duration::from_secs(9)).is_ok()))
}

/// How many packets the rule that leads to this address has translated.
fn translated(node: &Namespace, to: &str) -> Result<u64> {
    let rules = node.run(["nft", "list", "ruleset"])?.success()?;
    let rule = rules.lines().find(|line| line.contains(&format!("dnat to {to}")));
    let (_, counted) =
        rule.and_then(|rule| rule.split_once("counter packets ")).context(rules.clone())?;
    Ok(counted.split_whitespace().next().context("a count")?.parse()?)
}

/// portmap translates the destination on the node, and no ipvlan pod can be reached from its node:
/// so it is with upstream's plugin and with ours. Who is on the network reaches the pod itself.
#[test]
fn a_mapped_port_is_translated_and_ends_at_the_node_as_with_upstreams_plugin() -> Result<()> {
    let lab = Lab::start(&setting::cluster())?;
    let node = lab.node(NODE)?;
    let other = lab.node(OTHER_NODE)?;
    let boot = setting::boot(node, setting::POOLS)?;
    Conflist::new("ours", "eth0", V4).with_portmap().install(&boot, 10)?;
    Conflist::install_upstream(&boot, "upstream", "eth0", "172.31.201.1", 20)?;
    let recorder = Recorder::install(&boot)?;
    let podman = Podman::set_up(&boot)?;
    podman.load(&Image::make()?)?;
    let primary = node.spec().nics[0].primary;
    // portmap makes its chains with the first port and leaves them (its README).
    let mut before = None;
    for (network, address, port) in
        [("upstream", "172.31.201.1", 8081), ("ours", "172.31.200.1", 8080)]
    {
        let mapping = format!("{port}:80");
        podman.run("web", &[network], &["-p", &mapping])?;
        let container = podman.container("web")?;
        ensure!(addresses_in(&container.netns, "eth0")? == [address], "{network}");
        for _ in 0..2 {
            podman.call(&["exec", "-d", "web", "nc", "-l", "-p", "80", "-e", "true"])?.success()?;
        }
        ensure!(connects(other, &format!("{address}:80"))?, "{network}: the pod itself");
        ensure!(translated(node, &format!("{address}:80"))? == 0, "{network}");
        ensure!(!connects(other, &format!("{primary}:{port}"))?, "{network}: the mapped port");
        ensure!(translated(node, &format!("{address}:80"))? > 0, "{network}");
        podman.remove("web")?;
        let after = Remains::of(&boot)?;
        let changes = before.get_or_insert_with(|| after.clone()).changes(&after);
        ensure!(changes.is_empty(), "{network}: {changes:?}");
        if network == "ours" {
            recording::compare("podman-ports", &recorder.calls(&container.id, "eth0")?)?;
        }
    }
    Ok(())
}

/// podman is killed when our plugin has answered and the next one of the list has not. It forgets
/// the namespace and sends no DEL; the address is held for as long as the namespace lives.
#[test]
fn what_a_killed_podman_forgets_is_held_until_its_namespace_is_removed() -> Result<()> {
    let lab = Lab::start(&setting::cluster())?;
    let node = lab.node(NODE)?;
    let boot = setting::boot(node, setting::POOLS)?;
    let ours = Conflist::new("ours", "eth0", V4).with_portmap();
    ours.install(&boot, 10)?;
    let podman = Podman::set_up(&boot)?;
    podman.load(&Image::make()?)?;
    let before = Remains::of(&boot)?;
    boot.replace_plugin("portmap", setting::STUCK_PORTMAP)?;
    let mut running = podman.start(&["run", "-d", "--name", "late", "--network", "ours", IMAGE])?;
    setting::wait_for_stuck_portmap(&boot)?;
    let killed = [boot.kill(&["podman"])?, boot.kill(&["tail"])?].concat();
    ensure!(killed.len() == 2 && !running.wait()?.success(), "{killed:?}");
    let (held, namespaces) = (leases(&boot)?.len(), boot.namespaces()?.len());
    ensure!(held == 1 && namespaces == 1, "{held} leases, {namespaces} namespaces; {killed:?}");
    // A mount that it left makes the first attempt fail.
    wait_for("podman rm", PATIENCE, || Ok(podman.remove("late").ok()))?;
    let forgotten = remove_forgotten(&boot, &ours, &before, 0)?;
    ensure!(forgotten.len() == 1, "podman cleans up by now? say so in docs/runtimes.md");
    Ok(())
}
