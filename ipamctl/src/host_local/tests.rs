use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn network() -> NetworkName {
    "net".parse().unwrap()
}

fn held(address: &str, container: &str, ifname: Option<&str>) -> Reservation {
    Reservation {
        address: address.parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: ifname.map(|name| name.parse().unwrap()),
    }
}

fn named(all: &[Reservation]) -> Vec<(NetworkName, Reservation)> {
    all.iter().map(|one| (network(), one.clone())).collect()
}

/// A data directory with these files for the network `net`.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("net")).unwrap();
    for (name, text) in files {
        fs::write(dir.path().join("net").join(name), text).unwrap();
    }
    dir
}

fn files_of(dir: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(dir.join("net")).unwrap().map(Result::unwrap);
    let all = entries.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read_to_string(entry.path()).unwrap_or_default())
    });
    all.filter(|(name, _)| name != LOCK).collect()
}

#[test]
fn every_file_is_a_reservation_a_mark_or_an_oddity() {
    let dir = directory(&[
        ("10.0.0.10", "c1\r\neth0"),
        ("10.0.0.9", " c2\r\nnet1\n"),
        ("10.0.0.11", "c3\n"),
        ("fd00::a", "c1\r\neth0"),
        ("10.0.0.12", ""),
        ("10.0.0.13", " \r\n"),
        ("last_reserved_ip.0", "10.0.0.12"),
        ("last_reserved_ip.1", "fd00::a\n"),
        ("lock", ""),
        ("10.0.0.14", "c4\neth0"),
        ("10.0.0.15", "c4\r\neth0\r\nmore"),
        ("10.0.0.016", "c5\r\neth0"),
        ("fd00__b", "c5\r\neth0"),
        ("FD00::C", "c5\r\neth0"),
        ("::ffff:10.0.0.17", "c5\r\neth0"),
        ("last_reserved_ip.x", "10.0.0.12"),
        ("last_reserved_ip.2", "none"),
        ("last_reserved_ips", "10.0.0.12"),
        ("notes.txt", "by hand"),
    ]);
    fs::create_dir(dir.path().join("net/10.0.0.18")).unwrap();
    fs::write(dir.path().join("net/10.0.0.19"), b"c\xff").unwrap();
    fs::write(dir.path().join("net/10.0.0.20"), "c".repeat(5000)).unwrap();
    let found = HostLocal::read(dir.path(), &network(), PATIENCE).unwrap();
    assert_eq!(
        found.reservations,
        [
            held("10.0.0.9", "c2", Some("net1")),
            held("10.0.0.10", "c1", Some("eth0")),
            held("10.0.0.11", "c3", None),
            held("fd00::a", "c1", Some("eth0")),
        ]
    );
    let abandoned: Vec<String> = found.abandoned.iter().map(ToString::to_string).collect();
    assert_eq!(abandoned, ["10.0.0.12", "10.0.0.13"]);
    let last: Vec<String> =
        found.last_reserved.iter().map(|(set, address)| format!("{set} {address}")).collect();
    assert_eq!(last, ["0 10.0.0.12", "1 fd00::a"]);
    let oddities: Vec<String> = found.oddities.iter().map(ToString::to_string).collect();
    for (name, why) in [
        ("10.0.0.14", "\"c4\\neth0\" is not CONTAINERID\"\\r\\n\"IFNAME"),
        ("10.0.0.15", "is not CONTAINERID"),
        ("10.0.0.016", "its name is neither an address"),
        ("fd00__b", "its name is neither an address"),
        ("FD00::C", "host-local looks for fd00::c at fd00::c only"),
        ("::ffff:10.0.0.17", "at 10.0.0.17 only"),
        ("last_reserved_ip.x", "its name is not last_reserved_ip.NUMBER"),
        ("last_reserved_ip.2", "\"none\""),
        ("last_reserved_ips", "its name is not last_reserved_ip.NUMBER"),
        ("notes.txt", "its name is neither an address"),
        ("10.0.0.18", "it is no regular file"),
        ("10.0.0.19", "it is not UTF-8"),
        ("10.0.0.20", "it is longer than 4096 bytes"),
    ] {
        let of = oddities.iter().find(|text| text.contains(&format!("/net/{name}: ")));
        assert!(of.is_some_and(|text| text.contains(why)), "{name}: {of:?}");
    }
    assert_eq!(oddities.len(), 13, "{oddities:#?}");
}

/// host-local of CNI 0.5 had one range set and did not number it.
#[test]
fn the_mark_of_the_only_set_has_no_number() {
    let dir = directory(&[("last_reserved_ip", "10.0.0.12")]);
    let found = HostLocal::read(dir.path(), &network(), PATIENCE).unwrap();
    assert_eq!(found.last_reserved[&0].to_string(), "10.0.0.12");
}

