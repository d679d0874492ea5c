//! ADDs that fail or are killed at every moment: node and pod are as before, and a DEL leaves
//! nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::plugin_wiring::{COORDINATOR, FAULTY_COORDINATOR};
use e2e::{Answer, Call, Pod, plugin_dir};

use crate::room::{NONE, Room, message};
use crate::state::State;

/// More than any verb makes.
const MOST_REQUESTS: u32 = 300;

/// A verb whose `fault`-th request fails; whether it got that far.
fn faulty(room: &Room, verb: &str, pod: &Pod, ifname: &str, fault: &str) -> Result<(Answer, bool)> {
    let mut call = Call { plugin: FAULTY_COORDINATOR.to_owned(), ..room.call(verb, pod, ifname)? };
    call.environment.push(("CNI_NET_FAULT".into(), fault.into()));
    let answer = room.run(&call)?;
    let reached = answer.outcome.stderr.contains("as CNI_NET_FAULT says");
    Ok((answer, reached))
}

/// A pod with the interfaces before `ifname` wired. Its settings are such that an ADD changes them.
fn prepared(room: &Room, number: u8, ifname: &str) -> Result<Pod> {
    let all = ["eth0", "net1"];
    let pod = if ifname == "eth0" { room.pod(number, &all[..1]) } else { room.pod(number, &all) }?;
    if ifname == "net1" {
        room.done("ADD", &pod, "eth0")?;
    }
    for link in ["all", "default", ifname] {
        pod.sysctl(&format!("ipv4/conf/{link}/rp_filter"), "2")?;
    }
    Ok(pod)
}

/// Each request of an ADD in turn is refused, and then each is done and its answer lost.
fn sweep(room: &Room, ifname: &str, prepare: impl Fn(&Room, u8) -> Result<Pod>) -> Result<String> {
    let mut said = Vec::new();
    let mut number = 0;
    let mut fresh = || -> Result<(Pod, State, State)> {
        number = number % 100 + 1;
        let pod = prepare(room, number)?;
        let (node, inside) = (room.state()?, State::of(&pod)?);
        Ok((pod, node, inside))
    };
    for kind in ["", "+"] {
        let (mut failed, mut forgiven) = (0, 0);
        let (mut pod, mut node, mut inside) = fresh()?;
        for request in 1.. {
            ensure!(request < MOST_REQUESTS, "no ADD makes so many requests");
            let fault = format!("{request}{kind}");
            let (answer, reached) = faulty(room, "ADD", &pod, ifname, &fault)?;
            if answer.is_success() {
                assert_eq!(room.difference(&pod, ifname)?, None, "request {fault}");
                room.done("DEL", &pod, ifname)?;
                forgiven += u32::from(reached);
            } else {
                ensure!(reached && answer.json.is_some(), "request {fault}: {answer:?}");
                failed += 1;
                let changes = node.changes(&room.state()?);
                assert_eq!(changes, NONE, "request {fault}, on the node: {answer:?}");
                let changes = inside.changes(&State::of(&pod)?);
                assert_eq!(changes, NONE, "request {fault}, in the pod: {answer:?}");
            }
            if !reached {
                break;
            }
            if answer.is_success() {
                room.done("DEL", &pod, "eth0")?;
                drop(pod);
                (pod, node, inside) = fresh()?;
            }
        }
        room.done("DEL", &pod, "eth0")?;
        said.push(format!("fault {kind:?}: {failed} ADDs failed, {forgiven} went on"));
        assert!(failed >= 20, "{failed}");
    }
    Ok(said.join("; "))
}

#[test]
fn a_first_add_whose_nth_request_fails_changes_nothing() -> Result<()> {
    let room = Room::start()?;
    room.state_with_rules()?;
    println!("{}", sweep(&room, "eth0", |room, number| prepared(room, number, "eth0"))?);
    Ok(())
}

