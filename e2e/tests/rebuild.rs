//! A new database from what the node knows, and leases to and from other allocators. As root.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use e2e::ipam::{INTERFACE, Ipam, NETWORK};
use e2e::operations;
use e2e::sandbox::{Sandbox, add, namespaces, sandboxes};
use serde_json::{Value, json};

const HOST_LOCAL: &str = "/usr/lib/cni/host-local";

/// One test at a time: each takes what is alive on the whole node into account.
static ALONE: Mutex<()> = Mutex::new(());

/// Who holds what, as far as these pods are concerned.
fn holders(pods: &[&Sandbox]) -> BTreeMap<String, String> {
    pods.iter().map(|pod| (pod.address.clone(), pod.container.clone())).collect()
}

/// What a runtime has of an ADD until the DEL: `libcni/api.go`, `cacheAdd`.
fn cache(folder: &Path, pod: &Sandbox) -> Result<()> {
    let netns = pod.namespace.path();
    let file = json!({
        "kind": "cniCacheV1",
        "containerId": pod.container,
        "config": "",
        "ifName": INTERFACE,
        "networkName": NETWORK,
        "netns": netns,
        "cniArgs": [["K8S_POD_NAMESPACE", "default"], ["K8S_POD_NAME", pod.container]],
        "result": {
            "cniVersion": "1.0.0",
            "interfaces": [{ "name": INTERFACE, "sandbox": netns }],
            "ips": [{ "address": format!("{}/16", pod.address), "interface": 0 }],
        },
    });
    let results = folder.join("results");
    fs::create_dir_all(&results)?;
    let name = format!("{NETWORK}-{}-{INTERFACE}", pod.container);
    Ok(fs::write(results.join(name), file.to_string())?)
}

/// An ADD that gives out every free address must meet none of these.
fn exhaust(ipam: &Ipam, taken: &BTreeMap<String, String>) -> Result<()> {
    for number in 0.. {
        let answer = ipam.add(&format!("late{number}"))?;
        if answer.error_code() == Some(11) {
            ensure!(number > 0, "there was no free address at all: {answer:?}");
            return Ok(());
        }
        let result = answer.success()?;
        let address = result["ips"][0]["address"].as_str().context("an address")?;
        let address = address.split('/').next().unwrap_or_default();
        ensure!(!taken.contains_key(address), "{address} is alive and was given out");
    }
    Ok(())
}

#[test]
fn a_rebuild_takes_what_lives_from_interfaces_results_and_the_export() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let caches = folder.path().join("cni").to_string_lossy().into_owned();
    let ipam = Ipam::new(folder.path().join("ipam"))?.with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.9")?.success()?;
    let mut pods = sandboxes(&ipam, 0, 6)?;
    let export = ipam.directory().join("export.json").to_string_lossy().into_owned();
    // c4 came after the export, and c5 with it: of the one there is a result, of the other nothing
    // but its address.
    for late in [4, 5] {
        ipam.del(&format!("c{late}"))?.success()?;
    }
    ipam.ipamctl(&["export", "--output", &export])?.success()?;
    for late in [4, 5] {
        let again = add(&ipam, &format!("c{late}"), &pods[late].namespace)?;
        let address = again.success()?["ips"][0]["address"].as_str().context("ip")?.to_owned();
        pods[late].address = address.split('/').next().unwrap_or_default().to_owned();
    }
    cache(folder.path().join("cni").as_path(), &pods[4])?;
    for pod in [&pods[0], &pods[1], &pods[5]] {
        pod.put_address()?;
    }
    // c2 lives without its address; c3 dies, and nobody hears of it.
    drop(pods.remove(3));
    let refused = ipam.ipamctl(&["rebuild", "--cache-dir", &caches])?;
    ensure!(refused.stderr.contains("can be read: check it with `ipamctl verify`"), "{refused:?}");

    fs::remove_file(ipam.directory().join("ipam.redb"))?;
    ensure!(ipam.add("early")?.error_code() == Some(103), "an address was handed out");
    let dry = ipam.ipamctl(&["rebuild", "--dry-run", "--cache-dir", &caches])?.success()?;
    ensure!(dry.contains("5 addresses would be held"), "{dry}");
    ensure!(ipam.add("early")?.error_code() == Some(103), "a dry run made a database");
    let rebuilt = ipam.ipamctl(&["rebuild", "--cache-dir", &caches])?;
    let mut seen = ipam.told(&rebuilt);
    seen.extend(rebuilt.success()?.lines().map(|line| format!("rebuild: {line}")));
    operations::compare("Rebuilding", &seen)?;

    let nobodys = pods.pop().context("c5")?;
    let mut expected = holders(&pods.iter().collect::<Vec<_>>());
    let held = ipam.held()?;
    let holder = held.get(&nobodys.address).context("the address that nobody knows")?;
    ensure!(holder.starts_with("netns-"), "{held:?}");
    expected.insert(nobodys.address.clone(), holder.clone());
    ensure!(held == expected, "{held:?}\n{expected:?}");
    exhaust(&ipam, &expected)?;
    for pod in &pods {
        ipam.del(&pod.container)?.success()?;
        ensure!(!ipam.held()?.contains_key(&pod.address), "{} still holds", pod.container);
    }
    ipam.ipamctl(&["verify"])?.success()?;
    Ok(())
}

