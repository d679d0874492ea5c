//! What the plugin answers when it must not or cannot attach: no ipvlan is needed for that. As root.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};

use anyhow::{Context, Result};
use e2e::deployment::{Deployment, INTERFACE, PLUGIN};
use e2e::{Answer, Call, Lab, plugin_dir, seed};
use serde_json::{Value, json};

fn message(answer: &Answer) -> Result<(u64, String)> {
    assert_eq!(answer.outcome.status.code(), Some(1), "{answer:?}");
    let object = answer.json.as_ref().context("one JSON object on stdout")?;
    assert!(object["cniVersion"].is_string(), "{object}");
    let text = format!("{} {}", object["msg"], object["details"]);
    Ok((object["code"].as_u64().context("a code")?, text))
}

/// The first pod's ADD with a changed configuration.
fn add(lab: &Lab, configuration: &Value) -> Result<(u64, String)> {
    let pod = &lab.pods()[0];
    let runtime = lab.node(&pod.spec().node)?.runtime()?;
    message(&runtime.add(PLUGIN, &configuration.to_string(), pod, INTERFACE)?)
}

#[test]
fn no_pool_lists_every_pool_and_why_it_was_not_taken() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let pod = &lab.pods()[0];
    let mut configuration = deployment.configuration_of(pod)?;
    configuration["ipam"]["network"] = json!("kube-system/ipvlan-eth9");
    let (code, text) = add(&lab, &configuration)?;
    assert_eq!(code, 101, "{text}");
    for part in [
        "no pool for node master and network kube-system/ipvlan-eth9",
        "master-172: multusName is [kube-system/ipvlan-eth0], this network is kube-system/ipvlan-eth9",
        "master-192: multusName is [kube-system/ipvlan-eth1]",
        "worker-172: nodeName is [worker], this node is master",
        "worker-192: nodeName is [worker]",
    ] {
        assert!(text.contains(part), "{text}\n does not contain\n{part}");
    }
    // Without nodeName the host's name counts, and no pool is for it.
    let ipam = configuration["ipam"].as_object_mut().context("ipam")?;
    ipam.remove("nodeName");
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_lowercase();
    let (_, text) = add(&lab, &configuration)?;
    assert!(text.contains(&format!("no pool for node {host} and")), "{text}");
    Ok(())
}

#[test]
fn a_broken_configuration_or_environment_is_an_error_object_with_the_specs_code() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let pod = &lab.pods()[0];
    let good = deployment.configuration_of(pod)?;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut configuration = good.clone();
        change(&mut configuration);
        add(&lab, &configuration)
    };
    for (expected, part, answer) in [
        (1, "incompatible CNI versions", changed(&|c| c["cniVersion"] = json!("0.9.0"))?),
        (7, "name", changed(&|c| c["name"] = json!("a/b"))?),
        (
            7,
            "master eth9: this node has no such link; it has [eth0, eth1]: correct master",
            changed(&|c| c["master"] = json!("eth9"))?,
        ),
        (7, "flag", changed(&|c| c["flag"] = json!("open"))?),
        (7, "mtu 9000 is above the 1500", changed(&|c| c["mtu"] = json!(9000))?),
        (7, "no addresses: set ipam.type", changed(&|c| c["ipam"] = Value::Null)?),
        (7, "mode", changed(&|c| c["mode"] = json!("l7"))?),
        (7, "ipam.type", changed(&|c| c["ipam"]["type"] = json!("dhcp"))?),
        (7, "CNI_PATH has no such plugin", changed(&|c| c["ipam"]["type"] = json!("nowhere"))?),
        (7, "ipam.nodeName", changed(&|c| c["ipam"]["nodeName"] = json!(""))?),
        (101, "no database at", changed(&|c| c["ipam"]["dataDir"] = json!("/nowhere"))?),
    ] {
        assert_eq!(answer.0, expected, "{}", answer.1);
        assert!(answer.1.contains(part), "{part}: {}", answer.1);
    }
    let runtime = lab.node("master")?.runtime()?;
    let call = |change: &dyn Fn(&mut Call)| {
        let mut call = Call::of("ADD", PLUGIN, &good.to_string(), pod, INTERFACE);
        change(&mut call);
        message(&runtime.start(&call)?.wait()?)
    };
    for (expected, part, answer) in [
        (6, "JSON", call(&|c| c.conf = "{".into())?),
        (4, "CNI_NETNS", call(&|c| c.netns.clear())?),
        (4, "CNI_CONTAINERID", call(&|c| c.container_id = "../x".into())?),
        (4, "CNI_IFNAME", call(&|c| c.interface = "a/b".into())?),
        (4, "ATTACH", call(&|c| c.command = "ATTACH".into())?),
        (8, "/nowhere", call(&|c| c.netns = "/nowhere".into())?),
        (8, "is not a network namespace", call(&|c| c.netns = "/etc/hostname".into())?),
    ] {
        assert_eq!(answer.0, expected, "{}", answer.1);
        assert!(answer.1.contains(part), "{part}: {}", answer.1);
    }
    assert_eq!(deployment.leases("master")?, Vec::<Value>::new());
    Ok(())
}

