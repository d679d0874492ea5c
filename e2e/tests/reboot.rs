//! The node was started anew, or its clocks jump.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::deployment::addresses;
use e2e::ipam::{INTERFACE, Ipam, NETWORK, NODE};
use e2e::{Answer, operations};
use ipam_core::{
    Asker, Attachment, Demand, Facts, LiveNamespaces, Moment, NetnsRef, PodRef, Policy, RestKind,
    Stamp, StickyNames, WhenOnlyCooling,
};
use ipam_store::{Contents, Request, Store};

const OLD_BOOT: &str = "11111111-2222-3333-4444-555555555555";

fn attachment(container: &str) -> Result<Attachment> {
    Ok(Attachment {
        network: NETWORK.parse()?,
        container: container.parse()?,
        ifname: INTERFACE.parse()?,
    })
}

/// What the plugin would ask for a pod of this name.
fn request(container: &str, pod: Option<&str>) -> Result<Request> {
    let pod = pod.map(|name| PodRef { namespace: "default".into(), name: name.into(), uid: None });
    let asker = Asker::new(NODE.parse()?, NETWORK.parse()?);
    let demand = Demand { pod, ..Demand::new(attachment(container)?, asker) };
    let netns = Some(NetnsRef { path: format!("/run/netns/{container}"), inode: Some(1) });
    Ok(Request { demand, netns })
}

fn sticky() -> Policy {
    Policy { sticky: StickyNames::All, ..Policy::default() }
}

/// A store whose clock says this.
fn at(directory: &Path, boot: &str, moment: u64, unix_seconds: u64) -> Result<Store> {
    let boot = Some(boot.parse()?);
    let stamp = Stamp { boot, moment: Moment(moment), unix_seconds };
    let store = Store::new(directory, Duration::from_secs(10)).with_policy(sticky());
    Ok(store.with_clock(move || stamp.clone()))
}

/// The addresses that rest, by kind.
fn resting(contents: &Contents, kind: RestKind) -> BTreeSet<IpAddr> {
    let rests = contents.rests.iter().filter(|resting| resting.rest.kind() == kind);
    rests.map(|resting| resting.address).collect()
}

#[test]
fn the_first_add_of_a_boot_frees_the_leases_of_the_last_one_exactly_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ipam = Ipam::new(folder.path().join("ipam"))?
        .with("stickyNames", "all")
        .with("whenOnlyCooling", "refuse");
    ipam.apply("10.0.0.1-10.0.0.40")?.success()?;
    // A long uptime: the moments are far behind those of the new boot.
    let old = at(ipam.directory(), OLD_BOOT, 9_000_000, 1_700_000_000)?;
    for number in 0..30 {
        let name = format!("web-{number}");
        old.allocate(&request(&format!("old-{number}"), (number < 20).then_some(&name))?)?;
    }
    // Ten are released in time: five wait for their pod, five cool down.
    for number in (0..5).chain(20..25) {
        ensure!(old.release(&attachment(&format!("old-{number}"))?)?.len() == 1, "{number}");
    }
    let before = old.contents()?;
    ensure!(before.leases.len() == 20 && before.rests.len() == 10, "{before:?}");

    let first = ipam.add("new-1")?;
    let given: IpAddr = addresses(&first)?[0].parse()?;
    let said = ipam.said("ADD", &first);
    ensure!(said.len() == 20, "{said:?}");
    for lease in &before.leases {
        let words = format!("freed {} of {}", lease.address, lease.attachment);
        ensure!(said.iter().filter(|line| line.contains(&words)).count() == 1, "{words}: {said:?}");
    }
    operations::compare("The node was started anew", &said)?;

    let after = Store::new(ipam.directory(), Duration::from_secs(10)).contents()?;
    ensure!(after.leases.len() == 1, "{:?}", after.leases);
    // Nobody gets what waits or rests: not what did before the boot, nor what ended with it.
    let held_before: BTreeSet<_> = before.leases.iter().map(|lease| lease.address).collect();
    ensure!(!held_before.contains(&given), "{given} was freed a moment ago");
    for kind in [RestKind::Sticky, RestKind::Cooldown] {
        let (earlier, now) = (resting(&before, kind), resting(&after, kind));
        ensure!(now.is_superset(&earlier), "{kind:?}: {earlier:?} {now:?}");
    }
    ensure!(after.rests.len() == 30, "{:?}", after.rests);

    let second = ipam.add("new-2")?;
    second.success()?;
    ensure!(ipam.said("ADD", &second).is_empty(), "{second:?}");
    ensure!(ipam.held()?.len() == 2, "{:?}", ipam.held()?);
    // The pod comes back and finds its address, be it released before the boot or ended by it.
    for number in [0, 7] {
        let web = format!("web-{number}");
        let mut call = ipam.call("ADD", &format!("again-{number}"));
        call.args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={web}");
        let again = ipam.start(&call)?.wait()?;
        let expected = format!("10.0.0.{}", number + 1);
        ensure!(addresses(&again)? == [expected], "{again:?}");
    }
    Ok(())
}

