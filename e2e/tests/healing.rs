//! Leases of namespaces that are gone, and the runtime's garbage collection. As root.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::deployment::addresses;
use e2e::ipam::{INTERFACE, Ipam};
use e2e::operations;
use e2e::sandbox::{add, namespaces, sandboxes};
use serde_json::{Value, json};

/// One test at a time: the kernel gives a dead namespace's inode number to the next one that is
/// made, and a lease whose number lives stays.
static ALONE: Mutex<()> = Mutex::new(());

/// How long what has to happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Repeats until a whole second has gone by since the youngest lease and more: what is judged is
/// never younger than the look at the node.
fn until<T>(mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            bail!("nothing after {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_full_pool_gives_out_the_addresses_of_dead_namespaces_and_of_no_live_one() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let ipam =
        Ipam::new(folder.path().join("ipam"))?.with("graceSeconds", 1).with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.10")?.success()?;
    let mut live = sandboxes(&ipam, 0, 10)?;
    let late = namespaces(1, 6)?;
    let full = add(&ipam, "late-0", &late[0])?;
    ensure!(full.error_code() == Some(11), "{full:?}");
    let mut seen = ipam.said("ADD", &full);
    seen.retain(|line| !line.contains("nothing is freed"));

    let refuge = namespaces(2, 1)?;
    // Five die, of which the address of one is still on an interface somewhere.
    let mut dead: Vec<_> = live.drain(..5).collect();
    let moved = dead.pop().context("five died")?;
    refuge[0].ip(&format!("link add x type bridge\naddr add {}/16 dev x", moved.address))?;
    let expected: BTreeMap<_, _> =
        dead.iter().map(|pod| (pod.address.clone(), pod.container.clone())).collect();
    drop(dead);
    drop(moved.namespace);

    // The youngest of them may be in its grace period for a moment longer than the others.
    let (mut given, mut said) = (BTreeSet::new(), Vec::new());
    for (number, namespace) in late.iter().enumerate().take(expected.len()) {
        let answer = until(|| {
            let answer = add(&ipam, &format!("late-{number}"), namespace)?;
            Ok((answer.error_code() != Some(11)).then_some(answer))
        })?;
        given.extend(addresses(&answer)?);
        said.extend(ipam.said("ADD", &answer));
    }
    for (address, container) in &expected {
        let words = format!("freed {address} of net/{container}/eth0 (pod default/{container}");
        ensure!(said.iter().filter(|line| line.contains(&words)).count() == 1, "{words}: {said:?}");
    }
    ensure!(said.len() == expected.len(), "{said:?}");
    seen.extend(said);
    ensure!(given.iter().eq(expected.keys()), "{given:?} {expected:?}");
    for (number, namespace) in late.iter().enumerate().skip(expected.len()) {
        let answer = add(&ipam, &format!("late-{number}"), namespace)?;
        ensure!(answer.error_code() == Some(11), "a live pod's address was given out: {answer:?}");
    }
    let held = ipam.held()?;
    for pod in &live {
        ensure!(held.get(&pod.address) == Some(&pod.container), "{} {held:?}", pod.container);
    }
    ensure!(held.get(&moved.address) == Some(&moved.container), "{held:?}");
    operations::compare("A pool has no free address", &seen)
}

#[test]
fn a_requested_address_is_taken_from_a_dead_holder_and_from_no_live_one() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let ipam =
        Ipam::new(folder.path().join("ipam"))?.with("graceSeconds", 1).with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.10")?.success()?;
    let mut pods = sandboxes(&ipam, 4, 2)?;
    let late = namespaces(5, 1)?;
    let request = |address: &str| -> Result<_> {
        let mut call = ipam.call("ADD", "late");
        call.netns = late[0].path().to_string_lossy().into_owned();
        call.args = format!("IgnoreUnknown=1;IP={address}");
        ipam.start(&call)?.wait()
    };
    let dead = pods.remove(0);
    let address = dead.address.clone();
    drop(dead);
    let answer = until(|| {
        let answer = request(&address)?;
        Ok((answer.error_code() != Some(11)).then_some(answer))
    })?;
    ensure!(addresses(&answer)? == [address], "{answer:?}");
    ipam.del("late")?.success()?;
    let answer = request(&pods[0].address)?;
    ensure!(answer.error_code() == Some(11), "{answer:?}");
    Ok(())
}

#[test]
fn within_the_grace_period_a_dead_namespace_keeps_its_address() -> Result<()> {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?
        .with("graceSeconds", 3600)
        .with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.2")?.success()?;
    drop(sandboxes(&ipam, 3, 2)?);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        let answer = ipam.add("late")?;
        ensure!(answer.error_code() == Some(11), "{answer:?}");
    }
    Ok(())
}

fn attachments(containers: &[&str]) -> Value {
    let item = |container: &&str| json!({ "containerID": container, "ifname": INTERFACE });
    Value::Array(containers.iter().map(item).collect())
}

/// GC with this list until it has freed something, and what it said.
fn gc_until_freed(ipam: &Ipam, valid: &Value) -> Result<Vec<String>> {
    until(|| {
        let answer = ipam.gc(Some(valid))?;
        answer.success()?;
        let said = ipam.said("GC", &answer);
        // It frees nothing when it could not look at all of the node, which may pass.
        let has_freed = said.iter().any(|line| line.contains("cni-ipam: freed "));
        Ok(has_freed.then_some(said))
    })
}

fn holders(ipam: &Ipam) -> Result<BTreeSet<String>> {
    Ok(ipam.held()?.into_values().collect())
}

#[test]
fn gc_frees_at_once_what_the_list_lacks_but_for_addresses_on_interfaces() -> Result<()> {
    let _alone = ALONE.lock();
    for empty in [json!([]), Value::Null] {
        let folder = tempfile::tempdir()?;
        // The grace period is not for what a runtime's list lacks.
        let ipam = Ipam::new(folder.path().join("ipam"))?.with("graceSeconds", 3600);
        ipam.apply("10.0.0.1-10.0.0.250")?.success()?;
        let pods = sandboxes(&ipam, 4, 4)?;
        // c0 and c1 have their interfaces, c2 and c3 are namespaces without.
        pods[0].put_address()?;
        pods[1].put_address()?;
        ensure!(holders(&ipam)?.len() == 4, "{:?}", holders(&ipam)?);

        // Neither is anything freed without a list, however often it comes.
        for _ in 0..3 {
            let answer = ipam.gc(None)?;
            answer.success()?;
            ensure!(holders(&ipam)?.len() == 4, "{answer:?}");
        }
        // The list lacks c1, which lives, and c3.
        let said = gc_until_freed(&ipam, &attachments(&["c0", "c2"]))?;
        ensure!(said.len() == 1 && said[0].contains(" of net/c3/eth0"), "{said:?}");
        let left = ["c0", "c1", "c2"].map(str::to_owned);
        ensure!(holders(&ipam)? == left.into(), "{:?}", holders(&ipam)?);
        operations::compare("The runtime collects garbage", &said)?;

        let said = gc_until_freed(&ipam, &empty)?;
        ensure!(said.len() == 1 && said[0].contains(" of net/c2/eth0"), "{said:?}");
        ensure!(holders(&ipam)? == ["c0", "c1"].map(str::to_owned).into(), "{:?}", ipam.held()?);
        drop(pods);
        let said = gc_until_freed(&ipam, &empty)?;
        ensure!(said.len() == 2, "{said:?}");
        ensure!(holders(&ipam)?.is_empty(), "{:?}", holders(&ipam)?);
    }
    Ok(())
}
