//! Which NIC an interface shares, and what is wrong with one, on a real ipvlan kernel. As root.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::deployment::{Deployment, INTERFACE, PLUGIN, addresses};
use e2e::{Answer, Lab, Pod, PodSpec, Trace, seed};
use serde_json::{Value, json};

/// An ADD that must fail with this code and text, and without a trace.
fn refused(
    lab: &Lab,
    deployment: &Deployment<'_>,
    change: impl FnOnce(&mut Value),
) -> Result<(u64, String)> {
    let pod = &lab.pods()[0];
    let before = Trace::of(lab, deployment, pod)?;
    let answer = deployment.call("ADD", pod, change)?;
    assert_eq!(before.changes(&Trace::of(lab, deployment, pod)?), Vec::<String>::new());
    let code = answer.error_code().with_context(|| format!("an error: {answer:?}"))?;
    let object = answer.json.context("an error object")?;
    Ok((code, object["msg"].as_str().context("a message")?.to_owned()))
}

/// The name of the link under the pod's interface.
fn parent_of(pod: &Pod, answer: &Answer) -> Result<String> {
    let mac = answer.success()?["interfaces"].as_array().and_then(|all| all.last().cloned());
    let mac = mac.context("an interface")?["mac"].to_string();
    let link = pod.run(["ip", "-j", "-d", "link", "show", "dev", INTERFACE])?.success()?;
    let link: Value = serde_json::from_str(&link)?;
    assert_eq!(link[0]["linkinfo"]["info_kind"], "ipvlan");
    assert_eq!(link[0]["address"].to_string(), mac);
    Ok(mac.trim_matches('"').to_owned())
}

#[test]
fn the_master_is_found_by_default_route_name_mac_and_chain() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let pod = &lab.pods()[0];
    let nics = &lab.node("master")?.spec().nics;
    let (eth0, eth1) = (nics[0].mac.to_string(), nics[1].mac.to_string());
    let chain = |name: &str| {
        json!({"cniVersion": "1.1.0", "interfaces": [{"name": name}],
               "ips": [{"address": "198.51.100.7/24"}], "dns": {"nameservers": ["192.0.2.53"]}})
    };
    let masters: [(&str, &String, Value, Value); 7] = [
        ("the default route's", &eth0, Value::Null, Value::Null),
        ("a name", &eth1, json!("eth1"), Value::Null),
        ("the first of two names", &eth1, json!(["eth1", "eth0"]), Value::Null),
        ("the first that is there", &eth1, json!(["ens6", "eth1", "eth0"]), Value::Null),
        ("a MAC", &eth1, json!(eth1.to_uppercase()), Value::Null),
        ("a MAC that is there", &eth0, json!(["02:00:00:00:00:99", eth0]), Value::Null),
        ("the chain's only interface", &eth1, Value::Null, chain("eth1")),
    ];
    for (what, expected, master, prev_result) in masters {
        let answer = deployment.call("ADD", pod, |configuration| {
            configuration["master"] = master;
            configuration["prevResult"] = prev_result.clone();
        })?;
        assert_eq!(parent_of(pod, &answer)?, *expected, "{what}");
        let result = answer.success()?;
        let of_chain = usize::from(!prev_result.is_null());
        assert_eq!(result["interfaces"].as_array().map(Vec::len), Some(of_chain + 1), "{what}");
        assert_eq!(result["ips"][of_chain]["interface"], json!(of_chain), "{what}");
        if of_chain > 0 {
            assert_eq!(result["dns"]["nameservers"][0], "192.0.2.53");
        }
        deployment.del(pod)?.success()?;
    }
    let two = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "eth0"}, {"name": "eth1"}]});
    let text = refused(&lab, &deployment, |configuration| {
        configuration["master"] = Value::Null;
        configuration["prevResult"] = two;
    })?;
    assert!(text.1.contains("prevResult has 2 interfaces [eth0, eth1]"), "{text:?}");
    Ok(())
}

#[test]
fn a_master_in_the_container_is_that_of_the_pod() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let pod = &lab.pods()[0];
    pod.ip("link add in0 address 02:00:00:00:07:07 type veth peer name in1\n\
            link set in0 up\nlink set in1 up\n")?;
    let before = Trace::of(&lab, &deployment, pod)?;
    let inside = |configuration: &mut Value| {
        configuration["master"] = json!("in0");
        configuration["linkInContainer"] = json!(true);
    };
    let answer = deployment.call("ADD", pod, inside)?;
    assert_eq!(parent_of(pod, &answer)?, "02:00:00:00:07:07");
    let with_result = |configuration: &mut Value| {
        inside(configuration);
        configuration["prevResult"] = answer.json.clone().unwrap_or_default();
    };
    deployment.call("CHECK", pod, with_result)?.success()?;
    deployment.call("DEL", pod, with_result)?.success()?;
    assert_eq!(before.changes(&Trace::of(&lab, &deployment, pod)?), Vec::<String>::new());
    Ok(())
}