/// What it took the place of is there again: an earlier pod may live after all.
#[test]
fn nor_does_one_that_replaces_what_an_earlier_pod_left() -> Result<()> {
    let room = Room::start()?;
    room.state_with_rules()?;
    let prepare = |room: &Room, number: u8| {
        let pod = prepared(room, number, "eth0")?;
        let [v4, v6] = crate::room::bare_addresses("eth0", number);
        for address in [&v4, &v6] {
            room.node().ip(&format!(
                "route replace {address} dev eth1 table 500 proto 157\n\
                 neigh replace {address} lladdr 02:00:00:00:00:99 dev eth1 nud permanent\n"
            ))?;
        }
        pod.ip("route replace 10.233.0.0/18 via 172.31.207.253 dev eth0\n")?;
        Ok(pod)
    };
    println!("{}", sweep(&room, "eth0", prepare)?);
    Ok(())
}

#[test]
fn a_second_nics_add_whose_nth_request_fails_changes_nothing() -> Result<()> {
    let room = Room::start()?;
    room.state_with_rules()?;
    println!("{}", sweep(&room, "net1", |room, number| prepared(room, number, "net1"))?);
    Ok(())
}

/// A DEL that fails says so, and the next one ends it.
#[test]
fn a_del_whose_nth_request_fails_is_ended_by_the_next() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    let mut failed = 0;
    for ifname in ["eth0", "net1"] {
        for kind in ["", "+"] {
            for request in 1.. {
                ensure!(request < MOST_REQUESTS, "no DEL makes so many requests");
                let pod = prepared(&room, 1, ifname)?;
                room.done("ADD", &pod, ifname)?;
                let fault = format!("{request}{kind}");
                let (answer, reached) = faulty(&room, "DEL", &pod, ifname, &fault)?;
                failed += u32::from(!answer.is_success());
                room.done("DEL", &pod, ifname)?;
                if ifname == "net1" {
                    assert_eq!(room.difference(&pod, "eth0")?, None, "request {fault}");
                    room.done("DEL", &pod, "eth0")?;
                }
                drop(pod);
                let changes = before.changes(&room.state()?);
                assert_eq!(changes, NONE, "{ifname}, request {fault}: {answer:?}");
                if !reached {
                    break;
                }
            }
        }
    }
    assert!(failed > 0, "no request of a DEL matters");
    Ok(())
}

/// `/proc/sys` that cannot be written to, as in a container of a wrong kind.
#[test]
fn an_add_that_may_not_write_settings_says_so_and_changes_nothing() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    let pod = prepared(&room, 1, "eth0")?;
    let inside = State::of(&pod)?;
    let folder = room.lab().data_dir().join("bin");
    fs::create_dir(&folder)?;
    let plugin = plugin_dir()?.join(COORDINATOR).display().to_string();
    let script = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind /proc/sys /proc/sys && \
         mount -o remount,bind,ro /proc/sys && exec {plugin}'\n"
    );
    fs::write(folder.join(COORDINATOR), script)?;
    fs::set_permissions(folder.join(COORDINATOR), fs::Permissions::from_mode(0o755))?;
    let runtime = room.node().runtime()?.with_plugin_dir(&folder);
    let answer = runtime.start(&room.call("ADD", &pod, "eth0")?)?.wait()?;
    assert_eq!(answer.error_code(), Some(121), "{answer:?}");
    assert!(message(&answer).contains("Read-only file system"), "{answer:?}");
    assert_eq!(before.changes(&room.state()?), NONE);
    assert_eq!(inside.changes(&State::of(&pod)?), NONE);
    room.done("DEL", &pod, "eth0")?;
    room.done("ADD", &pod, "eth0")?;
    room.done("DEL", &pod, "eth0")?;
    assert_eq!(before.changes(&room.state()?), NONE);
    Ok(())
}

/// What is put in the way of a plan.
type Spoil = fn(&Room, &Pod) -> Result<()>;

