//! A second ADD, CHECK, and what both do about what somebody deleted.

use anyhow::{Context, Result, ensure};
use e2e::{Namespace, Pod};

use crate::room::{NONE, Room};
use crate::state::State;

#[test]
fn a_second_add_changes_nothing() -> Result<()> {
    let room = Room::start()?;
    let pod = room.pod(1, &["eth0", "net1"])?;
    for ifname in ["eth0", "net1"] {
        let answer = room.run(&room.call("ADD", &pod, ifname)?)?;
        let given = &room.configuration(1, ifname)["prevResult"];
        assert_eq!(answer.success()?, given, "it has no interface of its own to speak of");
    }
    let (node, inside) = (room.state()?, State::of(&pod)?);
    for ifname in ["eth0", "net1", "eth0"] {
        room.done("ADD", &pod, ifname)?;
        assert_eq!(node.changes(&room.state()?), NONE, "{ifname}");
        assert_eq!(inside.changes(&State::of(&pod)?), NONE, "{ifname}");
        assert_eq!(room.difference(&pod, ifname)?, None);
    }
    Ok(())
}

/// What is done by hand, where, and what CHECK says of it.
struct Harm {
    what: &'static str,
    said: &'static str,
    done: fn(&Namespace, &Pod, &str) -> Result<()>,
}

fn run(namespace: &Namespace, command: &str) -> Result<()> {
    let outcome = namespace.run(command.split(' '))?;
    outcome.success().map(drop).with_context(|| command.to_owned())
}

const HARMS: &[Harm] = &[
    Harm {
        what: "the veth",
        said: "`ip -n POD link add veth0 address",
        done: |node, _, link| run(node, &format!("ip link del {link}")),
    },
    Harm {
        what: "the pod's end, by another veth in its place",
        said: "`ip -n POD link add veth0 address",
        done: |_, pod, _| {
            run(pod, "ip link del veth0")?;
            run(pod, "ip link add veth0 type veth peer name other")?;
            run(pod, "ip link del veth0")
        },
    },
    Harm {
        what: "the MAC on the node",
        said: "has 02:00:00:00:00:99",
        done: |node, _, link| run(node, &format!("ip link set {link} address 02:00:00:00:00:99")),
    },
    Harm {
        what: "the MAC in the pod",
        said: "veth0 has 02:00:00:00:00:99",
        done: |_, pod, _| run(pod, "ip link set veth0 address 02:00:00:00:00:99"),
    },
    Harm {
        what: "the alias",
        said: "alias is \"mine\"",
        done: |node, _, link| run(node, &format!("ip link set {link} alias mine")),
    },
    Harm {
        what: "the node's end is down",
        said: "it is down",
        done: |node, _, link| run(node, &format!("ip link set {link} down")),
    },
    Harm {
        what: "the pod's end is down",
        said: "it is down",
        done: |_, pod, _| run(pod, "ip link set veth0 down"),
    },
    Harm {
        what: "the node's route",
        said: "`ip route replace 172.31.200.1/32 dev",
        done: |node, _, _| run(node, "ip route del 172.31.200.1 table 500"),
    },
    Harm {
        what: "the node's IPv6 route",
        said: "`ip route replace fd00:172::1:1/128 dev",
        done: |node, _, _| run(node, "ip -6 route del fd00:172::1:1 table 500"),
    },
    Harm {
        what: "the node's table, by another link",
        said: "there is 172.31.200.1/32 on link",
        done: |node, _, _| run(node, "ip route replace 172.31.200.1 dev eth0 table 500"),
    },
    Harm {
        what: "the node's rule",
        said: "`ip rule add pref 1000 from all lookup 500",
        done: |node, _, _| run(node, "ip rule del pref 1000"),
    },
    Harm {
        what: "the node's IPv6 rule",
        said: "`ip -6 rule add pref 1000 from all lookup 500",
        done: |node, _, _| run(node, "ip -6 rule del pref 1000"),
    },
    Harm {
        what: "the node's neighbour",
        said: "`ip neigh replace 172.31.200.1 lladdr",
        done: |node, _, link| run(node, &format!("ip neigh del 172.31.200.1 dev {link}")),
    },
    Harm {
        what: "the node's neighbour, by one that was learnt",
        said: "is not known for good",
        done: |node, _, link| {
            let to = "fd00:172::1:1 lladdr 02:00:00:00:00:99";
            run(node, &format!("ip neigh replace {to} dev {link} nud stale"))
        },
    },
    Harm {
        what: "a neighbour on another link",
        said: "`ip neigh flush to 172.31.200.1 nud all` is not so",
        done: |node, _, _| {
            run(node, "ip neigh add 172.31.200.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent")
        },
    },
    Harm {
        what: "the pod's neighbour",
        said: "`ip -n POD neigh replace 172.31.199.11 lladdr",
        done: |_, pod, _| run(pod, "ip neigh del 172.31.199.11 dev veth0"),
    },
    Harm {
        what: "the pod's route to its node",
        said: "`ip -n POD route replace 172.31.199.11/32 dev veth0",
        done: |_, pod, _| run(pod, "ip route del 172.31.199.11"),
    },
    Harm {
        what: "the pod's route to Services",
        said: "`ip -n POD route replace 10.233.0.0/18 via 172.31.199.11 dev veth0",
        done: |_, pod, _| run(pod, "ip route del 10.233.0.0/18"),
    },
    Harm {
        what: "the pod's IPv6 route to Services",
        said: "`ip -n POD route replace fd00:10:233::/116 via fd00:172::b dev veth0",
        done: |_, pod, _| run(pod, "ip -6 route del fd00:10:233::/116"),
    },
    Harm {
        what: "the route of replies",
        said: "`ip -n POD route replace 0.0.0.0/0 via 172.31.199.11 dev veth0 table 100",
        done: |_, pod, _| run(pod, "ip route flush table 100"),
    },
    Harm {
        what: "the rule of replies",
        said: "`ip -n POD rule add pref 500 from all fwmark 0x80/0x80 lookup 100",
        done: |_, pod, _| run(pod, "ip rule del pref 500"),
    },
    Harm {
        what: "the marks",
        said: "nft",
        done: |_, pod, _| run(pod, "nft delete table inet cni_coordinator"),
    },
    Harm {
        what: "the marks' rule",
        said: "nft",
        done: |_, pod, _| run(pod, "nft flush chain inet cni_coordinator output"),
    },
    Harm {
        what: "the pod's rp_filter",
        said: "sysctl -w net/ipv4/conf/eth0/rp_filter=0` is not so: it is 2",
        done: |_, pod, _| pod.sysctl("ipv4/conf/eth0/rp_filter", "2"),
    },
    Harm {
        what: "the node's rp_filter",
        said: "rp_filter=0` is not so: it is 1",
        done: |node, _, link| node.sysctl(&format!("ipv4/conf/{link}/rp_filter"), "1"),
    },
];