/// A plugin that writes down what it is asked, and answers GC with an error.
const RECORDER: &str = r#"#!/bin/sh
echo "$CNI_COMMAND $(cat)" >> "$(dirname "$0")/asked"
if [ "$CNI_COMMAND" = GC ]; then
    echo '{"cniVersion":"1.1.0","code":11,"msg":"the recorder is busy"}'
    exit 1
fi
"#;

#[test]
fn gc_and_status_are_forwarded_to_a_foreign_ipam_plugin_with_the_whole_configuration() -> Result<()>
{
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let folder = lab.data_dir().join("bin");
    fs::create_dir(&folder)?;
    symlink(plugin_dir()?.join(PLUGIN), folder.join(PLUGIN))?;
    fs::write(folder.join("recorder"), RECORDER)?;
    fs::set_permissions(folder.join("recorder"), fs::Permissions::from_mode(0o755))?;
    let runtime = lab.node("master")?.runtime()?.with_plugin_dir(&folder);
    let mut configuration = deployment.configuration_of(&lab.pods()[0])?;
    configuration["ipam"] = json!({"type": "recorder", "x": 7});
    configuration["cni.dev/valid-attachments"] = json!([]);
    assert_eq!(runtime.status(PLUGIN, &configuration.to_string())?.success()?, &Value::Null);
    let (code, text) = message(&runtime.gc(PLUGIN, &configuration.to_string())?)?;
    assert_eq!(code, 11, "its own error is passed on");
    assert!(text.contains("the recorder is busy"), "{text}");
    let asked = fs::read_to_string(folder.join("asked"))?;
    let asked: Vec<_> =
        asked.lines().map(|line| line.split_once(' ').unwrap_or_default()).collect();
    let verbs: Vec<_> = asked.iter().map(|(verb, _)| *verb).collect();
    assert_eq!(verbs, ["STATUS", "GC"]);
    for (_, text) in asked {
        assert_eq!(serde_json::from_str::<Value>(text)?, configuration);
    }
    Ok(())
}

#[test]
fn version_lists_what_is_spoken_and_needs_nothing() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let answer = lab.node("master")?.runtime()?.version(PLUGIN)?;
    let supported = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
    let expected = json!({ "cniVersion": "1.1.0", "supportedVersions": supported });
    assert_eq!(answer.success()?, &expected);
    Ok(())
}

/// A process that holds the lock and does not go on delays an ADD until its deadline, no longer.
#[test]
fn a_held_lock_is_error_11_with_its_holder_and_released_with_it() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let pod = &lab.pods()[0];
    let mut configuration = deployment.configuration_of(pod)?;
    configuration["ipam"]["lockTimeoutMs"] = json!(150);
    let lock = File::open(deployment.database("master")?.join("lock"))?;
    lock.lock()?;
    let (code, text) = add(&lab, &configuration)?;
    assert_eq!(code, 11, "{text}");
    let own = format!("pid {}", std::process::id());
    // Less up to a tenth, so that many who wait do not all come back together.
    let waited = text.split("waited ").nth(1).and_then(|text| text.split(' ').next());
    let waited: u64 = waited.context("how long it waited")?.parse()?;
    assert!((135..=150).contains(&waited) && text.contains(&own), "{text}");
    let runtime = lab.node("master")?.runtime()?;
    let del = runtime.del(PLUGIN, &configuration.to_string(), pod, INTERFACE)?;
    assert_eq!(message(&del)?.0, 11, "a DEL that released nothing must be repeated");
    drop(lock);
    runtime.del(PLUGIN, &configuration.to_string(), pod, INTERFACE)?.success()?;
    Ok(())
}
