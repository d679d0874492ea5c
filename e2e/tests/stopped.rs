//! A process that stops while it holds the lock.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::ipam::Ipam;
use e2e::{Running, operations};
use rustix::process::{Pid, Signal, kill_process};

/// How many processes are tried until one is stopped while it has the lock.
const TRIES: usize = 500;

fn signal(running: &Running, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(running.id().try_into()?).context("a process id")?;
    Ok(kill_process(pid, signal)?)
}

/// Whether the kernel has an `flock` of this process on its list, or more than the one.
fn holds_a_lock(pid: u32) -> Result<bool> {
    let locks = std::fs::read_to_string("/proc/locks")?;
    Ok(locks.lines().any(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        words.get(1) == Some(&"FLOCK") && words.get(4) == Some(&pid.to_string().as_str())
    }))
}

fn is_stopped(pid: u32) -> Result<bool> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after) = stat.rsplit_once(") ").context("the state in /proc/PID/stat")?;
    Ok(after.starts_with('T'))
}

/// An ADD that is stopped and has the lock.
fn stopped_add(ipam: &Ipam) -> Result<(String, Running)> {
    for number in 0..TRIES {
        let container = format!("stopped-{number}");
        let mut running = ipam.start(&ipam.call("ADD", &container))?;
        let own = format!("pid {} ", running.id());
        while !running.has_ended()? && !ipam.lock_note().starts_with(&own) {
            thread::yield_now();
        }
        if running.has_ended()? {
            ipam.del(&container)?.success()?;
            continue;
        }
        signal(&running, Signal::STOP)?;
        while !running.has_ended()? && !is_stopped(running.id())? {
            thread::yield_now();
        }
        if !running.has_ended()? && holds_a_lock(running.id())? {
            return Ok((container, running));
        }
        signal(&running, Signal::CONT)?;
        running.wait()?.success()?;
        ipam.del(&container)?.success()?;
    }
    bail!("none of {TRIES} ADDs was stopped while it had the lock");
}

#[test]
fn a_stopped_holder_costs_others_their_deadline_and_no_more() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?.with("lockTimeoutMs", 400);
    ipam.apply("10.0.0.1-10.0.0.250")?.success()?;
    ipam.add("live")?.success()?;

    let (container, stopped) = stopped_add(&ipam)?;
    let mut seen = Vec::new();
    for (verb, answer) in [("ADD", ipam.add("other")), ("DEL", ipam.del("live"))] {
        let begun = Instant::now();
        let answer = answer?;
        ensure!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        ensure!(answer.error_code() == Some(11), "{answer:?}");
        let said = ipam.said(verb, &answer);
        let holder = format!("held by cni-ipam (pid {}) for ", stopped.id());
        ensure!(said[0].contains(&holder), "{said:?}");
        seen.extend(said);
    }
    let shown = ipam.ipamctl(&["--lock-timeout", "0", "get", "ips"])?;
    ensure!(!shown.status.success(), "{shown:?}");
    seen.extend(ipam.told(&shown));
    // Busy is no failure: a runtime would take the node for not ready.
    ipam.status()?.success()?;
    operations::compare("Somebody holds the lock", &seen)?;

    signal(&stopped, Signal::CONT)?;
    stopped.wait()?.success()?;
    for container in [container.as_str(), "live"] {
        ipam.del(container)?.success()?;
    }
    ensure!(ipam.held()?.is_empty(), "{:?}", ipam.held()?);
    Ok(())
}

#[test]
fn the_lock_of_a_stopped_holder_that_is_killed_is_free_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?.with("lockTimeoutMs", 400);
    ipam.apply("10.0.0.1-10.0.0.250")?.success()?;
    let (container, mut stopped) = stopped_add(&ipam)?;
    // One that waits already, and longer than the others.
    let patient = ipam.clone().with("lockTimeoutMs", 60_000);
    let waiting = patient.start(&patient.call("ADD", "waiting"))?;
    ensure!(ipam.add("other")?.error_code() == Some(11), "the lock is not held");
    stopped.kill()?;
    stopped.wait()?;
    let begun = Instant::now();
    ipam.add("next")?.success()?;
    ensure!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    waiting.wait()?.success()?;
    ipam.del(&container)?.success()?;
    let held = ipam.held()?;
    ensure!(held.values().all(|holder| ["next", "waiting"].contains(&holder.as_str())), "{held:?}");
    ensure!(held.len() == 2, "{held:?}");
    Ok(())
}
