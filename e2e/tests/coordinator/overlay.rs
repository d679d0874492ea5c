//! A pod whose first NIC another plugin joined with its node, as Calico does, and a second of ours.

use anyhow::{Context, Result};
use e2e::Pod;
use serde_json::json;

use crate::room::{NONE, Room, bare_addresses, way};
use crate::state::State;

const FIRST: &str = "10.233.105.154";
const FIRST_V6: &str = "fd00:10:233:1::154";
const HOST_LINK: &str = "cali0123456789a";

/// What Calico's plugin makes.
fn calico_pod(room: &Room) -> Result<Pod> {
    let pod = room.bare_pod(1)?;
    room.node().ip(&format!(
        "link add {HOST_LINK} address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns {}\n\
         link set {HOST_LINK} up\n",
        pod.name()
    ))?;
    room.node().sysctl(&format!("ipv6/conf/{HOST_LINK}/addr_gen_mode"), "1")?;
    pod.ip(&format!(
        "link set eth0 up\n\
         address add {FIRST}/32 dev eth0\n\
         address add {FIRST_V6}/128 dev eth0 nodad\n\
         route add 169.254.1.1 dev eth0 scope link\n\
         route add default via 169.254.1.1 dev eth0\n\
         neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud permanent\n\
         route add fd00:10:233:1::1 dev eth0\n\
         route add default via fd00:10:233:1::1 dev eth0\n"
    ))?;
    room.node().ip(&format!(
        "route add {FIRST} dev {HOST_LINK}\nroute add {FIRST_V6} dev {HOST_LINK}\n"
    ))?;
    Ok(pod)
}

/// With the pods' CIDR of the other plugin going by the node.
fn call(room: &Room, verb: &str, pod: &Pod, default: Option<&str>) -> Result<()> {
    let call = room.call_with(verb, pod, "net1", |conf| {
        conf["overlayPodCIDR"] = json!(["10.233.64.0/18"]);
        conf["podDefaultRouteNIC"] = json!(default);
    })?;
    let what = || format!("{verb}, podDefaultRouteNIC {default:?}");
    room.run(&call)?.success().map(drop).with_context(what)
}

#[test]
fn the_first_nic_joins_the_second_with_the_node() -> Result<()> {
    let room = Room::start()?;
    room.state_with_rules()?;
    let [second, second_v6] = bare_addresses("net1", 1);
    for (default, keeper) in [(None, "eth0"), (Some("eth0"), "eth0"), (Some("net1"), "net1")] {
        let pod = calico_pod(&room)?;
        let node = room.state()?;
        room.attach(&pod, "net1", 1)?;
        call(&room, "ADD", &pod, default)?;
        let (wired, inside) = (room.state()?, State::of(&pod)?);
        call(&room, "CHECK", &pod, default)?;
        call(&room, "ADD", &pod, default)?;
        call(&room, "CHECK", &pod, default)?;
        assert_eq!(wired.changes(&room.state()?), NONE, "{default:?}");
        assert_eq!(inside.changes(&State::of(&pod)?), NONE, "{default:?}");

        for (to, from, wanted) in [
            ("8.8.8.8", None, keeper),
            ("2001:db8::8", None, keeper),
            ("8.8.8.8", Some(second.as_str()), "net1"),
            ("8.8.8.8", Some(FIRST), "eth0"),
            ("2001:db8::8", Some(second_v6.as_str()), "net1"),
            ("2001:db8::8", Some(FIRST_V6), "eth0"),
            ("192.168.0.99", None, "net1"),
            ("192.168.0.99", Some(FIRST), "eth0"),
            ("10.233.0.1", None, "eth0"),
            ("10.233.77.1", Some(second.as_str()), "eth0"),
            ("192.168.0.11", Some(second.as_str()), "eth0"),
            ("172.31.199.11", None, "eth0"),
        ] {
            let found = way(&pod, to, from).with_context(|| format!("to {to} from {from:?}"))?;
            assert_eq!(found, wanted, "to {to} from {from:?}, default {default:?}");
        }
        assert_eq!(way(room.node(), &second, None)?, HOST_LINK);
        assert_eq!(way(room.node(), &second_v6, None)?, HOST_LINK);

        call(&room, "DEL", &pod, default)?;
        call(&room, "DEL", &pod, default)?;
        assert_eq!(node.changes(&room.state()?), NONE, "{default:?}");
        pod.ip("link del net1\n")?;
        assert_eq!(way(&pod, "8.8.8.8", None)?, "eth0", "{default:?}");
        assert_eq!(way(&pod, "2001:db8::8", None)?, "eth0", "{default:?}");
        room.node().ip(&format!("link del {HOST_LINK}\n"))?;
    }
    Ok(())
}

/// A repair knows of it as well, and of the other plugin's link only that it is there.
#[test]
fn a_repair_brings_its_routes_back() -> Result<()> {
    let room = Room::start()?;
    let pod = calico_pod(&room)?;
    room.attach(&pod, "net1", 1)?;
    call(&room, "ADD", &pod, None)?;
    let wired = room.state()?;
    room.node().ip("route flush table 500\nrule del pref 1000\n")?;
    let (repaired, said) = room.repair(&[])?;
    assert!(repaired, "{said}");
    assert_eq!(wired.changes(&room.state()?), NONE);
    Ok(())
}

/// DEL without a pod, by the record alone.
#[test]
fn del_without_the_namespace() -> Result<()> {
    let room = Room::start()?;
    room.state_with_rules()?;
    let pod = calico_pod(&room)?;
    let node = room.state()?;
    room.attach(&pod, "net1", 1)?;
    call(&room, "ADD", &pod, None)?;
    let mut del = room.call("DEL", &pod, "net1")?;
    del.netns.clear();
    room.run(&del)?.success()?;
    assert_eq!(node.changes(&room.state()?), NONE);
    Ok(())
}