#[test]
fn what_is_written_is_read_back_and_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("a/b");
    let all = [held("10.0.0.9", "c1", Some("eth0")), held("fd00::a", "c1", Some("eth0"))];
    let written = write(&data_dir, &named(&all), PATIENCE).unwrap();
    assert_eq!(written, Written { created: 2, unchanged: 0 });
    let found = HostLocal::read(&data_dir, &network(), PATIENCE).unwrap();
    assert_eq!(found.reservations, all);
    assert_eq!((found.abandoned, found.oddities), (vec![], vec![]));
    let written = write(&data_dir, &named(&all), PATIENCE).unwrap();
    assert_eq!(written, Written { created: 0, unchanged: 2 });
}

#[test]
fn a_file_that_says_something_else_is_named_and_nothing_is_written() {
    let before = [
        ("10.0.0.9", "c1\r\neth0"),
        ("10.0.0.10", "c2"),
        ("10.0.0.11", "c3\neth0"),
        ("10.0.0.12", ""),
    ];
    let dir = directory(&before);
    let good = held("10.0.0.20", "c1", Some("eth0"));
    for (bad, expected) in [
        (held("10.0.0.9", "c2", Some("eth0")), "net/10.0.0.9: it says \"c1\\r\\neth0\", and not"),
        (held("10.0.0.9", "c1", Some("eth1")), "and not \"c1\\r\\neth1\""),
        (held("10.0.0.9", "c1", None), "and not \"c1\""),
        (held("10.0.0.10", "c1", Some("eth0")), "it says \"c2\""),
        (held("10.0.0.11", "c3", Some("eth0")), "\"c3\\neth0\" is not CONTAINERID"),
        (held("10.0.0.20", "c2", Some("eth0")), "is to be written to it too"),
    ] {
        let error = write(dir.path(), &named(&[good.clone(), bad]), PATIENCE).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        let before = before.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(files_of(dir.path()), BTreeMap::from(before));
    }
    // The container of an old file is the same whatever the interface; nobody is in an empty one.
    let fitting = [held("10.0.0.10", "c2", Some("eth0")), held("10.0.0.12", "c4", Some("eth0"))];
    let written = write(dir.path(), &named(&fitting), PATIENCE).unwrap();
    assert_eq!(written, Written { created: 1, unchanged: 1 });
    assert_eq!(files_of(dir.path())["10.0.0.12"], "c4\r\neth0");
    assert_eq!(files_of(dir.path())["10.0.0.10"], "c2");
}

#[test]
fn a_failure_takes_back_what_was_written() {
    let dir = directory(&[("10.0.0.12", "")]);
    // A folder with the name of the unfinished file: the second network cannot be written.
    fs::create_dir_all(dir.path().join("other/.ipamctl-unfinished")).unwrap();
    let mut all = named(&[held("10.0.0.12", "c1", Some("eth0")), held("10.0.0.13", "c2", None)]);
    all.push(("other".parse().unwrap(), held("10.0.1.1", "c1", Some("eth0"))));
    let error = write(dir.path(), &all, PATIENCE).unwrap_err();
    assert!(format!("{error:#}").contains("write "), "{error:#}");
    let before = BTreeMap::from([("10.0.0.12".to_owned(), String::new())]);
    assert_eq!(files_of(dir.path()), before);
}

#[test]
fn nothing_is_read_or_written_outside_or_without_the_lock() {
    let dir = directory(&[]);
    let outside: NetworkName = "../net".parse().unwrap();
    for error in [
        HostLocal::read(dir.path(), &outside, PATIENCE).unwrap_err(),
        write(dir.path(), &[(outside, held("10.0.0.9", "c1", None))], PATIENCE).unwrap_err(),
    ] {
        assert!(error.to_string().contains("invalid network name \"../net\""), "{error}");
    }
    let _lock = lock(&dir.path().join("net"), PATIENCE).unwrap();
    for error in [
        HostLocal::read(dir.path(), &network(), Duration::ZERO).unwrap_err(),
        write(dir.path(), &named(&[held("10.0.0.9", "c1", None)]), Duration::ZERO).unwrap_err(),
    ] {
        assert!(error.to_string().contains("was held by another process"), "{error}");
    }
    let missing = HostLocal::read(dir.path(), &"none".parse().unwrap(), PATIENCE).unwrap_err();
    assert!(format!("{missing:#}").contains("none/lock: No such file"), "{missing:#}");
}
