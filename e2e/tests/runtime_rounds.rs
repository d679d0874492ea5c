//! Pods started and stopped by real runtimes while processes are killed at random moments: nothing
//! stays. As root, on a real ipvlan kernel.
//!
//! `NODE_IPAM_ROUNDS` says how many rounds containerd does, and podman a third as many.

use std::collections::BTreeMap;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::runtimes::setting::{self, NODE};
use e2e::runtimes::{
    Addresses, Boot, Conflist, Containerd, Image, PodSandboxConfig, Podman, Remains,
    remove_forgotten, wait_for,
};
use e2e::{Lab, Random};

/// Containerd's; podman does a third. 75 make a hundred of both.
const ROUNDS: u64 = 30;

/// Pods at a time; more only wait for processors.
const WORKERS: u64 = 2;

/// How long podman may take for a command, which is a few seconds for one that nobody disturbs.
const COMMAND: Duration = Duration::from_secs(60);

/// How long what has to happen may take.
const PATIENCE: Duration = Duration::from_secs(300);

const DUAL: Addresses = Addresses::Pools { v4: &["v4"], v6: &["v6"] };

fn rounds() -> Result<u64> {
    match std::env::var("NODE_IPAM_ROUNDS") {
        Ok(text) => text.parse().context("NODE_IPAM_ROUNDS"),
        Err(_) => Ok(ROUNDS),
    }
}

/// Kills, and counts whom it has hit.
struct Killer<'boot> {
    boot: &'boot Boot<'boot>,
    victims: &'static [&'static str],
    /// How long a start takes that nobody disturbs, in milliseconds.
    typical: AtomicU64,
    hit: Mutex<BTreeMap<String, u64>>,
}

impl Killer<'_> {
    /// While `action` runs, kills what has a random name of the victims: as soon as there is one,
    /// or after a random part of the time that the action takes. Every third time it kills nobody.
    fn during<T: Send>(&self, random: &mut Random, action: impl FnOnce() -> T + Send) -> Result<T> {
        let victim = *random.pick(self.victims).context("there are victims")?;
        let spared = random.chance(33);
        let typical = self.typical.load(Ordering::Relaxed);
        // The plugins live for a short time: half of the kills wait for one and no longer.
        let delay = if random.chance(50) { 0 } else { random.below(typical) };
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            let killer = scope.spawn(|| {
                if spared {
                    return Ok(());
                }
                let begun = Instant::now();
                while !ended.load(Ordering::Relaxed) {
                    if begun.elapsed() >= Duration::from_millis(delay) {
                        let hit = self.boot.kill(&[victim])?;
                        if !hit.is_empty() {
                            let mut counts = self.hit.lock().expect("nobody panics with it");
                            *counts.entry(victim.to_owned()).or_default() += 1;
                            break;
                        }
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                anyhow::Ok(())
            });
            let begun = Instant::now();
            let answer = action();
            ended.store(true, Ordering::Relaxed);
            if spared {
                let took = u64::try_from(begun.elapsed().as_millis())?;
                self.typical.store(typical - typical / 4 + took / 4, Ordering::Relaxed);
            }
            killer.join().expect("the killer does not panic")?;
            Ok(answer)
        })
    }
}

/// Repeats what a kubelet or an operator would repeat.
fn repeat(what: &str, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.context(what.to_owned())),
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

