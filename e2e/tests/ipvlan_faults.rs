//! Errors and signals at every moment of an ADD and a DEL on a real ipvlan kernel. As root.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::deployment::{Deployment, INTERFACE, PLUGIN};
use e2e::{Answer, Call, Lab, Pod, Trace, plugin_dir, seed};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// The plugin with requests that can be made to fail; `cargo xtask test` builds it.
const FAULTY: &str = "cni-ipvlan-faulty";

/// An ADD looks for the master's mode in the namespaces that there are: how many requests it makes
/// depends on those of other tests.
static ALONE: Mutex<()> = Mutex::new(());

/// More than any verb makes.
const MOST_REQUESTS: u32 = 200;

/// A verb of the first pod whose `fault`-th request fails; whether it got that far.
fn faulty(
    lab: &Lab,
    deployment: &Deployment<'_>,
    verb: &str,
    fault: &str,
) -> Result<(Answer, bool)> {
    let pod = &lab.pods()[0];
    let conf = deployment.configuration_of(pod)?.to_string();
    let mut call = Call::of(verb, FAULTY, &conf, pod, INTERFACE);
    call.environment.push(("CNI_NET_FAULT".into(), fault.into()));
    let answer = lab.node(&pod.spec().node)?.runtime()?.start(&call)?.wait()?;
    let reached = answer.outcome.stderr.contains("as CNI_NET_FAULT says");
    Ok((answer, reached))
}

