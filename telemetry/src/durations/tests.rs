//! What is counted, by one and by many, and what a damaged file comes to.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use super::*;

fn place() -> (tempfile::TempDir, Durations) {
    let directory = tempfile::tempdir().unwrap();
    let durations = Durations::new(directory.path().join("durations"));
    (directory, durations)
}

#[test]
fn calls_are_in_their_buckets() {
    let (_directory, durations) = place();
    assert!(matches!(durations.read(), Err(DurationsError::Missing { .. })));
    for micros in [0, 10, 11, 1000, 10_000_000, 10_000_001] {
        durations.count("cni-ipvlan", Verb::Add, None, Duration::from_micros(micros)).unwrap();
    }
    let failure = Some(Failure::TryAgain);
    durations.count("cni-ipvlan", Verb::Add, failure, Duration::from_micros(30)).unwrap();
    durations.count("bridge", Verb::Add, None, Duration::ZERO).unwrap();
    durations.count("cni-ipam", Verb::Version, None, Duration::ZERO).unwrap();
    let read = durations.read().unwrap();
    let [done, failed] = read.as_slice() else { panic!("{read:?}") };
    assert_eq!((done.plugin, done.verb, done.failed), ("cni-ipvlan", Verb::Add, false));
    assert_eq!((done.count(), done.sum_nanos), (6, 20_001_022_000));
    let filled: Vec<_> = done.buckets.iter().enumerate().filter(|(_, count)| **count > 0).collect();
    assert_eq!(filled, [(0, &2), (1, &1), (6, &1), (18, &1), (19, &1)]);
    assert_eq!((failed.count(), failed.failures[Failure::TryAgain as usize]), (1, 1));
    assert_eq!(fs::metadata(&durations.path).unwrap().len(), LENGTH);
    assert_eq!(fs::metadata(&durations.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn without_a_directory_nothing_is_made_and_no_link_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let durations = Durations::new(directory.path().join("none/durations"));
    let missing = durations.count("cni-ipam", Verb::Add, None, Duration::ZERO);
    assert!(matches!(missing, Err(DurationsError::Missing { .. })));
    assert!(!directory.path().join("none").exists());
    let target = directory.path().join("target");
    fs::write(&target, "secret").unwrap();
    symlink(&target, directory.path().join("durations")).unwrap();
    let linked = Durations::new(directory.path().join("durations"));
    assert!(linked.count("cni-ipam", Verb::Add, None, Duration::ZERO).is_err());
    assert!(linked.read().is_err());
    assert_eq!(fs::read_to_string(target).unwrap(), "secret");
}

/// A file with the right checksums and the largest numbers made the next ADD panic.
#[test]
fn numbers_that_no_node_comes_to_start_anew() {
    let (_directory, durations) = place();
    let count = || {
        durations
            .count("cni-ipam", Verb::Add, Some(Failure::Other), Duration::from_nanos(1))
            .unwrap();
        let read = durations.read().unwrap();
        let [failed] = read.as_slice() else { panic!("{read:?}") };
        (failed.count(), failed.failures[Failure::Other as usize], failed.sum_nanos)
    };
    assert_eq!(count(), (1, 1, 1));
    let place = offset(slot_of("cni-ipam", Verb::Add, true).unwrap());
    let file = File::options().read(true).write(true).open(&durations.path).unwrap();
    let most = Slot { sum_nanos: u64::MAX, ..Slot::default() };
    for (slot, expected) in [
        (Slot { buckets: [u64::MAX; BUCKETS], ..most.clone() }, (1, 1, 1)),
        (Slot { failures: [MOST_CALLS; FAILURES], ..most.clone() }, (1, 1, 1)),
        (most, (1, 1, u64::MAX)),
    ] {
        file.write_all_at(&slot.bytes(), place).unwrap();
        assert_eq!(count(), expected, "{slot:?}");
    }
}

#[test]
fn what_is_strange_starts_anew_and_the_rest_stays() {
    let (_directory, durations) = place();
    let count = |verb| durations.count("cni-ipam", verb, None, Duration::ZERO).unwrap();
    for text in ["", "x", &"y".repeat(7000), &"z".repeat(9000)] {
        fs::write(&durations.path, text).unwrap();
        assert_eq!(durations.read().unwrap(), []);
        count(Verb::Add);
        assert_eq!(durations.read().unwrap().len(), 1, "{} bytes", text.len());
    }
    count(Verb::Del);
    let whole = fs::read(&durations.path).unwrap();
    // Each byte of ADD's slot: it alone starts anew.
    for at in (SLOT..2 * SLOT).step_by(5) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&durations.path, &bytes).unwrap();
        let read = durations.read().unwrap();
        assert_eq!(read.iter().map(|it| it.verb).collect::<Vec<_>>(), [Verb::Del], "byte {at}");
    }
    for length in (0..whole.len()).step_by(97) {
        fs::write(&durations.path, &whole[..length]).unwrap();
        assert_eq!(durations.read().unwrap(), [], "{length} bytes");
    }
}

