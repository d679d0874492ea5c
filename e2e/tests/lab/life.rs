//! The lab starts, ends, looks and runs plugins as it says. As root.

use std::fs;
use std::path::Path;
use std::process::{self, Command};
use std::time::Instant;

use anyhow::{Context, Result};
use e2e::{Call, Lab, PodSpec, seed};

#[test]
fn a_dropped_or_failed_lab_leaves_nothing() -> Result<()> {
    let start = Instant::now();
    let lab = Lab::start(&seed::cluster())?;
    eprintln!("the seed's cluster started in {:?}", start.elapsed());
    let (prefix, data) = (lab.prefix().to_owned(), lab.data_dir().to_owned());
    let left = || -> Result<usize> {
        let entries = fs::read_dir("/run/netns")?.collect::<Result<Vec<_>, _>>()?;
        let mine = |name: &str| name.starts_with(&format!("{prefix}-"));
        Ok(entries.iter().filter(|entry| mine(&entry.file_name().to_string_lossy())).count())
    };
    assert_eq!(left()?, 10);
    let more = [PodSpec::new("default", "more", "worker", seed::IPVLAN_ETH0)];
    assert!(lab.run_pods(&seed::cluster().pods).is_err(), "they run already");
    assert_eq!(left()?, 10);
    let running = lab.run_pods(&more)?;
    assert!(lab.run_pods(&more).is_err(), "it runs already");
    assert_eq!(left()?, 11);
    drop(running);
    assert_eq!(left()?, 10);
    let mut server = lab.node("master")?.spawn(Command::new("sleep").arg("60"))?;
    drop(lab);
    assert_eq!(left()?, 0);
    assert!(!data.exists());
    server.kill()?;
    server.wait()?;

    let mut broken = seed::cluster();
    broken.nodes[1].sysctls.push(("ipv4/no_such_file".to_owned(), "1".to_owned()));
    let error = format!("{:#}", Lab::start(&broken).err().context("a sysctl that is not there")?);
    assert!(error.contains("no_such_file"), "{error}");
    Ok(())
}

/// Interrupted test runs filled `/run/netns` until somebody looked.
#[test]
fn the_first_lab_of_a_process_removes_what_a_killed_one_left() -> Result<()> {
    let mut ended = Command::new("sleep").arg("0").spawn()?;
    ended.wait()?;
    let name = |process: u32| format!("ipamlab{process}-999-vpc");
    let (orphan, living) = (name(ended.id()), name(process::id()));
    // A killed process may also have left a file on which nothing was mounted yet.
    let half_made = format!("{orphan}-half");
    let there = |name: &str| Path::new("/run/netns").join(name).exists();
    for name in [&orphan, &living] {
        assert!(Command::new("ip").args(["netns", "add", name]).status()?.success());
    }
    fs::write(Path::new("/run/netns").join(&half_made), "")?;

    // A process of its own: in this one another test may have started the first lab already.
    let test = "life::a_snapshot_shows_what_a_pod_left_on_its_node";
    let first = Command::new(std::env::current_exe()?).args(["--exact", test]).output()?;
    let left = [&orphan, &half_made, &living].map(|name| there(name));
    assert!(Command::new("ip").args(["netns", "delete", &living]).status()?.success());
    assert!(first.status.success(), "{first:?}");
    assert_eq!(left, [false, false, true], "orphan, half-made orphan, living process's");
    assert!(!e2e::remove_orphans()?.contains(&orphan), "it is gone");
    Ok(())
}

#[test]
fn a_snapshot_shows_what_a_pod_left_on_its_node() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let master = lab.node("master")?;
    let before = master.snapshot()?;
    assert_eq!(before.changes(&master.snapshot()?), Vec::<String>::new());
    master
        .ip("route add 172.31.199.185 dev eth0 table 500\nrule add lookup 500 priority 1000\n\
         neigh add 172.31.199.185 lladdr 00:16:3e:00:00:99 dev eth0 nud permanent\n")?;
    master.run(["ip", "-6", "rule", "add", "lookup", "500", "priority", "1000"])?.success()?;
    let changes = before.changes(&master.snapshot()?);
    assert_eq!(changes.len(), 4, "{changes:#?}");
    Ok(())
}

#[test]
fn a_plugin_is_run_as_libcni_does() -> Result<()> {
    let lab = Lab::start(&seed::cluster())?;
    let (master, pod) = (lab.node("master")?, lab.pod("default", "test-app-1-ddlx7")?);
    let plugins = tempfile::tempdir()?;
    let script = "#!/bin/sh\ncase $CNI_COMMAND in\n\
        ADD) cat >&2; /usr/bin/env; /usr/sbin/ip -br address; pwd;;\n\
        DEL) echo '{\"code\": 7}'; exit 1;;\n\
        CHECK) exec /bin/sleep 60;;\n\
        *) echo '{\"supportedVersions\": [\"1.1.0\"]}';;\nesac\n";
    let path = plugins.path().join("cni-script");
    fs::write(&path, script)?;
    Command::new("chmod").args(["+x".as_ref(), path.as_os_str()]).status()?;
    let runtime = master.runtime()?.with_plugin_dir(plugins.path());

    let answer = runtime.add("cni-script", "{}", pod, "eth0")?;
    assert!(answer.is_success() && answer.success().is_err(), "{answer:?}");
    let said = &answer.outcome.stdout;
    let spec = pod.spec();
    let cni_path = format!("CNI_PATH={}", plugins.path().display());
    let netns = format!("CNI_NETNS=/run/netns/{}", pod.name());
    let id = format!("CNI_CONTAINERID={}", spec.sandbox_id);
    let args = format!(
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=test-app-1-ddlx7;\
         K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        spec.sandbox_id, spec.uid
    );
    for line in ["CNI_COMMAND=ADD", "CNI_IFNAME=eth0", &cni_path, &netns, &id, &args, "/"] {
        assert!(said.lines().any(|said| said == line), "no {line} in {said}");
    }
    // PWD is the shell's own.
    let variables = said.lines().filter(|line| line.contains('=') && !line.starts_with("PWD="));
    assert!(variables.clone().all(|line| line.starts_with("CNI_")), "{said}");
    assert_eq!(variables.count(), 6, "{said}");
    assert!(said.contains("172.31.199.183/20"), "not in the node's namespace: {said}");
    assert_eq!(answer.outcome.stderr, "{}");

    assert_eq!(runtime.del("cni-script", "{}", pod, "eth0")?.error_code(), Some(7));
    assert_eq!(runtime.version("cni-script")?.success()?["supportedVersions"][0], "1.1.0");
    let missing = runtime.add("cni-none", "{}", pod, "eth0").unwrap_err().to_string();
    assert!(missing.contains("cargo build -p cni-none"), "{missing}");

    let call = Call::of("CHECK", "cni-script", "{}", pod, "eth0");
    let running = (0..64).map(|_| runtime.start(&call)).collect::<Result<Vec<_>>>()?;
    for mut plugin in running {
        plugin.kill()?;
        let answer = plugin.wait()?;
        assert!(!answer.is_success() && answer.json.is_none(), "{answer:?}");
    }
    Ok(())
}
