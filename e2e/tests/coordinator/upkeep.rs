//! STATUS and `ipamctl repair`: what a node lacks, and what brings it back.

use anyhow::{Result, ensure};
use e2e::operations;
use serde_json::json;

use crate::room::{NONE, Room, message};

/// The code of STATUS and what it says; `None` if all is well.
fn status(room: &Room) -> Result<Option<(u64, String)>> {
    let answer = room.run(&room.call_of_node("STATUS", |_| {}))?;
    Ok(answer.error_code().map(|code| (code, message(&answer))))
}

#[test]
fn status_says_what_the_node_lacks() -> Result<()> {
    let room = Room::start()?;
    assert_eq!(status(&room)?, None);
    let pod = room.pod(1, &["eth0"])?;
    room.done("ADD", &pod, "eth0")?;
    let before = room.state()?;
    assert_eq!(status(&room)?, None);

    let expect = |code: u64, part: &str| -> Result<String> {
        let found = status(&room)?;
        let is_so = found.as_ref().is_some_and(|(it, text)| *it == code && text.contains(part));
        ensure!(is_so, "{found:?}, not {code} {part}");
        Ok(found.map(|(code, text)| format!("STATUS {code}: {text}")).unwrap_or_default())
    };
    let mut seen = Vec::new();
    let node = room.node();
    node.sysctl("ipv4/ip_forward", "0")?;
    seen.push(expect(50, "net/ipv4/ip_forward is 0")?);
    node.sysctl("ipv4/ip_forward", "1")?;
    node.sysctl("ipv6/conf/all/forwarding", "0")?;
    expect(50, "net/ipv6/conf/all/forwarding is 0")?;
    let of_v4 = room.call_of_node("STATUS", |conf| conf["serviceCIDR"] = json!(["10.233.0.0/18"]));
    room.run(&of_v4)?.success()?;
    node.sysctl("ipv6/conf/all/forwarding", "1")?;
    node.ip("route add 10.77.0.0/16 dev eth0 table 500\n")?;
    seen.push(expect(50, "hostRuleTable 500 is somebody else's too: it has 10.77.0.0/16")?);
    node.ip("route del 10.77.0.0/16 dev eth0 table 500\n")?;
    node.ip("route add fd00:77::/64 dev eth0 table 500\n")?;
    expect(50, "fd00:77::/64")?;
    node.ip("route del fd00:77::/64 dev eth0 table 500\n")?;
    node.ip("rule del pref 1000\n")?;
    seen.push(expect(51, "`ipamctl repair` makes it again")?);
    let (_, said) = room.repair(&["--dry-run"])?;
    seen.extend(said.lines().last().map(ToOwned::to_owned));
    let (_, said) = room.repair(&[])?;
    seen.extend(said.lines().last().map(|line| format!("repair: {line}")));
    let (_, said) = room.repair(&["--remove"])?;
    seen.push(said.trim_end().to_owned());
    node.ip6("rule del pref 1000\n")?;
    expect(51, "ip -6 rule add pref 1000")?;
    // Nobody needs it once the pod is gone.
    room.done("DEL", &pod, "eth0")?;
    assert_eq!(status(&room)?, None);
    room.done("ADD", &pod, "eth0")?;
    assert_eq!(status(&room)?, None);
    assert_eq!(before.changes(&room.state()?), NONE, "STATUS changed something");
    operations::compare("The node's part of a pod's wiring is gone", &seen)
}

/// As after `networkctl reload` or a restart of firewalld.
#[test]
fn repair_brings_back_what_daemons_deleted() -> Result<()> {
    let room = Room::start()?;
    let pods = [room.pod(1, &["eth0", "net1"])?, room.pod(2, &["eth0"])?];
    room.done("ADD", &pods[0], "eth0")?;
    room.done("ADD", &pods[0], "net1")?;
    room.done("ADD", &pods[1], "eth0")?;
    let dead = room.pod(3, &["eth0"])?;
    room.done("ADD", &dead, "eth0")?;
    room.crash(dead)?;
    let whole = room.state()?;
    assert_eq!(room.repair(&[])?, (true, "ok: nothing is missing for 3 interfaces\n".to_owned()));

    let node = room.node();
    node.ip("rule del pref 1000\nroute flush table 500\n")?;
    node.ip6("rule del pref 1000\nroute flush table 500\n")?;
    let link = Room::host_link(&pods[1]);
    node.ip(&format!("neigh del 172.31.200.2 dev {link}\n"))?;
    node.ip("neigh add 172.31.200.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent\n")?;
    let broken = room.state()?;
    let (complete, planned) = room.repair(&["--dry-run"])?;
    assert!(!complete, "{planned}");
    // Two rules, six routes, a neighbour, and one too many.
    ensure!(planned.contains("10 parts are missing for 3 interfaces"), "{planned}");
    assert_eq!(broken.changes(&room.state()?), NONE, "a dry run");
    let (repaired, said) = room.repair(&[])?;
    assert!(repaired && said.contains("repaired: 10 parts for 3 interfaces"), "{said}");
    assert_eq!(whole.changes(&room.state()?), NONE);
    assert_eq!(room.repair(&[])?, (true, "ok: nothing is missing for 3 interfaces\n".to_owned()));
    for (pod, ifname) in [(&pods[0], "eth0"), (&pods[0], "net1"), (&pods[1], "eth0")] {
        assert_eq!(room.difference(pod, ifname)?, None);
    }
    Ok(())
}
