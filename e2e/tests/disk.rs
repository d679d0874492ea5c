//! A disk that is full, that somebody else keeps full, or that became read-only. As root.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::ipam::Ipam;
use e2e::{Volume, operations};
use ipam_store::Store;

const PODS: usize = 250;

/// Room for the database, its spare file and a little more.
const SIZE: u64 = 6 << 20;

/// A pool of 4000 addresses, of which 250 are held, on a volume.
fn with_250_pods(volume: &Volume) -> Result<Ipam> {
    let ipam = Ipam::new(volume.path().join("ipam"))?;
    ipam.apply("10.0.0.1-10.0.15.160")?.success()?;
    for pod in 0..PODS {
        ipam.add(&format!("c{pod}"))?.success()?;
    }
    Ok(ipam)
}

fn file_size(ipam: &Ipam) -> Result<u64> {
    Ok(std::fs::metadata(ipam.directory().join("ipam.redb"))?.len())
}

/// Whether the file has the blocks behind its end into which releases can grow.
fn has_spare(ipam: &Ipam) -> Result<bool> {
    let found = std::fs::metadata(ipam.directory().join("ipam.redb"))?;
    Ok(found.blocks() * 512 >= found.len() + (512 << 10))
}

fn ensure_sound(ipam: &Ipam) -> Result<()> {
    let verdict = Store::new(ipam.directory(), Duration::from_secs(10)).verify(false)?;
    ensure!(verdict.faults.is_empty(), "{verdict:?}");
    Ok(())
}

/// Fills the disk, then the database's own file: ADDs until one finds no room. Answers the
/// containers that hold an address, and what the last ADD said.
fn fill(volume: &Volume, ipam: &Ipam) -> Result<(Vec<String>, Vec<String>)> {
    volume.fill()?;
    let mut containers: Vec<_> = (0..PODS).map(|pod| format!("c{pod}")).collect();
    let before = file_size(ipam)?;
    let said = loop {
        let container = format!("c{}", containers.len());
        let answer = ipam.add(&container)?;
        if !answer.is_success() {
            ensure!(answer.error_code() == Some(103), "{answer:?}");
            break ipam.said("ADD", &answer);
        }
        containers.push(container);
    };
    eprintln!(
        "a file of {before} bytes took {} ADDs more and has {}",
        containers.len() - PODS,
        file_size(ipam)?
    );
    let held: BTreeSet<_> = ipam.held()?.into_values().collect();
    ensure!(held == containers.iter().cloned().collect(), "what is held differs: {held:?}");
    Ok((containers, said))
}

/// DEL of all, one after the other, on a full disk, and what follows.
fn full(volume: &Volume) -> Result<()> {
    let ipam = with_250_pods(volume)?;
    let (containers, mut seen) = fill(volume, &ipam)?;
    ipam.status()?.success()?;
    for (number, container) in containers.iter().enumerate() {
        ipam.del(container)?.success()?;
        // Nor is there room for the next one.
        if number < 10 || number % 10 == 0 {
            volume.fill()?;
        }
    }
    // A database without its spare blocks, as one that was copied back.
    let file = OpenOptions::new().write(true).open(ipam.directory().join("ipam.redb"))?;
    file.set_len(file_size(&ipam)?)?;
    volume.fill()?;
    let refused = ipam.add("late")?;
    ensure!(refused.error_code() == Some(103), "{refused:?}");
    seen.extend(ipam.said("ADD", &refused));
    operations::compare("The disk is full", &seen)?;
    ensure!(ipam.held()?.is_empty(), "{:?}", ipam.held()?);
    volume.free()?;
    ipam.add("late")?.success()?;
    ensure!(has_spare(&ipam)?, "no room is kept for the next time");
    ensure_sound(&ipam)
}

#[test]
fn a_full_tmpfs_refuses_adds_and_lets_every_del_through() -> Result<()> {
    full(&Volume::tmpfs(SIZE)?)
}

#[test]
fn a_full_ext4_refuses_adds_and_lets_every_del_through() -> Result<()> {
    full(&Volume::ext4(SIZE)?)
}

/// Takes each byte that becomes free until it is told that it is over.
fn grab_everything(path: &Path, over: &AtomicBool) -> Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let block = [0x2a; 4096];
    while !over.load(Ordering::Relaxed) {
        for length in [block.len(), 512, 1] {
            while !over.load(Ordering::Relaxed) && file.write(&block[..length]).is_ok() {}
        }
    }
    Ok(())
}

/// What the spare file gives up may be somebody else's at once. How far DELs get then is said; that
/// nothing is lost, and that they succeed once there is room, is demanded.
fn greedy(volume: &Volume) -> Result<()> {
    let ipam = with_250_pods(volume)?;
    let (containers, _) = fill(volume, &ipam)?;
    let over = AtomicBool::new(false);
    let grabbed = volume.path().join("grabbed");
    let failed: Result<Vec<String>> = thread::scope(|scope| {
        let greedy = scope.spawn(|| grab_everything(&grabbed, &over));
        let mut failed = Vec::new();
        let deleted = containers.iter().try_for_each(|container| -> Result<()> {
            let answer = ipam.del(container)?;
            if !answer.is_success() {
                ensure!(answer.error_code() == Some(103), "{answer:?}");
                failed.push(container.clone());
            }
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        greedy.join().expect("no panic")?;
        deleted.map(|()| failed)
    });
    let failed = failed?;
    eprintln!("{} of {} DELs failed beside a greedy process", failed.len(), containers.len());
    let held: Vec<_> = ipam.held()?.into_values().collect();
    ensure!(held.len() == failed.len(), "{held:?} hold, {failed:?} failed");
    ensure!(held.iter().all(|holder| failed.contains(holder)), "{held:?} hold, {failed:?} failed");
    std::fs::remove_file(&grabbed)?;
    volume.free()?;
    for container in &failed {
        ipam.del(container)?.success()?;
    }
    ensure!(ipam.held()?.is_empty(), "{:?}", ipam.held()?);
    ipam.add("late")?.success()?;
    ensure_sound(&ipam)
}

#[test]
fn a_process_that_grabs_every_free_byte_of_an_ext4_loses_no_lease() -> Result<()> {
    greedy(&Volume::ext4(SIZE)?)
}

fn read_only(volume: &Volume) -> Result<()> {
    let ipam = Ipam::new(volume.path().join("ipam"))?;
    ipam.apply("10.0.0.1-10.0.0.250")?.success()?;
    ipam.add("live")?.success()?;
    volume.remount("ro")?;
    let mut seen = Vec::new();
    for (verb, answer) in [("ADD", ipam.add("late")?), ("DEL", ipam.del("live")?)] {
        ensure!(answer.error_code() == Some(103), "{answer:?}");
        seen.extend(ipam.said(verb, &answer));
    }
    let held = ipam.held()?;
    ensure!(held.values().eq(["live"]), "{held:?}");
    ipam.status()?.success()?;
    operations::compare("The disk is read-only", &seen)?;
    volume.remount("rw")?;
    ipam.del("live")?.success()?;
    ipam.add("late")?.success()?;
    ensure!(ipam.held()?.values().eq(["late"]), "{:?}", ipam.held()?);
    ensure_sound(&ipam)
}

#[test]
fn a_read_only_tmpfs_is_shown_and_not_changed() -> Result<()> {
    read_only(&Volume::tmpfs(SIZE)?)
}

#[test]
fn a_read_only_ext4_is_shown_and_not_changed() -> Result<()> {
    read_only(&Volume::ext4(SIZE)?)
}