#[test]
fn a_wall_clock_that_jumps_an_hour_either_way_changes_no_cooldown_and_no_grace() -> Result<()> {
    for jump in [-3600, 3600] {
        let folder = tempfile::tempdir()?;
        let ipam = Ipam::new(folder.path().join("ipam"))?;
        ipam.apply("10.0.0.1-10.0.0.2")?.success()?;
        let (moment, wall) = (Arc::new(AtomicU64::new(1000)), Arc::new(AtomicU64::new(1 << 31)));
        let policy = Policy { when_only_cooling: WhenOnlyCooling::Refuse, ..Policy::default() };
        let boot = Some(OLD_BOOT.parse()?);
        let store = Store::new(ipam.directory(), Duration::from_secs(10)).with_policy(policy);
        let store = store.with_clock({
            let (moment, wall, boot) = (Arc::clone(&moment), Arc::clone(&wall), boot.clone());
            move || Stamp {
                boot: boot.clone(),
                moment: Moment(moment.load(Ordering::Relaxed)),
                unix_seconds: wall.load(Ordering::Relaxed),
            }
        });
        let facts = |now| Facts {
            boot: boot.clone(),
            now: Moment(now),
            snapshot: Moment(now),
            grace_seconds: 60,
            valid: None,
            namespaces: Some(LiveNamespaces::default()),
            alive: BTreeSet::new(),
        };
        store.allocate(&request("dead", None)?)?;
        store.allocate(&request("gone", None)?)?;
        store.release(&attachment("gone")?)?;
        wall.store((1_i64 << 31).saturating_add(jump).try_into()?, Ordering::Relaxed);
        for (now, allocated, freed) in [(1059, false, 0), (1060, true, 1)] {
            moment.store(now, Ordering::Relaxed);
            let outcome = store.allocate(&request("next", None)?);
            ensure!(outcome.is_ok() == allocated, "{jump}: at {now} the cooldown {outcome:?}");
            let reclaimed = store.reclaim(&facts(now))?;
            ensure!(reclaimed.len() == freed, "{jump}: at {now} the grace {reclaimed:?}");
        }
    }
    Ok(())
}

/// ADDs by a process whose `CLOCK_BOOTTIME` is shifted by so many seconds.
fn add_shifted(ipam: &Ipam, container: &str, seconds: i64) -> Result<Answer> {
    let shift = seconds.to_string();
    let shifted = ["unshare", "--time", "--boottime", &shift, "--monotonic", &shift, "--"];
    ipam.clone().started_by(&shifted).add(container)
}

/// What a machine sees that is restored from a snapshot with an older disk, or the other way about:
/// the same boot id, and a clock that is behind what the database has seen, or far ahead of it.
#[test]
fn a_boottime_that_jumps_an_hour_either_way_frees_nothing_that_lives_and_doubles_nothing()
-> Result<()> {
    for jump in [-3600, 3600] {
        let folder = tempfile::tempdir()?;
        let ipam = Ipam::new(folder.path().join("ipam"))?
            .with("graceSeconds", 60)
            .with("whenOnlyCooling", "refuse");
        ipam.apply("10.0.0.1-10.0.0.3")?.success()?;
        let mut held = BTreeMap::new();
        for container in ["live-1", "live-2", "cooling"] {
            let address = addresses(&ipam.add(container)?)?.pop().context("one address")?;
            held.insert(address, container.to_owned());
        }
        ipam.del("cooling")?.success()?;
        held.retain(|_, holder| holder != "cooling");
        // Ahead of time the cooldown is over; before its time it lasts, and the pool is full, so
        // that dead leases are looked for. There are none.
        let answer = add_shifted(&ipam, "shifted", jump)?;
        eprintln!("{jump:+} s: {:?} {:?}", answer.outcome.stdout, answer.outcome.stderr);
        if jump > 0 {
            held.insert(addresses(&answer)?.pop().context("one address")?, "shifted".to_owned());
        } else {
            ensure!(answer.error_code() == Some(11), "{answer:?}");
        }
        ensure!(answer.outcome.stderr.is_empty(), "{answer:?}");
        ensure!(ipam.held()? == held, "{:?}", ipam.held()?);
        // Back in time: what was written ahead of it neither fails nor is given twice.
        for container in held.values() {
            ipam.del(container)?.success()?;
        }
        ensure!(ipam.held()?.is_empty(), "{:?}", ipam.held()?);
    }
    Ok(())
}