#[test]
fn check_names_what_is_gone_and_an_add_brings_it_back() -> Result<()> {
    let room = Room::start()?;
    let pod = room.pod(1, &["eth0"])?;
    room.done("ADD", &pod, "eth0")?;
    let (node, inside) = (room.state()?, State::of(&pod)?);
    let link = Room::host_link(&pod);
    for Harm { what, said, done } in HARMS {
        done(room.node(), &pod, &link).context(*what)?;
        let found = room.difference(&pod, "eth0").context(*what)?;
        let found = found.with_context(|| format!("{what}: CHECK says nothing"))?;
        ensure!(found.contains(said), "{what}: {found}");
        println!("{what}: {found}");
        room.done("ADD", &pod, "eth0").context(*what)?;
        assert_eq!(node.changes(&room.state()?), NONE, "{what}");
        assert_eq!(inside.changes(&State::of(&pod)?), NONE, "{what}");
        assert_eq!(room.difference(&pod, "eth0")?, None, "{what}");
    }
    Ok(())
}

/// A bridge of another program, a tunnel, a second address: none of it is damage of a pod.
#[test]
fn an_address_that_the_node_got_later_is_no_difference() -> Result<()> {
    let room = Room::start()?;
    let pod = room.pod(1, &["eth0"])?;
    room.done("ADD", &pod, "eth0")?;
    room.node().ip("link add br0 type bridge\naddress add 10.9.9.1/24 dev br0\n")?;
    assert_eq!(room.difference(&pod, "eth0")?, None);
    // An ADD takes it in.
    room.done("ADD", &pod, "eth0")?;
    assert_eq!(crate::room::way(&pod, "10.9.9.1", None)?, "veth0");
    assert_eq!(room.difference(&pod, "eth0")?, None);
    Ok(())
}
