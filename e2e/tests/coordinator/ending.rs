//! DEL, whatever became of the pod and of the records: the node is as before, but for its rules.

use std::convert::Infallible;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Call, Pod};

use crate::room::{NONE, Room};

const RULES: [&str; 2] = ["rule", "rule -6"];

/// A pod that is wired, and then what `spoil` does and the DELs that it answers; afterwards nothing
/// of the pod is on the node.
fn ends_with(
    spoil: impl FnOnce(&Room, Pod) -> Result<(Vec<Call>, Option<Pod>)>,
    ifnames: &[&str],
) -> Result<()> {
    let room = Room::start()?;
    let before = room.state_with_rules()?;
    let pod = room.pod(1, ifnames)?;
    for ifname in ifnames {
        room.done("ADD", &pod, ifname)?;
    }
    ensure!(!before.changes(&room.state()?).is_empty(), "an ADD made nothing");
    let (calls, _pod) = spoil(&room, pod)?;
    for call in calls {
        room.run(&call)?.success()?;
    }
    assert_eq!(before.changes(&room.state()?), NONE);
    Ok(())
}

fn del(room: &Room, pod: &Pod) -> Result<Call> {
    room.call("DEL", pod, "eth0")
}

#[test]
fn only_the_nodes_rules_stay_until_they_are_removed() -> Result<()> {
    let room = Room::start()?;
    let before = room.state()?;
    let pod = room.pod(1, &["eth0"])?;
    room.done("ADD", &pod, "eth0")?;
    let (removed, said) = room.repair(&["--remove"])?;
    ensure!(!removed && said.contains("1 interfaces still need"), "{said}");
    room.done("DEL", &pod, "eth0")?;
    let changes = before.changes(&room.state()?);
    assert_eq!(changes.len(), 2, "{changes:?}");
    for rule in RULES {
        let is_it = |it: &&String| it.starts_with(&format!("+ {rule} priority 1000 "));
        assert_eq!(changes.iter().filter(is_it).count(), 1, "{changes:?}");
    }
    let (removed, said) = room.repair(&["--remove", "--dry-run"])?;
    ensure!(removed && said.lines().count() == 2, "{said}");
    assert_eq!(before.changes(&room.state()?).len(), 2);
    let (removed, said) = room.repair(&["--remove"])?;
    ensure!(removed && said.lines().count() == 2, "{said}");
    assert_eq!(before.changes(&room.state()?), NONE);
    assert_eq!(room.repair(&["--remove"])?, (true, String::new()));
    Ok(())
}

#[test]
fn after_the_namespace() -> Result<()> {
    ends_with(
        |room, pod| {
            let call = del(room, &pod)?;
            drop(pod);
            Ok((vec![call.clone(), call], None))
        },
        &["eth0"],
    )
}

/// The runtime has lost it, and it lives: only the veth can tell.
#[test]
fn with_an_empty_cni_netns_while_the_namespace_lives() -> Result<()> {
    ends_with(
        |room, pod| {
            let call = Call { netns: String::new(), ..del(room, &pod)? };
            Ok((vec![call.clone(), call], Some(pod)))
        },
        &["eth0"],
    )
}

#[test]
fn twice_and_without_any_add() -> Result<()> {
    ends_with(
        |room, pod| {
            let call = del(room, &pod)?;
            let other = Call { container_id: "never-added".to_owned(), ..call.clone() };
            Ok((vec![other, call.clone(), call], Some(pod)))
        },
        &["eth0"],
    )
}

#[test]
fn without_records() -> Result<()> {
    ends_with(
        |room, pod| {
            fs::remove_dir_all(room.state_dir())?;
            Ok((vec![del(room, &pod)?], Some(pod)))
        },
        &["eth0"],
    )
}

#[test]
fn of_two_nics_without_records_in_either_order() -> Result<()> {
    for order in [["eth0", "net1"], ["net1", "eth0"]] {
        ends_with(
            |room, pod| {
                fs::remove_dir_all(room.state_dir())?;
                let calls = order.iter().map(|ifname| room.call("DEL", &pod, ifname));
                Ok((calls.collect::<Result<_>>()?, Some(pod)))
            },
            &["eth0", "net1"],
        )?;
    }
    Ok(())
}

/// By nothing, by another file, and by noise in the middle; later ADDs work too.
#[test]
fn with_damaged_records() -> Result<()> {
    for damage in 0..4 {
        ends_with(
            |room, pod| {
                let file = room.state_dir().join("wirings.redb");
                let mut bytes = fs::read(&file)?;
                match damage {
                    0 => bytes.clear(),
                    1 => bytes = vec![0x2a; bytes.len()],
                    2 => bytes.truncate(bytes.len() / 2),
                    _ => bytes[512..].fill(0x2a),
                }
                fs::write(&file, bytes).context("damage")?;
                let late = room.pod(2, &["eth0"])?;
                if !room.run(&del(room, &pod)?)?.is_success() {
                    // The database's library may panic: the answer is to remove the file.
                    ensure!(damage > 1, "a file that is none was not noticed");
                    fs::remove_file(&file)?;
                }
                room.run(&del(room, &pod)?)?.success()?;
                room.done("ADD", &late, "eth0").with_context(|| format!("damage {damage}"))?;
                assert_eq!(room.difference(&late, "eth0")?, None);
                room.done("DEL", &late, "eth0")?;
                Ok((vec![del(room, &pod)?], Some(pod)))
            },
            &["eth0"],
        )?;
    }
    Ok(())
}

/// A record that only a later program can read, and one that nobody can.
#[test]
fn with_a_record_that_cannot_be_read() -> Result<()> {
    for document in [r#"{"version":99}"#, "{", r#"{"version":1,"network":"x"}"#] {
        ends_with(
            |room, pod| {
                let attachment = ipam_core::Attachment {
                    network: "coordinated".parse()?,
                    container: pod.spec().sandbox_id.parse()?,
                    ifname: "eth0".parse()?,
                };
                let wirings = ipam_store::Wirings::new(room.state_dir(), Duration::from_secs(10));
                wirings.wire(&attachment, |_| Ok::<_, Infallible>(document.to_owned()))?;
                let (repaired, said) = room.repair(&[])?;
                // It does not stand in the way of all others.
                ensure!(repaired && said.contains("ok: "), "{said}");
                let (removed, said) = room.repair(&["--remove"])?;
                ensure!(!removed && said.contains("still need"), "{said}");
                Ok((vec![del(room, &pod)?], Some(pod)))
            },
            &["eth0"],
        )?;
    }
    Ok(())
}

/// What else is wrong with a configuration cannot keep an address held.
#[test]
fn with_a_configuration_that_no_add_would_take() -> Result<()> {
    ends_with(
        |room, pod| {
            let call = room.call_with("DEL", &pod, "eth0", |conf| {
                conf["mode"] = "sideways".into();
                conf["hostRuleTable"] = (-1).into();
                conf["prevResult"] = serde_json::Value::Null;
            })?;
            Ok((vec![call], Some(pod)))
        },
        &["eth0"],
    )
}

/// A link of the same name that is another's: its MAC and alias say so.
#[test]
fn a_link_of_its_name_that_is_anothers_stays() -> Result<()> {
    let room = Room::start()?;
    let pod = room.pod(1, &["eth0"])?;
    room.done("ADD", &pod, "eth0")?;
    let link = Room::host_link(&pod);
    room.node().ip(&format!("link del {link}\nlink add {link} type veth peer name x\n"))?;
    room.done("DEL", &pod, "eth0")?;
    ensure!(room.node().run(["ip", "link", "show", &link])?.status.success(), "it is gone");
    Ok(())
}
