//! Two NICs in a pod: which has the default route, and what remains when one goes.

use anyhow::{Context, Result};
use e2e::Pod;
use serde_json::{Value, json};

use crate::room::{NONE, Room, bare_addresses, message, way};

/// Destinations beyond every subnet, of Services, and in the subnets of both NICs.
const BEYOND: [&str; 2] = ["8.8.8.8", "2001:db8::8"];
const SERVICES: [&str; 2] = ["10.233.0.1", "fd00:10:233::1"];
const NODE: [[&str; 2]; 2] = [["172.31.199.11", "192.168.0.11"], ["fd00:172::b", "fd00:192::b"]];
const SUBNETS: [[&str; 2]; 2] =
    [["172.31.199.99", "192.168.0.99"], ["fd00:172::99", "fd00:192::99"]];

const IFNAMES: [&str; 2] = ["eth0", "net1"];

/// Every call of a test with the same `podDefaultRouteNIC`.
struct Case<'a> {
    room: &'a Room,
    pod: Pod,
    default: Option<&'a str>,
}

impl Case<'_> {
    fn run(&self, verb: &str, ifname: &str) -> Result<()> {
        let configure = |conf: &mut Value| conf["podDefaultRouteNIC"] = json!(self.default);
        let call = self.room.call_with(verb, &self.pod, ifname, configure)?;
        let case = || format!("{verb} of {ifname}, podDefaultRouteNIC {:?}", self.default);
        self.room.run(&call)?.success().map(drop).with_context(case)
    }

    fn ways(&self, keeper: &str) -> Result<()> {
        let is = |to: &str, from: Option<&str>, wanted: &str| -> Result<()> {
            let found = way(&self.pod, to, from).with_context(|| format!("to {to}"))?;
            assert_eq!(found, wanted, "to {to} from {from:?}, default {:?}", self.default);
            Ok(())
        };
        for family in 0..2 {
            is(BEYOND[family], None, keeper)?;
            is(SERVICES[family], None, "veth0")?;
            for (index, ifname) in IFNAMES.into_iter().enumerate() {
                is(SUBNETS[family][index], None, ifname)?;
                is(NODE[family][index], None, "veth0")?;
                let own = bare_addresses(ifname, 1)[family].clone();
                is(BEYOND[family], Some(&own), ifname)?;
                is(SUBNETS[family][index], Some(&own), ifname)?;
                is(SERVICES[family], Some(&own), "veth0")?;
                is(NODE[family][index], Some(&own), "veth0")?;
                is(&own, None, "lo")?;
                assert_eq!(way(self.room.node(), &own, None)?, Room::host_link(&self.pod));
            }
        }
        Ok(())
    }
}

#[test]
fn each_answers_for_its_addresses_and_one_has_the_default_route() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    for (default, keeper) in [(None, "eth0"), (Some("eth0"), "eth0"), (Some("net1"), "net1")] {
        let case = Case { room: &room, pod: room.pod(1, &["eth0"])?, default: None };
        case.run("ADD", "eth0")?;
        room.attach(&case.pod, "net1", 1)?;
        let case = Case { default, ..case };
        case.run("ADD", "net1")?;
        case.ways(keeper)?;
        IFNAMES.iter().try_for_each(|ifname| case.run("CHECK", ifname))?;
        // Again, in any order.
        for ifname in ["eth0", "net1", "eth0"] {
            case.run("ADD", ifname)?;
        }
        case.ways(keeper)?;
        IFNAMES.iter().try_for_each(|ifname| case.run("CHECK", ifname))?;
        for ifname in ["eth0", "net1"] {
            case.run("DEL", ifname)?;
        }
        assert_eq!(before.changes(&room.state()?), NONE, "{default:?}");
    }
    Ok(())
}

/// Detached while the pod goes on: the other NIC is whole, and has the default route.
#[test]
fn the_nic_that_remains_is_whole_and_has_the_default_route() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    for (default, goes, stays) in [
        (None, "net1", "eth0"),
        (Some("eth0"), "net1", "eth0"),
        (Some("net1"), "net1", "eth0"),
        (None, "eth0", "net1"),
        (Some("net1"), "eth0", "net1"),
    ] {
        let pod = room.pod(1, &["eth0", "net1"])?;
        let case = Case { room: &room, pod, default };
        case.run("ADD", "eth0")?;
        case.run("ADD", "net1")?;
        case.run("DEL", goes)?;
        // The main plugin's DEL comes behind that of a chained one.
        case.pod.ip(&format!("link del {goes}\n"))?;
        let own = bare_addresses(stays, 1);
        for family in 0..2 {
            let what = format!("{default:?}, without {goes}");
            let beyond = way(&case.pod, BEYOND[family], None).context(what.clone())?;
            assert_eq!(beyond, stays, "{what}");
            assert_eq!(way(room.node(), &own[family], None)?, Room::host_link(&case.pod));
        }
        if goes == "eth0" {
            // With its address go the routes of the main table that send from it.
            let call = room.call("CHECK", &case.pod, stays)?;
            let said = message(&room.run(&call)?);
            assert!(said.contains("dev veth0") && said.contains("is not so"), "{said}");
            case.run("ADD", stays)?;
        }
        case.run("CHECK", stays)?;
        for to in SERVICES {
            assert_eq!(way(&case.pod, to, None)?, "veth0", "{default:?}, without {goes}");
        }
        // And attached again.
        room.attach(&case.pod, goes, 1)?;
        case.run("ADD", goes)?;
        if goes == "eth0" {
            // The further NICs are what shares the default route out.
            case.run("ADD", stays)?;
        }
        let keeper = default.unwrap_or("eth0");
        case.ways(keeper).with_context(|| format!("{goes} again, {default:?}"))?;
        IFNAMES.iter().try_for_each(|ifname| case.run("CHECK", ifname))?;
        IFNAMES.iter().try_for_each(|ifname| case.run("DEL", ifname))?;
        assert_eq!(before.changes(&room.state()?), NONE, "{default:?}, {goes}");
    }
    Ok(())
}

/// DEL of the first NIC does not take the pair from the other.
#[test]
fn the_pair_goes_with_the_last_nic() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    for order in [["eth0", "net1"], ["net1", "eth0"]] {
        let case = Case { room: &room, pod: room.pod(1, &IFNAMES)?, default: None };
        case.run("ADD", "eth0")?;
        case.run("ADD", "net1")?;
        case.run("DEL", order[0])?;
        let link = Room::host_link(&case.pod);
        let is_there = || {
            Ok::<_, anyhow::Error>(room.node().run(["ip", "link", "show", &link])?.status.success())
        };
        assert!(is_there()?, "{order:?}");
        assert_eq!(way(room.node(), &bare_addresses(order[1], 1)[0], None)?, link);
        assert_ne!(way(room.node(), &bare_addresses(order[0], 1)[0], None)?, link);
        case.run("DEL", order[1])?;
        assert!(!is_there()?, "{order:?}");
        assert_eq!(before.changes(&room.state()?), NONE, "{order:?}");
    }
    Ok(())
}
