//! Processes killed at random moments, many at a time: nothing is lost, nothing is held twice.
//!
//! `NODE_IPAM_KILLS` says how many must have been killed before their answer; 1000 unless set.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::ipam::Ipam;
use e2e::{Answer, Random, Running};
use ipam_store::Store;

const WORKERS: u64 = 16;

/// Containers of one worker; all of them together need fewer addresses than the pool has.
const MOST: usize = 12;

/// What all workers know.
struct Storm {
    ipam: Ipam,
    target: u64,
    kills: AtomicU64,
    /// The mean time of a process that was not killed, in microseconds.
    typical: AtomicU64,
    /// Who was told that it has an address and has not begun to give it back.
    answered: Mutex<BTreeMap<String, String>>,
    moments: Mutex<Moments>,
}

/// At which moments processes were killed.
#[derive(Debug, Default)]
struct Moments {
    /// Neither the lock was theirs nor anything done.
    before_the_lock: u64,
    /// They had the lock, or had just given it back.
    with_the_lock: u64,
    /// They were dead after their whole answer, which nobody may then forget.
    answered: u64,
    adds: u64,
    dels: u64,
    /// Ended before the signal came.
    too_late: u64,
    calls: u64,
}

/// What became of a process.
enum End {
    Answered(Answer),
    /// Nobody knows what it did.
    Killed,
}

impl Storm {
    /// Runs one process, killed or not.
    fn run(&self, verb: &str, container: &str, random: &mut Random) -> Result<End> {
        let begun = Instant::now();
        let mut running = self.ipam.start(&self.ipam.call(verb, container))?;
        let spared = random.chance(20);
        let mut note = String::new();
        if !spared {
            self.wait_for_the_moment(&mut running, random)?;
            note = self.ipam.lock_note();
            running.kill()?;
        }
        let own = format!("pid {} ", running.id());
        let answer = running.wait()?;
        let mut moments = self.moments.lock().expect("no worker panics with it");
        moments.calls += 1;
        if answer.outcome.status.signal().is_none() {
            ensure!(answer.is_success(), "{verb} {container}: {answer:?}");
            moments.too_late += u64::from(!spared);
            let took = u64::try_from(begun.elapsed().as_micros())?;
            let typical = self.typical.load(Ordering::Relaxed);
            self.typical.store(typical - typical / 16 + took / 16, Ordering::Relaxed);
            return Ok(End::Answered(answer));
        }
        let count = if verb == "ADD" { &mut moments.adds } else { &mut moments.dels };
        *count += 1;
        if answer.json.is_some() {
            moments.answered += 1;
            return Ok(End::Answered(answer));
        }
        if note.starts_with(&own) {
            moments.with_the_lock += 1;
        } else {
            moments.before_the_lock += 1;
        }
        self.kills.fetch_add(1, Ordering::Relaxed);
        Ok(End::Killed)
    }

    /// Half of the moments are anywhere in the time that a process takes, which is mostly waiting
    /// for the lock; the others are in the time after it got the lock.
    fn wait_for_the_moment(&self, running: &mut Running, random: &mut Random) -> Result<()> {
        let typical = self.typical.load(Ordering::Relaxed);
        if random.chance(50) {
            thread::sleep(Duration::from_micros(random.below(typical * 5 / 4)));
            return Ok(());
        }
        let own = format!("pid {} ", running.id());
        while !running.has_ended()? && !self.ipam.lock_note().starts_with(&own) {
            thread::sleep(Duration::from_micros(100));
        }
        // One process at a time has the lock.
        thread::sleep(Duration::from_micros(random.below(typical / WORKERS * 2)));
        Ok(())
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.answered.lock().expect("no worker panics with it")
    }

    /// Notes that a container was told an address, which must be nobody else's.
    fn claim(&self, container: &str, answer: &Answer) -> Result<()> {
        let json = answer.json.as_ref().context("an answer")?;
        let address = json["ips"][0]["address"].as_str().context("an address")?;
        let (address, _) = address.split_once('/').context("a prefix length")?;
        if let Some(other) = self.answered().insert(address.to_owned(), container.to_owned()) {
            bail!("{address} was given to {container} while {other} has it");
        }
        Ok(())
    }

    fn disclaim(&self, container: &str) {
        self.answered().retain(|_, holder| holder != container);
    }

