//! Fifty pods at once.

use std::thread;

use anyhow::{Context, Result};
use e2e::Pod;

use crate::room::{NONE, Room};

const PODS: u8 = 50;
const IFNAMES: [&str; 2] = ["eth0", "net1"];

/// Does it for all pods at once; the first error of all.
fn at_once(pods: &[Pod], verb: impl Fn(&Pod) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = pods.iter().map(|pod| scope.spawn(|| verb(pod))).collect();
        let results: Vec<Result<()>> =
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        results.into_iter().collect()
    })
}

#[test]
fn fifty_pods_with_two_nics_come_and_go_at_once() -> Result<()> {
    let room = Room::start()?;
    let before = room.state()?;
    let pods = (1..=PODS).map(|number| room.pod(number, &IFNAMES)).collect::<Result<Vec<_>>>()?;
    at_once(&pods, |pod| {
        let add = |ifname| room.done("ADD", pod, ifname).with_context(|| pod.name().to_owned());
        IFNAMES.into_iter().try_for_each(add)
    })?;
    let (complete, said) = room.repair(&["--dry-run"])?;
    assert!(complete && said == "ok: nothing is missing for 100 interfaces\n", "{said}");
    at_once(&pods, |pod| {
        for ifname in IFNAMES {
            assert_eq!(room.difference(pod, ifname)?, None, "{}", pod.name());
        }
        Ok(())
    })?;
    // Two threads a pod: both DELs of a pod at once as well.
    thread::scope(|scope| {
        let deletes: Vec<_> = IFNAMES
            .map(|ifname| scope.spawn(|| at_once(&pods, |pod| room.done("DEL", pod, ifname))))
            .into();
        let results: Vec<Result<()>> =
            deletes.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        results.into_iter().collect::<Result<()>>()
    })?;
    let (removed, said) = room.repair(&["--remove"])?;
    assert!(removed, "{said}");
    assert_eq!(before.changes(&room.state()?), NONE);
    Ok(())
}