#[test]
fn containerd_leaves_nothing_whoever_is_killed() -> Result<()> {
    let lab = Lab::start(&setting::cluster())?;
    let node = lab.node(NODE)?;
    let boot = setting::boot(node, setting::POOLS)?;
    let network = Conflist::new("dual", "eth0", DUAL).with_portmap();
    network.install(&boot, 10)?;
    let containerd = Mutex::new(Containerd::start(&boot, 1)?);
    let cri = containerd.lock().expect("nobody panics with it").cri();
    containerd.lock().expect("nobody panics with it").import(&Image::make()?)?;
    let before = Remains::of(&boot)?;
    let total = rounds()?;
    let (started, started_pods) = (AtomicU64::new(0), AtomicU64::new(0));
    let victims = &["cni-ipvlan", "cni-ipvlan", "portmap", "runc", "containerd-shim", "containerd"];
    let typical = AtomicU64::new(2000);
    let killer = Killer { boot: &boot, victims, typical, hit: Mutex::default() };
    let work = |worker: u64| -> Result<()> {
        let mut random = Random(worker);
        loop {
            let round = started.fetch_add(1, Ordering::Relaxed);
            if round >= total {
                return Ok(());
            }
            // Nobody asks a runtime that is not there: that would be no round.
            wait_for("containerd", PATIENCE, || Ok(cri.version().ok()))?;
            let pod = PodSandboxConfig::new(&format!("pod-{round}"));
            let sandbox = killer.during(&mut random, || cri.run_pod_sandbox(&pod))?;
            if let Ok(sandbox) = sandbox {
                started_pods.fetch_add(1, Ordering::Relaxed);
                let _ = killer.during(&mut random, || cri.stop_pod_sandbox(&sandbox))?;
                let _ = cri.remove_pod_sandbox(&sandbox);
            }
        }
    };
    let begun = Instant::now();
    let finished = AtomicBool::new(false);
    thread::scope(|scope| {
        // What systemd does.
        let supervisor = scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                let mut containerd = containerd.lock().expect("nobody panics with it");
                if containerd.has_ended()? {
                    *containerd = Containerd::start(&boot, 1)?;
                }
                drop(containerd);
                thread::sleep(Duration::from_millis(100));
            }
            anyhow::Ok(())
        });
        let workers: Vec<_> =
            (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        let worked: Result<()> =
            workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"));
        finished.store(true, Ordering::Relaxed);
        supervisor.join().expect("no panic")?;
        worked
    })?;
    let hit = killer.hit.lock().expect("nobody panics with it");
    let ran = started_pods.load(Ordering::Relaxed);
    eprintln!("{total} rounds in {:?}, {ran} pods ran, killed {hit:?}", begun.elapsed());
    ensure!(ran >= total / 4, "too few pods ran: {ran}");
    ensure!(hit.values().sum::<u64>() >= total / 4, "too few kills: {hit:?}");

    repeat("sandboxes that cannot be removed", || {
        let mut containerd = containerd.lock().expect("nobody panics with it");
        if containerd.has_ended()? {
            *containerd = Containerd::start(&boot, 1)?;
        }
        for sandbox in cri.pod_sandboxes()? {
            cri.end_pod_sandbox(&sandbox)?;
        }
        Ok(())
    })?;
    remove_forgotten(&boot, &network, &before, 0).map(drop)
}

#[test]
fn podman_leaves_nothing_whoever_is_killed() -> Result<()> {
    let lab = Lab::start(&setting::cluster())?;
    let node = lab.node(NODE)?;
    let boot = setting::boot(node, setting::POOLS)?;
    let network = Conflist::new("dual", "eth0", DUAL);
    network.install(&boot, 10)?;
    let podman = Podman::set_up(&boot)?;
    podman.load(&Image::make()?)?;
    let podman = podman.with_patience(COMMAND);
    let before = Remains::of(&boot)?;
    let total = rounds()? / 3;
    let (started, ran) = (AtomicU64::new(0), AtomicU64::new(0));
    let victims = &["cni-ipvlan", "cni-ipvlan", "conmon", "crun", "podman"];
    let typical = AtomicU64::new(3000);
    let killer = Killer { boot: &boot, victims, typical, hit: Mutex::default() };
    let work = |worker: u64| -> Result<()> {
        let mut random = Random(100 + worker);
        loop {
            let round = started.fetch_add(1, Ordering::Relaxed);
            if round >= total {
                return Ok(());
            }
            let name = format!("pod-{round}");
            if killer.during(&mut random, || podman.run(&name, &["dual"], &[]))?.is_ok() {
                ran.fetch_add(1, Ordering::Relaxed);
            }
            let _ = killer.during(&mut random, || podman.remove(&name))?;
        }
    };
    let begun = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    let hit = killer.hit.lock().expect("nobody panics with it");
    let ran = ran.load(Ordering::Relaxed);
    eprintln!("{total} rounds in {:?}, {ran} pods ran, killed {hit:?}", begun.elapsed());
    ensure!(ran >= total / 4, "too few pods ran: {ran}");
    ensure!(hit.values().sum::<u64>() >= total / 4, "too few kills: {hit:?}");

    repeat("containers that cannot be removed", || {
        podman.call(&["rm", "-f", "-a", "-t", "0"])?.success().map(drop)
    })?;
    let lost_dels = hit.get("cni-ipvlan").copied().unwrap_or_default();
    remove_forgotten(&boot, &network, &before, lost_dels).map(drop)
}