/// The file was changed by hand, or an older copy was put back: the old one is kept for the curious.
#[test]
fn a_damaged_database_is_moved_aside_and_an_export_restored() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let caches = folder.path().join("cni").to_string_lossy().into_owned();
    fs::create_dir_all(folder.path().join("cni/results"))?;
    let ipam = Ipam::new(folder.path().join("ipam"))?.with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.9")?.success()?;
    let pods = sandboxes(&ipam, 1, 2)?;
    let export = folder.path().join("export.json");
    let export = export.to_string_lossy();
    ipam.ipamctl(&["export", "-o", &export])?.success()?;
    let late = namespaces(2, 1)?;
    let answer = add(&ipam, "late", &late[0])?;
    let address = answer.success()?["ips"][0]["address"].as_str().context("ip")?.to_owned();
    late[0].ip(&format!("link add x type bridge\naddr add {address} dev x"))?;

    let database = ipam.directory().join("ipam.redb");
    fs::write(&database, vec![7; 1 << 20])?;
    ensure!(ipam.add("early")?.error_code() == Some(103), "an address was handed out");
    // Not from a damaged export either.
    let text = fs::read_to_string(&*export)?;
    fs::write(&*export, text.replace("10.0.0.1\"", "10.0.0.3\""))?;
    let refused = ipam.ipamctl(&["restore", &export, "--cache-dir", &caches])?;
    ensure!(refused.stderr.contains("checksum"), "{refused:?}");
    ensure!(fs::read(&database)? == vec![7; 1 << 20], "the database was touched");
    fs::write(&*export, text)?;
    let restored = ipam.ipamctl(&["restore", &export, "--cache-dir", &caches])?.success()?;
    ensure!(restored.contains("restored: 1 pools, 3 leases"), "{restored}");
    let aside = restored.lines().next().context("a line")?;
    let aside = aside.strip_prefix("the database that was there is ").context("aside")?;
    let aside = aside.strip_suffix(" now").context("aside")?;
    ensure!(fs::read(aside)? == vec![7; 1 << 20], "{aside}");
    let held = ipam.held()?;
    for (address, container) in holders(&pods.iter().collect::<Vec<_>>()) {
        ensure!(held.get(&address) == Some(&container), "{held:?}");
    }
    // What lives and was not in the export is held for its namespace.
    let late_address = address.split('/').next().unwrap_or_default();
    ensure!(held.get(late_address).is_some_and(|who| who.starts_with("netns-")), "{held:?}");
    exhaust(&ipam, &held)
}

/// The whole directory was lost, or this allocator is new on a node that has pods.
#[test]
fn a_first_apply_begins_with_the_addresses_that_are_in_use() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?.with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.5")?.success()?;
    let pods = sandboxes(&ipam, 3, 2)?;
    pods[1].put_address()?;
    fs::remove_dir_all(ipam.directory())?;
    let applied = ipam.apply("10.0.0.1-10.0.0.5")?;
    ensure!(applied.stderr.contains("1 addresses are in use on this node already"), "{applied:?}");
    applied.success()?;
    let held = ipam.held()?;
    ensure!(held.len() == 1 && held.contains_key(&pods[1].address), "{held:?}");
    exhaust(&ipam, &held)
}

/// A pool that comes later, or grows, meets pods that live already.
#[test]
fn every_apply_holds_what_is_in_use_in_the_pools_it_changes() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?.with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.9")?.success()?;
    let pods = sandboxes(&ipam, 5, 3)?;
    pods[2].put_address()?;
    fs::remove_dir_all(ipam.directory())?;
    ipam.apply("10.0.0.1-10.0.0.2")?.success()?;
    ensure!(ipam.held()?.is_empty(), "{:?}", ipam.held()?);
    ipam.apply("10.0.0.1-10.0.0.9")?.success()?;
    let held = ipam.held()?;
    ensure!(held.len() == 1 && held.contains_key(&pods[2].address), "{held:?}");
    exhaust(&ipam, &held)
}

/// The story: an old export's holder of an address beat the pod that has it now, and was then ended
/// as one of an earlier boot; the address was given out while it was on an interface.
#[test]
fn a_restore_lets_who_lives_hold_before_who_is_in_the_export() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?.with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.3")?.success()?;
    ipam.add("old")?.success()?;
    let export = folder.path().join("export.json");
    let export = export.to_string_lossy();
    ipam.ipamctl(&["export", "-o", &export])?.success()?;
    ipam.del("old")?.success()?;
    let pods = sandboxes(&ipam, 6, 1)?;
    ensure!(pods[0].address == "10.0.0.1", "{}", pods[0].address);
    pods[0].put_address()?;
    fs::write(ipam.directory().join("ipam.redb"), vec![7; 1 << 20])?;
    ipam.ipamctl(&["restore", &export])?.success()?;
    ipam.del("old")?.success()?;
    let held = ipam.held()?;
    ensure!(held.get("10.0.0.1").is_some_and(|who| who != "old"), "{held:?}");
    exhaust(&ipam, &held)
}

