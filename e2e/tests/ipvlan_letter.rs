//! CHECK, delegated IPAM and chains on a real ipvlan kernel. As root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::deployment::{Deployment, INTERFACE, PLUGIN, addresses};
use e2e::{Answer, Call, Lab, Trace, plugin_dir, seed};
use serde_json::{Value, json};

/// Upstream's plugins, of Debian's containernetworking-plugins.
const UPSTREAM: &str = "/usr/lib/cni";

#[test]
fn check_passes_right_after_add_and_names_each_difference() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let pod = &lab.pods()[0];
    let node = lab.node("master")?;
    let result = deployment.add(pod)?.success()?.clone();
    let check = || deployment.call("CHECK", pod, |it| it["prevResult"] = result.clone());
    assert_eq!(check()?.success()?, &Value::Null);
    // What others of a chain add, or move to another table, is no difference.
    pod.ip("address add 198.51.100.1/32 dev eth0\nroute add 203.0.113.0/24 via 172.31.207.253\n\
            route del default via 172.31.207.253\n\
            route add default via 172.31.207.253 dev eth0 table 100\n\
            link set eth0 mtu 1400\n")?;
    assert_eq!(check()?.success()?, &Value::Null);
    pod.ip("link set eth0 mtu 1500\n")?;
    let answer = deployment.call("CHECK", pod, |it| {
        it["prevResult"] = result.clone();
        it["mtu"] = json!(1400);
    })?;
    assert_eq!(answer.error_code(), Some(122), "{answer:?}");
    assert!(answer.outcome.stdout.contains("its MTU is 1500, not 1400"), "{answer:?}");

    let differs = |expected: &str| -> Result<()> {
        let answer = check()?;
        assert_eq!(answer.error_code(), Some(122), "{expected}: {answer:?}");
        let text = answer.json.context("an error object")?["msg"].to_string();
        assert!(text.contains(expected), "{text} lacks {expected}");
        Ok(())
    };
    for (change, expected, back) in [
        (
            "address del 172.31.200.1/20 dev eth0",
            "address 172.31.200.1/20 is missing",
            "address add 172.31.200.1/20 dev eth0",
        ),
        (
            "route del default via fd00:172::fd dev eth0",
            "route ::/0 via fd00:172::fd is missing in every table",
            "route add default via fd00:172::fd dev eth0",
        ),
        ("link set eth0 down", "it is down", "link set eth0 up"),
    ] {
        pod.ip(&format!("{change}\n"))?;
        differs(expected)?;
        pod.ip(&format!("{back}\n"))?;
        // The link's fall took routes along.
        pod.ip("route replace default via 172.31.207.253 dev eth0\n\
                route replace default via fd00:172::fd dev eth0\n")?;
        assert_eq!(check()?.success()?, &Value::Null, "after {back}");
    }
    // Another ipvlan link under the name, on the other NIC, without the addresses.
    pod.ip("link del eth0\n")?;
    differs("is missing in")?;
    let netns = pod.name();
    node.ip(&format!("link add link eth1 name x0 netns {netns} type ipvlan mode l3\n"))?;
    pod.ip("link set x0 name eth0\n")?;
    differs("its mode is l3, not l2; its parent is not eth0")?;
    pod.ip("link del eth0\nlink add eth0 type veth peer name other\n")?;
    differs("it is a link of kind veth, not ipvlan")?;

    // The reservation, and a runtime that has lost the result.
    let answer = deployment.call("CHECK", pod, |_| {})?;
    assert_eq!(answer.error_code(), Some(7), "{answer:?}");
    deployment.del(pod)?.success()?;
    let answer = check()?;
    assert_eq!(answer.error_code(), Some(104), "{answer:?}");
    Ok(())
}

/// A folder with this build's plugin and upstream's IPAM plugins, as on a node.
fn node_folder(lab: &Lab) -> Result<PathBuf> {
    let folder = lab.data_dir().join("bin");
    fs::create_dir_all(&folder)?;
    symlink(plugin_dir()?.join(PLUGIN), folder.join(PLUGIN))?;
    for plugin in ["host-local", "static"] {
        symlink(Path::new(UPSTREAM).join(plugin), folder.join(plugin))?;
    }
    Ok(folder)
}

