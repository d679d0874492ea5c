//! A file that lives long stays small.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipam_core::{Asker, Attachment, Demand, Moment, Pool, PoolSpec, Stamp};
use ipam_store::{Declared, Request, Store};

const HELD: u64 = 250;
const LARGEST_BYTES: u64 = 4 << 20;

/// How often an address is released and another given.
const CYCLES: &str = "IPAM_GROWTH_CYCLES";
/// Where the store is: in memory, a million cycles take minutes.
const DIRECTORY: &str = "IPAM_GROWTH_DIRECTORY";

fn attachment(number: u64) -> Attachment {
    Attachment {
        network: "ipvlan-eth0".parse().unwrap(),
        container: format!("{number:064x}").parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    }
}

fn request(number: u64) -> Request {
    let asker = Asker::new("node-1".parse().unwrap(), "kube-system/ipvlan-eth0".parse().unwrap());
    Request { demand: Demand::new(attachment(number), asker), netns: None }
}

#[test]
fn the_file_stays_small_while_pods_come_and_go() {
    let cycles = std::env::var(CYCLES).map_or(1000, |cycles| cycles.parse().unwrap());
    let directory = match std::env::var(DIRECTORY) {
        Ok(path) => tempfile::tempdir_in(path).unwrap(),
        Err(_) => tempfile::tempdir().unwrap(),
    };
    let seconds = Arc::new(AtomicU64::new(1000));
    let clock = move || Stamp {
        boot: Some("b".parse().unwrap()),
        moment: Moment(seconds.fetch_add(1, Ordering::Relaxed)),
        unix_seconds: 1_790_000_000,
    };
    let store =
        Store::new(directory.path().join("ipam"), Duration::from_secs(60)).with_clock(clock);
    let spec = PoolSpec {
        subnet: "10.0.0.0/16".into(),
        ips: vec!["10.0.0.1-10.0.1.200".into()],
        default: Some(true),
        ..PoolSpec::default()
    };
    store.apply(&Declared::pools([Pool::new("p", &spec).unwrap()])).unwrap();
    let mut held: VecDeque<u64> = (0..HELD).collect();
    for number in &held {
        store.allocate(&request(*number)).unwrap();
    }
    let size = || std::fs::metadata(store.directory().join("ipam.redb")).unwrap().len();
    let (mut bytes, mut resized, start) = (size(), 0, Instant::now());
    println!("{bytes} bytes at {HELD} held");
    for cycle in 1..=cycles {
        // Not always the oldest, so that free runs come and go.
        let index = usize::try_from(cycle * 7919 % HELD / (1 + cycle % 3)).unwrap();
        let gone = held.remove(index).unwrap();
        assert_eq!(store.release(&attachment(gone)).unwrap().len(), 1);
        store.allocate(&request(HELD + cycle)).unwrap();
        held.push_back(HELD + cycle);
        let now = size();
        if now != bytes {
            resized += 1;
            bytes = now;
            println!("{bytes} bytes after {cycle} cycles");
        }
        assert!(bytes < LARGEST_BYTES, "{bytes} bytes after {cycle} cycles");
        if cycle % (cycles / 10).max(1) == 0 {
            let each = start.elapsed() / u32::try_from(2 * cycle).unwrap();
            println!("{cycle} cycles: {bytes} bytes, {resized} changes of length, {each:?} each");
        }
    }
    assert!(store.verify(false).unwrap().faults.is_empty());
    assert_eq!(store.contents().unwrap().leases.len(), held.len());
}
