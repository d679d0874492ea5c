//! What an earlier pod with the same address left does not reach the new one.

use anyhow::Result;

use crate::room::{NONE, Room, bare_addresses, way};
use crate::state::State;

/// The peer's C00010, and the same for routes: entries over another link, that nobody took away.
#[test]
fn of_an_earlier_pods_neighbours_and_routes_nothing_stays() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    let pod = room.pod(1, &["eth0"])?;
    let addresses = bare_addresses("eth0", 1);
    for address in &addresses {
        room.node().ip(&format!(
            "neigh add {address} lladdr 02:00:00:00:00:99 dev eth0 nud permanent\n\
             neigh add {address} lladdr 02:00:00:00:00:98 dev eth1 nud permanent\n\
             route add {address} dev eth1 table 500\n\
             route append {address} dev eth0 table 500 metric 7\n"
        ))?;
    }
    room.done("ADD", &pod, "eth0")?;
    assert_eq!(room.difference(&pod, "eth0")?, None);
    let link = Room::host_link(&pod);
    let state = room.state()?;
    for address in &addresses {
        let about: Vec<_> = state
            .lines()
            .filter(|line| line.split(' ').any(|word| word == address))
            .filter(|line| !line.contains("table local"))
            .collect();
        assert_eq!(about.len(), 2, "one neighbour, one route: {about:?}");
        assert!(about.iter().all(|line| line.contains(&link)), "{about:?}");
        assert_eq!(way(room.node(), address, None)?, link);
    }
    room.done("DEL", &pod, "eth0")?;
    assert_eq!(before.changes(&room.state()?), NONE);
    Ok(())
}

/// A namespace that another container had before (a restart in place): its pair, its marks, its
/// rules and routes.
#[test]
fn of_an_earlier_container_in_the_namespace_nothing_stays() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    let pod = room.pod(1, &["eth0"])?;
    let pristine = State::of(&pod)?;
    room.done("ADD", &pod, "eth0")?;
    let wired = State::of(&pod)?;
    let mut earlier = room.call("ADD", &pod, "eth0")?;
    room.done("DEL", &pod, "eth0")?;
    earlier.container_id = "fedcba9876543210".to_owned();
    room.run(&earlier)?.success()?;
    pod.ip("rule add pref 500 from all lookup 99\n")?;
    pod.nft(
        "delete table inet cni_coordinator\n\
         table inet cni_coordinator { chain old { type route hook output priority mangle; \
         meta mark set 0x80; }; }",
    )?;
    room.done("ADD", &pod, "eth0")?;
    assert_eq!(room.difference(&pod, "eth0")?, None);
    let changes = wired.changes(&State::of(&pod)?);
    // The other's rule is not ours to judge.
    assert!(changes.len() == 1 && changes[0].contains("table 99"), "{changes:?}");
    let on_node = room.state()?;
    assert!(!on_node.lines().any(|line| line.contains("vethfedcba98765")), "{on_node:?}");
    assert!(!pristine.changes(&wired).is_empty());
    room.done("DEL", &pod, "eth0")?;
    earlier.command = "DEL".to_owned();
    room.run(&earlier)?.success()?;
    assert_eq!(before.changes(&room.state()?), NONE);
    Ok(())
}

/// A live pod keeps its address until it ends; the new one has it from its ADD on, and the late DEL
/// of the earlier takes nothing from it.
#[test]
fn the_late_del_of_an_earlier_pod_takes_nothing_from_the_next() -> Result<()> {
    let room = Room::start()?;
    let first = room.pod(1, &["eth0"])?;
    room.done("ADD", &first, "eth0")?;
    let mut del = room.call("DEL", &first, "eth0")?;
    let second = room.bare_pod(2)?;
    room.attach(&second, "eth0", 1)?;
    room.done("ADD", &second, "eth0")?;
    assert_eq!(room.difference(&second, "eth0")?, None);
    del.netns = String::new();
    room.run(&del)?.success()?;
    assert_eq!(room.difference(&second, "eth0")?, None);
    Ok(())
}