#[test]
fn what_is_wrong_with_a_master_is_said_with_the_remedy() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let node = lab.node("master")?;
    let on_eth1 = |configuration: &mut Value| configuration["master"] = json!("eth1");

    let missing = refused(&lab, &deployment, |it| it["master"] = json!(["ens5", "ens6"]))?;
    let text = "master ens5, ens6: this node has no such link; it has [eth0, eth1]: correct master";
    assert_eq!(missing, (7, text.to_owned()));

    let mtu = refused(&lab, &deployment, |it| it["mtu"] = json!(1501))?;
    let text = "mtu 1501 is above the 1500 of master eth0, which would drop what is longer: leave \
                mtu out, or raise the master's";
    assert_eq!(mtu, (7, text.to_owned()));

    node.ip("link set eth1 down\n")?;
    let text = "master eth1 is down: `ip link set eth1 up`";
    assert_eq!(refused(&lab, &deployment, on_eth1)?, (11, text.to_owned()));
    let configuration = |change: &dyn Fn(&mut Value)| -> Result<String> {
        let mut configuration = deployment.configuration_of(&lab.pods()[0])?;
        change(&mut configuration);
        Ok(configuration.to_string())
    };
    let status = node.runtime()?.status(PLUGIN, &configuration(&on_eth1)?)?;
    assert_eq!(status.error_code(), Some(50), "{status:?}");
    let gone = |configuration: &mut Value| configuration["master"] = json!("ens6");
    let status = node.runtime()?.status(PLUGIN, &configuration(&gone)?)?;
    assert_eq!(status.error_code(), Some(50), "{status:?}");
    let status = node.runtime()?.status(PLUGIN, &configuration(&|_| {})?)?;
    assert_eq!(status.success()?, &Value::Null);

    node.ip("link set eth1 up\nlink add link eth1 name mv0 type macvlan mode bridge\n")?;
    let text = "master eth1 is busy: it carries the macvlan links [mv0], and a NIC carries either \
                kind: give ipvlan a NIC of its own, or delete them";
    assert_eq!(refused(&lab, &deployment, on_eth1)?, (121, text.to_owned()));
    node.ip("link del mv0\nlink add br9 type bridge\nlink set eth1 master br9\n")?;
    let text = "master eth1 is busy: it is a port of the bridge br9: use that as master";
    assert_eq!(refused(&lab, &deployment, on_eth1)?, (121, text.to_owned()));
    node.ip("link set eth1 nomaster\nlink del br9\n")?;

    // A cable that is out: its other end is down.
    node.ip("link add out0 type veth peer name out1\nlink set out0 up\n")?;
    let pod = &lab.pods()[0];
    let answer = deployment.call("ADD", pod, |it| it["master"] = json!("out0"))?;
    answer.success()?;
    let text = "cni-ipvlan: master out0 has no carrier: pods on it reach nobody until its cable is \
                in\n";
    assert_eq!(answer.outcome.stderr, text);
    Ok(())
}

/// The kernel would switch every pod of the NIC to the mode of the last ADD.
#[test]
fn another_mode_or_flag_than_the_pods_of_that_master_have_is_refused() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let spec = PodSpec::new("default", "first", "master", seed::IPVLAN_ETH0);
    let first = lab.run_pods(&[spec])?.pop().context("one pod")?;
    deployment.add(&first)?.success()?;
    let place = first.path().display().to_string();
    let (code, text) = refused(&lab, &deployment, |it| it["mode"] = json!("l3"))?;
    let expected = format!(
        "mode l3: the ipvlan links on master eth0 have mode l2 ({INTERFACE} in {place}), and a NIC \
         has one mode for all of them: give every network on eth0 the same"
    );
    assert_eq!((code, text), (7, expected));
    let (code, text) = refused(&lab, &deployment, |it| it["flag"] = json!("private"))?;
    assert_eq!(code, 7);
    assert!(text.starts_with("flag private: the ipvlan links on master eth0 have flag bridge"));
    // The other NIC is free to have another, and says so for the next.
    let pod = &lab.pods()[0];
    let private = |configuration: &mut Value| {
        configuration["master"] = json!("eth1");
        configuration["mode"] = json!("l3s");
        configuration["flag"] = json!("private");
    };
    let answer = deployment.call("ADD", pod, private)?;
    assert_eq!(addresses(&answer)?.len(), 2);
    let link = pod.run(["ip", "-j", "-d", "link", "show", "dev", INTERFACE])?.success()?;
    let link: Value = serde_json::from_str(&link)?;
    assert_eq!(link[0]["linkinfo"]["info_data"]["mode"], "l3s");
    assert!(link[0]["linkinfo"]["info_data"].to_string().contains("private"), "{link}");
    Ok(())
}

/// Some runtimes keep a pod's namespace by its processes alone.
#[test]
fn a_pod_that_only_a_process_keeps_tells_the_mode_too() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let node = lab.node("master")?;
    let own = fs::metadata(node.path())?.ino();
    let mut process = node.spawn(Command::new("unshare").args(["--net", "sleep", "600"]))?;
    let pid = process.id();
    let namespace = format!("/proc/{pid}/ns/net");
    let outcome = (|| {
        let deadline = Instant::now() + Duration::from_secs(60);
        while fs::metadata(Path::new(&namespace))?.ino() == own {
            ensure!(Instant::now() < deadline, "unshare has not made its namespace");
            sleep(Duration::from_millis(5));
        }
        node.ip(&format!("link add link eth1 name x0 netns {pid} type ipvlan mode l3s\n"))?;
        refused(&lab, &deployment, |it| it["master"] = json!("eth1"))
    })();
    process.kill()?;
    process.wait()?;
    let expected = format!(
        "mode l2: the ipvlan links on master eth1 have mode l3s (x0 in {namespace}), and a NIC has \
         one mode for all of them: give every network on eth1 the same"
    );
    assert_eq!(outcome?, (7, expected));
    Ok(())
}