#[test]
fn who_is_stopped_with_the_lock_holds_nobody_up() {
    let (_directory, durations) = place();
    durations.count("cni-ipam", Verb::Add, None, Duration::ZERO).unwrap();
    let holder = File::open(&durations.path).unwrap();
    holder.lock().unwrap();
    let busy = durations.count("cni-ipam", Verb::Add, None, Duration::ZERO);
    assert!(matches!(busy, Err(DurationsError::Busy { .. })));
    // Not by the close alone: other tests begin processes meanwhile.
    holder.unlock().unwrap();
    durations.count("cni-ipam", Verb::Add, None, Duration::ZERO).unwrap();
    assert_eq!(durations.read().unwrap()[0].count(), 2);
}

/// Processes: this test starts itself. Some are killed at any moment, and what is read is whole all
/// the while; the others' calls are all there.
#[test]
fn processes_that_count_at_once_and_die_lose_nothing_of_others() {
    const NAME: &str =
        "durations::tests::processes_that_count_at_once_and_die_lose_nothing_of_others";
    const CALLS: u64 = 500;
    const VARIABLE: &str = "TELEMETRY_TEST_COUNTER";
    if let Ok(told) = std::env::var(VARIABLE) {
        let (verb, path) = told.split_once(' ').unwrap();
        let durations = Durations::new(path);
        let verb: Verb = verb.parse().unwrap();
        let mut counted = 0;
        // Those that are to be killed go on until they are.
        while verb == Verb::Gc || counted < CALLS {
            let result = durations.count("cni-ipam", verb, None, Duration::from_micros(20));
            counted += u64::from(result.is_ok());
        }
        return;
    }
    let (_directory, durations) = place();
    let start = |verb: Verb| {
        Command::new(std::env::current_exe().unwrap())
            .args([NAME, "--exact"])
            .env(VARIABLE, format!("{verb} {}", durations.path.display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut steady: Vec<_> = (0..2).map(|_| start(Verb::Add)).collect();
    for _ in 0..20 {
        let mut killed = start(Verb::Gc);
        let before = of(&durations, Verb::Gc);
        let deadline = Instant::now() + Duration::from_secs(30);
        while of(&durations, Verb::Gc) < before + 5 {
            assert!(Instant::now() < deadline, "it counts nothing");
        }
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    for child in &mut steady {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(of(&durations, Verb::Add), 2 * CALLS);
    assert!(of(&durations, Verb::Gc) >= 100);
}

fn of(durations: &Durations, verb: Verb) -> u64 {
    // Busy: somebody has the lock at each look.
    let Ok(read) = durations.read() else { return 0 };
    read.iter().filter(|it| it.verb == verb).map(Measured::count).sum()
}

/// What it costs is printed: `cargo test --release -p telemetry -- --nocapture many_counts`.
#[test]
fn many_counts_are_all_there() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let durations = Durations::new(directory.path().join("durations"));
    let mut took: Vec<_> = (0..10_000)
        .map(|_| {
            let began = Instant::now();
            durations.count("cni-ipam", Verb::Add, None, Duration::from_micros(20)).unwrap();
            began.elapsed()
        })
        .collect();
    took.sort();
    println!("a count: median {:?}, 99 % {:?}", took[5000], took[9900]);
    assert_eq!(of(&durations, Verb::Add), 10_000);
}