#[test]
fn foreign_ipam_plugins_are_delegated_every_verb() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    // Debian's plugins know no later version.
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?.with_cni_version("1.0.0");
    let pod = &lab.pods()[0];
    let folder = node_folder(&lab)?;
    let runtime = lab.node("master")?.runtime()?.with_plugin_dir(&folder);
    let data = lab.data_dir().join("host-local");
    let base = deployment.configuration_of(pod)?;
    let configured = |ipam: Value, extra: &[(&str, Value)]| {
        let mut configuration = base.clone();
        configuration["ipam"] = ipam;
        for (key, value) in extra {
            configuration[*key] = value.clone();
        }
        configuration
    };
    let call = |verb: &str, configuration: &Value| -> Result<Answer> {
        let call = Call::of(verb, PLUGIN, &configuration.to_string(), pod, INTERFACE);
        runtime.start(&call)?.wait()
    };
    let before = Trace::of(&lab, &deployment, pod)?;
    let held = || -> usize {
        let files = fs::read_dir(data.join("ipvlan-eth0")).into_iter().flatten().flatten();
        files.filter(|it| it.file_name().to_string_lossy().starts_with("10.")).count()
    };

    let host_local = json!({
        "type": "host-local", "dataDir": data,
        "ranges": [[{"subnet": "10.77.0.0/24", "gateway": "10.77.0.1"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.78.0.0/16", "gw": "10.77.0.9"}],
    });
    let dns = json!({"nameservers": ["192.0.2.53"], "search": ["example.net"]});
    let mut configuration = configured(host_local.clone(), &[("dns", dns.clone())]);
    let answer = call("ADD", &configuration)?;
    assert_eq!(addresses(&answer)?, ["10.77.0.2"]);
    let result = answer.success()?.clone();
    assert_eq!(result["dns"], dns);
    assert_eq!(held(), 1);
    let routes = pod.run(["ip", "route"])?.success()?;
    assert!(routes.contains("default via 10.77.0.1 dev eth0"), "{routes}");
    assert!(routes.contains("10.78.0.0/16 via 10.77.0.9 dev eth0"), "{routes}");
    configuration["prevResult"] = result;
    assert_eq!(call("CHECK", &configuration)?.success()?, &Value::Null);
    call("DEL", &configuration)?.success()?;
    assert_eq!(held(), 0);
    assert_eq!(before.changes(&Trace::of(&lab, &deployment, pod)?), Vec::<String>::new());
    let answer = call("CHECK", &configuration)?;
    assert!(!answer.is_success(), "host-local's own CHECK was asked: {answer:?}");

    // An ADD that fails in the kernel takes the delegate's address back.
    let mut unreachable = host_local.clone();
    unreachable["routes"] = json!([{"dst": "0.0.0.0/0", "gw": "203.0.113.1"}]);
    let answer = call("ADD", &configured(unreachable, &[]))?;
    assert_eq!(answer.error_code(), Some(121), "{answer:?}");
    assert!(answer.outcome.stdout.contains("the gateway is not in a subnet of this link"));
    assert_eq!(held(), 0);
    assert_eq!(before.changes(&Trace::of(&lab, &deployment, pod)?), Vec::<String>::new());

    // So does one that fails in the delegate, with the delegate's own words.
    let mut broken = host_local;
    broken["ranges"] = json!([[{"subnet": "10.77.0.0/33"}]]);
    let answer = call("ADD", &configured(broken, &[]))?;
    assert!(answer.outcome.stdout.contains("10.77.0.0/33"), "{answer:?}");
    assert_eq!(before.changes(&Trace::of(&lab, &deployment, pod)?), Vec::<String>::new());

    // A requested address that somebody has.
    let taken = json!({"type": "static", "addresses": [{"address": "10.77.0.9/24"}]});
    lab.node("master")?.ip("link add link eth0 name taken0 type ipvlan mode l2\n\
        address add 10.77.0.9/24 dev taken0\n")?;
    let answer = call("ADD", &configured(taken.clone(), &[]))?;
    assert_eq!(answer.error_code(), Some(11), "{answer:?}");
    let text = "address 10.77.0.9 is in use: by taken0 in the node's own namespace";
    assert!(answer.outcome.stdout.contains(text), "{answer:?}");
    lab.node("master")?.ip("link del taken0\n")?;
    assert_eq!(addresses(&call("ADD", &configured(taken.clone(), &[]))?)?, ["10.77.0.9"]);
    call("DEL", &configured(taken, &[]))?.success()?;

    let gone = json!({"type": "nowhere"});
    for verb in ["ADD", "DEL"] {
        let answer = call(verb, &configured(gone.clone(), &[]))?;
        assert_eq!(answer.error_code(), Some(7), "{answer:?}");
        let expected = format!(
            "ipam.type \\\"nowhere\\\": CNI_PATH has no such plugin, it is [{}]: install it there",
            folder.display()
        );
        assert!(answer.outcome.stdout.contains(&expected), "{answer:?}");
    }
    assert_eq!(before.changes(&Trace::of(&lab, &deployment, pod)?), Vec::<String>::new());
    Ok(())
}

/// Without `ipam` the addresses of the chain go on the interface; a result of any version will do.
#[test]
fn a_chains_addresses_go_on_the_interface_when_there_is_no_ipam() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let pod = &lab.pods()[0];
    let of_families = json!({"ip4": {"ip": "10.5.0.7/24", "gateway": "10.5.0.1",
        "routes": [{"dst": "0.0.0.0/0"}]}});
    let of_list = |version: Value, interface: Value| {
        json!({"interfaces": [interface], "routes": [{"dst": "0.0.0.0/0"}],
            "ips": [{"version": version, "address": "10.5.0.7/24", "gateway": "10.5.0.1",
            "interface": 0}]})
    };
    let with_version = of_list(json!("4"), json!({"name": "eth0"}));
    let mut without = of_list(Value::Null, json!({"name": "eth0"}));
    without["ips"][0].as_object_mut().context("an address")?.remove("version");
    let mut with_mtu = without.clone();
    with_mtu["interfaces"][0]["mtu"] = json!(1500);
    let results = [
        ("0.1.0", of_families.clone()),
        ("0.2.0", of_families),
        ("0.3.0", with_version.clone()),
        ("0.3.1", with_version.clone()),
        ("0.4.0", with_version),
        ("1.0.0", without),
        ("1.1.0", with_mtu),
    ];
    for (version, mut prev_result) in results {
        let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?.with_cni_version(version);
        prev_result["cniVersion"] = json!(version);
        let before = Trace::of(&lab, &deployment, pod)?;
        let chained = |configuration: &mut Value| {
            configuration["ipam"] = Value::Null;
            configuration["prevResult"] = prev_result.clone();
        };
        let answer = deployment.call("ADD", pod, chained)?;
        let result = answer.success()?;
        assert_eq!(result["cniVersion"], version);
        if matches!(version, "0.1.0" | "0.2.0") {
            assert_eq!(result["ip4"]["ip"], "10.5.0.7/24", "{result}");
        } else {
            assert_eq!(result["interfaces"][1]["sandbox"], json!(pod.path()), "{result}");
            assert_eq!(result["ips"][0]["interface"], 1, "{result}");
            assert_eq!(result["ips"].as_array().map(Vec::len), Some(1), "{result}");
        }
        let routes = pod.run(["ip", "route"])?.success()?;
        assert!(routes.contains("default via 10.5.0.1 dev eth0"), "{routes}");
        deployment.call("DEL", pod, chained)?.success()?;
        assert_eq!(before.changes(&Trace::of(&lab, &deployment, pod)?), Vec::<String>::new());
    }
    Ok(())
}

#[test]
fn status_tells_of_full_pools_only_when_asked_to() -> Result<()> {
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::POOLS)?;
    let node = lab.node("master")?;
    let status = |pod, asked: bool| -> Result<Answer> {
        let mut configuration = deployment.configuration_of(pod)?;
        configuration["ipam"]["statusOnExhaustion"] = json!(asked);
        node.runtime()?.status(PLUGIN, &configuration.to_string())
    };
    let spec = |index| e2e::PodSpec::new("x", &format!("p{index}"), "master", seed::IPVLAN_ETH0);
    let pods = lab.run_pods(&(0..5).map(spec).collect::<Vec<_>>())?;
    assert_eq!(status(&pods[0], true)?.success()?, &Value::Null);
    for pod in &pods {
        deployment.add(pod)?.success()?;
    }
    assert_eq!(status(&pods[0], false)?.success()?, &Value::Null);
    let answer = status(&pods[0], true)?;
    assert_eq!(answer.error_code(), Some(50), "{answer:?}");
    let text = "no address is free in [master-172] (statusOnExhaustion)";
    assert!(answer.outcome.stdout.contains(text), "{answer:?}");
    deployment.del(&pods[0])?.success()?;
    assert_eq!(status(&pods[0], true)?.success()?, &Value::Null);
    Ok(())
}
