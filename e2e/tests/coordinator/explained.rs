//! What is asked about and left undone: `ipamctl explain`, disabled modes, ingredients left out.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::Call;
use e2e::plugin_wiring::FAULTY_COORDINATOR;
use serde_json::json;

use crate::room::{NONE, Room, way};
use crate::state::State;

#[test]
fn explain_prints_the_steps_and_changes_nothing() -> Result<()> {
    let room = Room::start()?;
    let pod = room.pod(1, &["eth0"])?;
    let (node, inside) = (room.state()?, State::of(&pod)?);
    let conf = room.configuration(1, "eth0");
    let own = room.lab().data_dir().join("own.json");
    fs::write(&own, conf.to_string())?;
    let list = room.lab().data_dir().join("10-list.conflist");
    let plugins = json!([{"type": "cni-ipvlan"}, conf]);
    let of_list = json!({"cniVersion": "1.1.0", "name": "net", "plugins": plugins});
    fs::write(&list, of_list.to_string())?;
    for file in [&own, &list] {
        let (file, netns) = (file.display().to_string(), pod.path().display().to_string());
        let (done, said) = room.ipamctl(&[
            "explain",
            "coordinator",
            "-f",
            &file,
            "--netns",
            &netns,
            "--container",
            &pod.spec().sandbox_id,
        ])?;
        assert!(done, "{said}");
        for part in [
            &format!("peer name {}", Room::host_link(&pod)),
            "ip -n POD route replace 10.233.0.0/18 via 172.31.199.11 dev veth0",
            "table inet cni_coordinator",
            "ip rule add pref 1000 from all lookup 500 protocol 157",
            "nothing was done",
        ] {
            assert!(said.contains(part), "no {part} in {said}");
        }
    }
    assert_eq!(node.changes(&room.state()?), NONE);
    assert_eq!(inside.changes(&State::of(&pod)?), NONE);
    assert!(!room.state_dir().exists(), "it made records");
    Ok(())
}

#[test]
fn a_disabled_coordinator_touches_nothing() -> Result<()> {
    let room = Room::start()?;
    let pod = room.pod(1, &["eth0"])?;
    let (node, inside) = (room.state()?, State::of(&pod)?);
    for mode in ["disabled", "disable"] {
        for verb in ["ADD", "CHECK", "DEL"] {
            let call = room.call_with(verb, &pod, "eth0", |conf| conf["mode"] = json!(mode))?;
            room.run(&call)?.success().with_context(|| format!("{verb} {mode}"))?;
        }
        let status = room.call_of_node("STATUS", |conf| conf["mode"] = json!(mode));
        room.run(&status)?.success()?;
        assert_eq!(node.changes(&room.state()?), NONE, "{mode}");
        assert_eq!(inside.changes(&State::of(&pod)?), NONE, "{mode}");
        assert!(!room.state_dir().exists(), "{mode}: it made records");
    }
    Ok(())
}

/// The build that leaves out what a test names, and only that.
#[test]
fn the_faulty_build_leaves_an_ingredient_out() -> Result<()> {
    let room = Room::start()?;
    let pod = room.pod(1, &["eth0"])?;
    let mut call = room.call("ADD", &pod, "eth0")?;
    call.plugin = FAULTY_COORDINATOR.to_owned();
    call.environment.push(("NODE_IPAM_OMIT".to_owned(), "Hijack,MarkRule".to_owned()));
    room.run(&call)?.success()?;
    assert_eq!(way(&pod, "10.233.0.1", None)?, "eth0");
    assert_eq!(way(&pod, "172.31.199.11", None)?, "veth0");
    let rules = pod.run(["ip", "rule"])?.success()?;
    ensure!(!rules.contains("500:"), "{rules}");
    let found = room.difference(&pod, "eth0")?.unwrap_or_default();
    assert!(found.contains("10.233.0.0/18"), "CHECK: {found}");
    let wrong = ("NODE_IPAM_OMIT".to_owned(), "Salt".to_owned());
    let answer = room.run(&Call { environment: vec![wrong.clone()], ..call.clone() })?;
    ensure!(answer.error_code() == Some(120), "{answer:?}");
    // The build that is installed knows nothing of it.
    let installed = room.call("ADD", &pod, "eth0")?;
    room.run(&Call { environment: vec![wrong], ..installed })?.success()?;
    assert_eq!(room.difference(&pod, "eth0")?, None);
    Ok(())
}