/// What was given while somebody rebuilt a database that could be read is not forgotten; and a
/// rebuild that cannot look at the node leaves everything as it is.
#[test]
fn a_forced_rebuild_keeps_the_leases_that_live() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?.with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.9")?.success()?;
    // Neither on an interface nor in a result cache.
    let pods = sandboxes(&ipam, 7, 2)?;
    let failed = ipam.ipamctl(&["rebuild", "--force", "--cache-dir", "/nowhere"])?;
    ensure!(!failed.status.success(), "{failed:?}");
    ensure!(ipam.held()?.len() == 2, "{:?}", ipam.held()?);
    let caches = folder.path().join("cni").to_string_lossy().into_owned();
    fs::create_dir_all(folder.path().join("cni/results"))?;
    ipam.ipamctl(&["rebuild", "--force", "--cache-dir", &caches])?.success()?;
    let expected = holders(&pods.iter().collect::<Vec<_>>());
    ensure!(ipam.held()? == expected, "{:?}", ipam.held()?);
    exhaust(&ipam, &expected)
}

fn host_local(folder: &Path, verb: &str, pod: (&str, &str), range: &str) -> Result<Value> {
    let (first, last) = range.split_once('-').context("a range")?;
    let configuration = json!({
        "cniVersion": "1.0.0",
        "name": NETWORK,
        "ipam": {
            "type": "host-local",
            "dataDir": folder,
            "ranges": [[{ "subnet": "10.0.0.0/16", "rangeStart": first, "rangeEnd": last }]],
        },
    });
    let mut child = Command::new(HOST_LOCAL)
        .env_clear()
        .envs([("CNI_COMMAND", verb), ("CNI_CONTAINERID", pod.0), ("CNI_NETNS", pod.1)])
        .envs([("CNI_IFNAME", INTERFACE), ("CNI_PATH", "/usr/lib/cni")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{HOST_LOCAL}: install containernetworking-plugins"))?;
    let mut stdin = child.stdin.take().context("a pipe")?;
    stdin.write_all(configuration.to_string().as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{text}");
    Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
}

/// From host-local to us on a running node, and back.
#[test]
fn leases_of_host_local_are_taken_over_and_given_back() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let theirs = folder.path().join("networks");
    let range = "10.0.0.2-10.0.0.9";
    let namespaces = namespaces(4, 3)?;
    let mut given = BTreeMap::new();
    for (number, namespace) in namespaces.iter().enumerate() {
        let (container, path) = (format!("h{number}"), namespace.path());
        let result = host_local(&theirs, "ADD", (&container, &path.to_string_lossy()), range)?;
        let address = result["ips"][0]["address"].as_str().context("an address")?.to_owned();
        // h2 is not alive any more.
        if number < 2 {
            namespace.ip(&format!(
                "link add {INTERFACE} type bridge\naddr add {address} dev {INTERFACE}"
            ))?;
        }
        let address = address.split('/').next().unwrap_or_default().to_owned();
        given.insert(address, container);
    }
    // A process that died between creating the file and writing it.
    fs::write(theirs.join(NETWORK).join("10.0.0.9"), "")?;

    let ipam = Ipam::new(folder.path().join("ipam"))?.with("cooldownSeconds", 0);
    ipam.apply(range)?.success()?;
    let directory = theirs.to_string_lossy();
    let imported = ipam.ipamctl(&["import", "host-local", &directory])?.success()?;
    ensure!(imported.contains("2 leases imported"), "{imported}");
    ensure!(imported.contains("10.0.0.9 of net: an empty file"), "{imported}");
    ensure!(imported.contains("net/h2/eth0: nothing of it lives"), "{imported}");
    given.retain(|_, container| container != "h2");
    ensure!(ipam.held()? == given, "{:?} {given:?}", ipam.held()?);
    let again = ipam.ipamctl(&["import", "host-local", &directory])?.success()?;
    ensure!(again.contains("0 leases imported"), "{again}");
    exhaust(&ipam, &given)?;
    ipam.del("h0")?.success()?;
    ensure!(ipam.held()?.values().all(|container| container != "h0"), "{:?}", ipam.held()?);

    let back = folder.path().join("back");
    let written = back.to_string_lossy();
    let held = ipam.held()?;
    let arguments = ["export", "--format", "host-local", "-o", &written];
    let exported = ipam.ipamctl(&arguments)?.success()?;
    ensure!(exported.contains(&format!("{} reservations written", held.len())), "{exported}");
    let result = host_local(&back, "ADD", ("new", "/proc/self/ns/net"), range)?;
    let address = result["ips"][0]["address"].as_str().context("an address")?;
    let address = address.split('/').next().unwrap_or_default();
    ensure!(!held.contains_key(address), "{address} is held and was given out");
    host_local(&back, "DEL", ("h1", ""), range)?;
    let h1 = given.iter().find(|(_, container)| *container == "h1").context("h1")?.0;
    ensure!(!back.join(NETWORK).join(h1).exists(), "host-local did not release what we wrote");
    Ok(())
}
