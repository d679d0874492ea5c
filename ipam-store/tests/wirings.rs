//! What plugins have made, recorded and forgotten.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ipam_core::Attachment;
use ipam_store::{WireError, Wiring, Wirings};

fn attachment(network: &str, container: &str, ifname: &str) -> Attachment {
    Attachment {
        network: network.parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: ifname.parse().unwrap(),
    }
}

fn wirings(directory: &Path) -> Wirings {
    Wirings::new(directory.join("state"), Duration::from_secs(60))
}

fn wire(wirings: &Wirings, attachment: &Attachment, document: &str) -> Vec<Wiring> {
    let mut seen = Vec::new();
    let recorded = wirings.wire(attachment, |known| {
        seen = known.to_vec();
        Ok::<_, Infallible>(document.to_owned())
    });
    assert_eq!(recorded.unwrap(), document);
    seen
}

#[test]
fn a_decision_sees_its_own_container_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let wirings = wirings(directory.path());
    assert_eq!(wirings.all().unwrap(), []);
    assert!(!directory.path().join("state").exists(), "who looks makes nothing");

    let first = attachment("a", "c1", "eth0");
    let (second, other) = (attachment("b", "c1", "net1"), attachment("a", "c10", "eth0"));
    assert_eq!(wire(&wirings, &first, "1"), []);
    assert_eq!(wire(&wirings, &other, "2"), []);
    assert_eq!(wire(&wirings, &second, "3"), wirings.of(&first.container).unwrap()[..1]);
    assert_eq!(wire(&wirings, &first, "4").len(), 2, "its own too");

    let all = wirings.all().unwrap();
    let all: Vec<_> = all.iter().map(|it| (&it.attachment, it.document.as_str())).collect();
    assert_eq!(all, [(&first, "4"), (&second, "3"), (&other, "2")]);

    let gone = wirings.unwire(&[first.clone(), attachment("a", "c9", "eth0")]).unwrap();
    assert_eq!(gone, [Wiring { attachment: first.clone(), document: "4".to_owned() }]);
    assert_eq!(wirings.unwire(&[first]).unwrap(), [], "twice is once");
    assert_eq!(wirings.all().unwrap().len(), 2);
}

#[test]
fn a_decision_against_it_records_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let wirings = wirings(directory.path());
    let refused = wirings.wire(&attachment("a", "c1", "eth0"), |_| Err("no"));
    assert!(matches!(refused, Err(WireError::Refused("no"))));
    assert_eq!(wirings.all().unwrap(), []);
}

#[test]
fn many_at_once_each_see_those_before() {
    let directory = tempfile::tempdir().unwrap();
    let wirings = wirings(directory.path());
    let numbers = thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|number| {
                let wirings = &wirings;
                let own = attachment("a", "c1", &format!("net{number}"));
                scope.spawn(move || wire(wirings, &own, "{}").len())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let mut numbers = numbers;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..16).collect::<Vec<_>>());
}

#[test]
fn a_damaged_file_is_moved_aside() {
    let directory = tempfile::tempdir().unwrap();
    let wirings = wirings(directory.path());
    let own = attachment("a", "c1", "eth0");
    wire(&wirings, &own, "before");
    let file = directory.path().join("state/wirings.redb");
    let whole = fs::read(&file).unwrap();
    let foreign = [b"".to_vec(), b"not a database".to_vec(), vec![0; whole.len()]];
    // The database library panics at most of these.
    let length = whole.len();
    let pieces = [9, 100, 1 << 12, 5000, 1 << 13, length / 2, length - (1 << 12), length - 1];
    let cut = pieces.map(|length| whole[..length].to_vec());
    for damage in foreign.into_iter().chain(cut) {
        fs::write(&file, damage).unwrap();
        assert_eq!(wirings.all().unwrap(), [], "the kernel is the truth");
        assert_eq!(wire(&wirings, &own, "after"), []);
        assert_eq!(wirings.all().unwrap().len(), 1);
        assert!(file.with_extension("redb.damaged").exists());
    }
}