/// What stands in the way of a plan is named, and stays.
#[test]
fn an_add_that_cannot_be_planned_changes_nothing() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    let spoilt: [(&str, Spoil); 5] = [
        ("no address", |_, pod| pod.ip("address flush dev eth0\n")),
        ("has a link veth0", |_, pod| pod.ip("link add veth0 type bridge\n")),
        ("has a link veth0", |_, pod| pod.ip("link add veth0 type veth peer name other\n")),
        ("has a link veth", |room, pod| {
            room.node().ip(&format!("link add {} type bridge\n", Room::host_link(pod)))
        }),
        ("the node's own", |_, pod| pod.ip("address add 172.31.199.11/20 dev eth0\n")),
    ];
    for (said, spoil) in spoilt {
        let pod = room.pod(1, &["eth0"])?;
        spoil(&room, &pod)?;
        let (node, inside) = (room.state()?, State::of(&pod)?);
        let answer = room.run(&room.call("ADD", &pod, "eth0")?)?;
        assert_eq!(answer.error_code(), Some(120), "{said}: {answer:?}");
        assert!(message(&answer).contains(said), "{said}: {answer:?}");
        assert_eq!(node.changes(&room.state()?), NONE, "{said}");
        assert_eq!(inside.changes(&State::of(&pod)?), NONE, "{said}");
        room.done("DEL", &pod, "eth0")?;
        assert_eq!(node.changes(&room.state()?), NONE, "{said}");
        let _ = room.node().run(["ip", "link", "del", &Room::host_link(&pod)])?;
    }
    assert_eq!(before.changes(&room.state()?), NONE);
    Ok(())
}

const KILLS: u32 = 60;

#[test]
fn an_add_that_is_killed_is_ended_by_a_del() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    let pod = room.pod(1, &["eth0"])?;
    let runtime = room.node().runtime()?;
    let mut whole = Duration::ZERO;
    for _ in 0..3 {
        let running = runtime.start(&room.call("ADD", &pod, "eth0")?)?;
        let began = Instant::now();
        running.wait()?.success()?;
        whole = began.elapsed();
        room.done("DEL", &pod, "eth0")?;
    }
    let mut killed_at_work = 0;
    for attempt in 0..KILLS {
        let mut running = runtime.start(&room.call("ADD", &pod, "eth0")?)?;
        // Not a wait for anything: the moment of the kill is what varies.
        sleep(whole * (attempt * 37 % 60) / 60);
        running.kill()?;
        let killed = running.wait()?;
        let changes = before.changes(&room.state()?);
        killed_at_work += u32::from(!killed.is_success() && !changes.is_empty());
        // Of a pod whose namespace is known, or is not.
        let mut del = room.call("DEL", &pod, "eth0")?;
        if attempt % 2 == 1 {
            del.netns.clear();
        }
        room.run(&del)?.success()?;
        assert_eq!(before.changes(&room.state()?), NONE, "{changes:?}");
    }
    assert!(killed_at_work > 0, "no kill met an ADD at work");
    println!("{killed_at_work} of {KILLS} left something");
    room.done("ADD", &pod, "eth0")?;
    assert_eq!(room.difference(&pod, "eth0")?, None);
    Ok(())
}

/// The pair is made and its alias is not: only name and MAC say whose it is.
#[test]
fn a_pair_without_an_alias_is_ended_by_a_del_too() -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    for records in [true, false] {
        let pod = room.pod(1, &["eth0"])?;
        room.done("ADD", &pod, "eth0")?;
        room.node().ip(&format!("link set {} alias \"\"\n", Room::host_link(&pod)))?;
        if !records {
            fs::remove_dir_all(room.state_dir())?;
        }
        let del = Call { netns: String::new(), ..room.call("DEL", &pod, "eth0")? };
        room.run(&del)?.success()?;
        assert_eq!(before.changes(&room.state()?), NONE, "records: {records}");
    }
    Ok(())
}
