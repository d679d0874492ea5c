//! This build and one with the previous release of the database library, on one store at once.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hammer::{HELD, hammer};
use ipam_core::{Pool, PoolSpec};
use ipam_store::{Declared, Store};

mod hammer;

/// The program `previous-redb`, built from the folder of that name.
const PREVIOUS: &str = "IPAM_PREVIOUS_REDB";
/// Says to a process that it is one of this build's: directory, name, cycles.
const SHARE: &str = "IPAM_TWO_BUILDS_SHARE";
const TEST: &str = "an_older_and_a_newer_build_share_one_file";

#[test]
#[ignore = "needs the program of ipam-store/previous-redb, which cargo xtask test builds"]
fn an_older_and_a_newer_build_share_one_file() {
    if let Ok(share) = std::env::var(SHARE) {
        let words: Vec<&str> = share.splitn(3, ' ').collect();
        return hammer(Path::new(words[2]), words[0], words[1].parse().unwrap()).unwrap();
    }
    let previous = std::env::var(PREVIOUS).expect("the path of the program previous-redb");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    std::fs::create_dir(directory.path().join(HELD)).unwrap();
    let store = Store::new(directory.path().join("ipam"), Duration::from_secs(60));
    let spec = PoolSpec {
        subnet: "10.0.0.0/24".into(),
        ips: vec!["10.0.0.1-10.0.0.8".into()],
        default: Some(true),
        ..PoolSpec::default()
    };
    store.apply(&Declared::pools([Pool::new("p", &spec).unwrap()])).unwrap();
    let cycles = "150";
    let processes = (0..4).map(|number| {
        let (name, mut command) = if number % 2 == 0 {
            let name = format!("previous-{number}");
            let mut command = Command::new(&previous);
            command.args([path, &name, cycles]);
            (name, command)
        } else {
            let name = format!("this-{number}");
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([TEST, "--exact", "--include-ignored", "--nocapture"]);
            command.env(SHARE, format!("{name} {cycles} {path}"));
            (name, command)
        };
        (name, command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    });
    let processes: Vec<_> = processes.collect();
    for (name, process) in processes {
        let output = process.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
    let contents = store.contents().unwrap();
    assert_eq!(contents.leases, []);
    // One for the pools, two for each cycle of each process.
    assert_eq!(contents.revision, 1 + 2 * 4 * 150);
    assert!(store.verify(false).unwrap().faults.is_empty());
    assert_eq!(std::fs::read_dir(directory.path().join(HELD)).unwrap().count(), 0);
}