/// With IPv6 switched off on the loopback, which an ADD switches on.
fn start(lab: &Lab) -> Result<(Deployment<'_>, &Pod)> {
    let deployment = Deployment::start(lab, seed::DUAL_STACK_POOLS)?;
    let pod = &lab.pods()[0];
    pod.enter(|| Ok(fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1")?))?;
    Ok((deployment, pod))
}

/// Each request of an ADD in turn is refused, and then each is done and its answer lost.
#[test]
fn an_add_whose_nth_request_fails_leaves_kernel_and_database_as_before() -> Result<()> {
    let _alone = ALONE.lock();
    let lab = Lab::start(&seed::one_node())?;
    let (deployment, pod) = start(&lab)?;
    println!("{}", sweep(&lab, &deployment, pod)?);
    Ok(())
}

/// The same where the number that the link would get is another's, so that the link is made under a
/// name that nobody has and renamed.
#[test]
fn an_add_that_has_to_rename_its_link_leaves_nothing_either() -> Result<()> {
    let _alone = ALONE.lock();
    let lab = Lab::start(&seed::one_node())?;
    let (deployment, pod) = start(&lab)?;
    let index = || -> Result<u64> {
        let shown = pod.run(["ip", "-j", "link", "show", INTERFACE])?.success()?;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        shown[0]["ifindex"].as_u64().context("an index")
    };
    deployment.add(pod)?.success()?;
    let chosen = index()?;
    deployment.del(pod)?.success()?;
    lab.node("master")?.ip(&format!("link add taken index {chosen} type bridge\n"))?;
    deployment.add(pod)?.success()?;
    assert_ne!(index()?, chosen);
    deployment.del(pod)?.success()?;
    pod.enter(|| Ok(fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1")?))?;
    println!("{}", sweep(&lab, &deployment, pod)?);
    Ok(())
}

/// Answers how many ADDs failed, in words.
fn sweep(lab: &Lab, deployment: &Deployment<'_>, pod: &Pod) -> Result<String> {
    let mut said = Vec::new();
    let before = Trace::of(lab, deployment, pod)?;
    for kind in ["", "+"] {
        let (mut failed, mut forgiven) = (0, 0);
        for number in 1.. {
            ensure!(number < MOST_REQUESTS, "no ADD makes so many requests");
            let fault = format!("{number}{kind}");
            let (answer, reached) = faulty(lab, deployment, "ADD", &fault)?;
            if answer.is_success() {
                let result = answer.success()?.clone();
                let check = deployment.call("CHECK", pod, |it| it["prevResult"] = result)?;
                assert_eq!(check.success()?, &serde_json::Value::Null, "request {fault}");
                deployment.del(pod)?.success()?;
                pod.enter(|| Ok(fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1")?))?;
                forgiven += u32::from(reached);
            } else {
                ensure!(reached && answer.json.is_some(), "{answer:?}");
                failed += 1;
            }
            let changes = before.changes(&Trace::of(lab, deployment, pod)?);
            assert_eq!(changes, Vec::<String>::new(), "request {fault}: {answer:?}");
            if !reached {
                break;
            }
        }
        said.push(format!("fault {kind:?}: {failed} ADDs failed, {forgiven} went on"));
        // What only asks, or only announces, may fail.
        assert!(failed >= 6, "{failed}");
    }
    Ok(said.join("; "))
}

/// A DEL goes on where it can; what is left is for the next, and never an address that is free
/// while its link lives.
#[test]
fn a_del_whose_nth_request_fails_is_ended_by_the_next() -> Result<()> {
    let _alone = ALONE.lock();
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let pod = &lab.pods()[0];
    deployment.add(pod)?.success()?;
    deployment.del(pod)?.success()?;
    let before = Trace::of(&lab, &deployment, pod)?;
    for kind in ["", "+"] {
        for number in 1.. {
            ensure!(number < MOST_REQUESTS, "no DEL makes so many requests");
            deployment.add(pod)?.success()?;
            let (answer, reached) = faulty(&lab, &deployment, "DEL", &format!("{number}{kind}"))?;
            let link_lives = pod.run(["ip", "link", "show", INTERFACE])?.status.success();
            let held = deployment.leases("master")?.len();
            assert!(!link_lives || held == 2, "request {number}{kind}: {answer:?}");
            assert_eq!(answer.is_success(), held == 0, "request {number}{kind}: {answer:?}");
            deployment.del(pod)?.success()?;
            let changes = before.changes(&Trace::of(&lab, &deployment, pod)?);
            assert_eq!(changes, Vec::<String>::new(), "request {number}{kind}");
            if !reached {
                break;
            }
        }
    }
    Ok(())
}

const SIGNALS: u32 = 40;

/// SIGTERM at any moment: a whole ADD, or no trace of one, without any DEL.
#[test]
fn an_add_that_is_told_to_end_is_whole_or_takes_all_back() -> Result<()> {
    let _alone = ALONE.lock();
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let pod = &lab.pods()[0];
    let conf = deployment.configuration_of(pod)?.to_string();
    let runtime = lab.node("master")?.runtime()?;
    let add = || runtime.start(&Call::of("ADD", PLUGIN, &conf, pod, INTERFACE));
    let mut whole = Duration::ZERO;
    for _ in 0..3 {
        let running = add()?;
        let began = Instant::now();
        running.wait()?.success()?;
        whole = began.elapsed();
        deployment.del(pod)?.success()?;
    }
    let before = Trace::of(&lab, &deployment, pod)?;
    let (mut taken_back, mut ended, mut done) = (0, 0, 0);
    for attempt in 0..SIGNALS {
        let running = add()?;
        // Not a wait for anything: the moment of the signal is what varies.
        sleep(whole * (attempt * 37 % 100) / 90);
        let pid = Pid::from_raw(i32::try_from(running.id())?);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM)?;
        }
        let answer = running.wait()?;
        match answer.outcome.status.code() {
            Some(0) => {
                done += 1;
                deployment.del(pod)?.success()?;
            }
            // Before it had anything to take back.
            None => ended += 1,
            Some(_) => {
                assert_eq!(answer.error_code(), Some(11), "{answer:?}");
                assert!(answer.outcome.stdout.contains("interrupted by SIGTERM"), "{answer:?}");
                taken_back += 1;
            }
        }
        let changes = before.changes(&Trace::of(&lab, &deployment, pod)?);
        assert_eq!(changes, Vec::<String>::new(), "{answer:?}");
    }
    println!(
        "of {SIGNALS} ADDs {taken_back} took all back, {ended} ended at once, {done} were whole"
    );
    assert!(taken_back > 0, "no signal met an ADD at work");
    Ok(())
}

/// An IPAM plugin that holds an address once it is asked for one, and never answers: a script, whose
/// child has its output.
const SLOW: &str = r#"#!/bin/sh
cd "${0%/*}"
case $CNI_COMMAND in
ADD) echo $$ > new && mv new held && sleep 600 ;;
DEL) rm -f held ;;
esac
"#;

/// SIGTERM while another plugin looks for an address: it is told to end, and asked to take back.
#[test]
fn an_add_that_is_told_to_end_ends_the_ipam_plugin_that_it_waits_for() -> Result<()> {
    let _alone = ALONE.lock();
    let lab = Lab::start(&seed::one_node())?;
    let deployment = Deployment::start(&lab, seed::DUAL_STACK_POOLS)?;
    let pod = &lab.pods()[0];
    let folder = lab.data_dir().join("bin");
    fs::create_dir(&folder)?;
    symlink(plugin_dir()?.join(PLUGIN), folder.join(PLUGIN))?;
    fs::write(folder.join("slow"), SLOW)?;
    fs::set_permissions(folder.join("slow"), fs::Permissions::from_mode(0o755))?;
    let before = Trace::of(&lab, &deployment, pod)?;
    let mut conf = deployment.configuration_of(pod)?;
    conf["ipam"] = json!({"type": "slow"});
    let runtime = lab.node("master")?.runtime()?.with_plugin_dir(&folder);
    let mut running = runtime.start(&Call::of("ADD", PLUGIN, &conf.to_string(), pod, INTERFACE))?;
    let deadline = Instant::now() + Duration::from_secs(120);
    let held = folder.join("held");
    while !held.exists() {
        ensure!(Instant::now() < deadline && !running.has_ended()?, "slow was not asked");
        sleep(Duration::from_millis(5));
    }
    let process = Path::new("/proc").join(fs::read_to_string(&held)?.trim());
    if let Some(pid) = Pid::from_raw(i32::try_from(running.id())?) {
        kill_process(pid, Signal::TERM)?;
    }
    while !running.has_ended()? {
        ensure!(Instant::now() < deadline, "it waits for slow");
        sleep(Duration::from_millis(5));
    }
    let answer = running.wait()?;
    assert_eq!(answer.error_code(), Some(11), "{answer:?}");
    assert!(answer.outcome.stdout.contains("interrupted by SIGTERM"), "{answer:?}");
    assert!(!process.exists(), "slow lives");
    assert!(!held.exists(), "slow holds its address");
    assert_eq!(before.changes(&Trace::of(&lab, &deployment, pod)?), Vec::<String>::new());
    Ok(())
}