    /// Works until enough were killed; answers the containers that may hold something.
    fn work(&self, worker: u64) -> Result<Vec<String>> {
        let mut random = Random(worker);
        let mut containers: Vec<String> = Vec::new();
        let mut number = 0;
        while self.kills.load(Ordering::Relaxed) < self.target {
            if containers.is_empty() || (containers.len() < MOST && random.chance(60)) {
                number += 1;
                let container = format!("w{worker}-{number}");
                containers.push(container.clone());
                if let End::Answered(answer) = self.run("ADD", &container, &mut random)? {
                    self.claim(&container, &answer)?;
                }
            } else {
                let container = random.pick(&containers).context("there are some")?.clone();
                self.disclaim(&container);
                if let End::Answered(_) = self.run("DEL", &container, &mut random)? {
                    containers.retain(|other| *other != container);
                }
            }
        }
        Ok(containers)
    }
}

fn kills() -> Result<u64> {
    match std::env::var("NODE_IPAM_KILLS") {
        Ok(text) => text.parse().context("NODE_IPAM_KILLS"),
        Err(_) => Ok(1000),
    }
}

#[test]
fn killed_processes_lose_nothing_and_double_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?.with("cooldownSeconds", 0);
    ipam.apply("10.0.0.1-10.0.0.250")?.success()?;
    let target = kills()?;
    let storm = Storm {
        ipam: ipam.clone(),
        target,
        kills: AtomicU64::new(0),
        typical: AtomicU64::new(100_000),
        answered: Mutex::default(),
        moments: Mutex::default(),
    };
    let begun = Instant::now();
    let outcomes: Vec<Result<Vec<String>>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                scope.spawn({
                    let storm = &storm;
                    move || storm.work(worker)
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    let mut containers = Vec::new();
    for worker in outcomes {
        containers.extend(worker?);
    }
    let moments = storm.moments.lock().expect("no worker panics with it");
    let killed = storm.kills.load(Ordering::Relaxed);
    eprintln!(
        "{killed} killed in {:.1} s, a call takes {} us under this load: {moments:?}",
        begun.elapsed().as_secs_f64(),
        storm.typical.load(Ordering::Relaxed)
    );
    // Else it was no storm.
    ensure!(killed >= target && moments.with_the_lock >= target / 5, "{moments:?}");
    ensure!(moments.before_the_lock >= target / 10, "{moments:?}");
    ensure!(moments.adds >= target / 5 && moments.dels >= target / 10, "{moments:?}");

    let held = ipam.held()?;
    for (address, container) in storm.answered().iter() {
        ensure!(held.get(address) == Some(container), "{address} of {container} is lost");
    }
    let unanswered = held.len() - storm.answered().len();
    eprintln!("{} held, of which {unanswered} by ADDs without an answer", held.len());
    ensure!(
        held.values().all(|holder| containers.contains(holder)),
        "somebody holds an address whose DEL was answered"
    );
    let database = Store::new(ipam.directory(), Duration::from_secs(10));
    ensure!(database.verify(false)?.faults.is_empty(), "{:?}", database.verify(false)?);

    let next = next_adds(&ipam, containers.len())?;
    eprintln!("the next ADD after a kill: {next:?}");
    // As the issue has it. The median, since this machine may do something else meanwhile.
    ensure!(next[next.len() / 2] < Duration::from_millis(100), "{next:?}");

    for container in &containers {
        ipam.del(container)?.success()?;
    }
    ensure!(ipam.held()?.is_empty(), "{:?}", ipam.held()?);
    ensure!(database.verify(false)?.faults.is_empty(), "{:?}", database.verify(false)?);
    let size = std::fs::metadata(ipam.directory().join("ipam.redb"))?.len();
    eprintln!("the file has {size} bytes");
    ensure!(size < 4 << 20, "{size}");
    Ok(())
}

/// How long an ADD takes after another one was killed while it had the lock, shortest first.
fn next_adds(ipam: &Ipam, held: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for round in 0..(250 - held).min(20) {
        let mut victim = ipam.start(&ipam.call("ADD", &format!("victim-{round}")))?;
        let own = format!("pid {} ", victim.id());
        while !victim.has_ended()? && !ipam.lock_note().starts_with(&own) {
            thread::yield_now();
        }
        victim.kill()?;
        victim.wait()?;
        let begun = Instant::now();
        ipam.add(&format!("next-{round}"))?.success()?;
        times.push(begun.elapsed());
        for name in ["victim", "next"] {
            ipam.del(&format!("{name}-{round}"))?.success()?;
        }
    }
    times.sort();
    Ok(times)
}
