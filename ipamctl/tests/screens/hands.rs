//! `ipamctl release`, `gc` and `delete`.

use crate::fixture::{Fixture, stderr};

#[test]
fn what_lives_is_released_by_force_only() {
    let fixture = Fixture::new();
    let before = fixture.held();
    let release = ["release", "172.31.199.100", "--node-in-container"];
    let refused = fixture.refused(&release);
    assert!(refused.contains("pod default/web-0") && refused.contains("--force"), "{refused}");
    let dry = fixture.run(&[&release[..], &["--dry-run"]].concat());
    assert!(dry.status.success());
    let said = String::from_utf8_lossy(&dry.stdout);
    assert!(said.contains("172.31.199.100 of pool cloud would be released"), "{said}");
    assert_eq!(fixture.held(), before);
    let forced = fixture.run(&[&release[..], &["--force"]].concat());
    assert!(forced.status.success());
    assert!(stderr(&forced).contains("lives and keeps using 172.31.199.100"));
    assert_eq!(fixture.held().len(), before.len() - 1);
}

#[test]
fn what_is_gone_is_released_and_cools_down() {
    let fixture = Fixture::new();
    let by_pod = ["release", "--pod", "default/web-2", "--node-in-container"];
    let said = fixture.shown(&by_pod);
    assert!(said.starts_with("172.31.199.105 of pool cloud released: held by pod"), "{said}");
    assert!(said.contains("for 2h, it is gone"), "{said}");
    assert!(fixture.refused(&by_pod).contains("nothing that is held fits"));
    let again = fixture.refused(&["release", "172.31.199.105"]);
    assert!(again.contains("nobody holds 172.31.199.105: it cools down"), "{again}");
    let container = ["release", "--container", "c-nobody", "--network", "other"];
    assert!(fixture.refused(&container).contains("nothing that is held fits"));
    let container = ["release", "--container", "c-nobody", "--ifname", "eth0"];
    let said = fixture.shown(&[&container[..], &["--node-in-container"]].concat());
    assert!(said.contains("its namespace is not known"), "{said}");
    for usage in [&["release"][..], &["release", "10.0.0.1", "--pod", "a/b"]] {
        assert_eq!(fixture.run(usage).status.code(), Some(2), "{usage:?}");
    }
}

#[test]
fn a_collection_frees_the_dead_and_says_why_the_others_stay() {
    let fixture = Fixture::new();
    let before = fixture.held();
    let dry = fixture.run(&["gc", "--dry-run", "-o", "wide", "--node-in-container"]);
    assert_eq!(dry.status.code(), Some(3), "{}", stderr(&dry));
    let said = String::from_utf8(dry.stdout).unwrap();
    for (address, done, why) in [
        ("172.31.199.100", "kept", "its network namespace lives"),
        ("172.31.199.101", "would free", "its network namespace is gone"),
        ("172.31.199.106", "kept", "nothing is known of its network namespace"),
    ] {
        let line = said.lines().find(|line| line.starts_with(address)).unwrap();
        assert!(line.contains(done) && line.ends_with(why), "{line}");
    }
    assert!(said.ends_with("2 addresses would be freed, 168 would stay\n"), "{said}");
    assert_eq!(fixture.held(), before);
    let young = ["gc", "--node-in-container", "--grace-seconds", "100000"];
    assert_eq!(fixture.shown(&young), "0 addresses freed, 170 stay\n");
    let said = fixture.shown(&["gc", "--node-in-container"]);
    assert!(said.ends_with("2 addresses freed, 168 stay\n"), "{said}");
    assert_eq!(fixture.held().len(), before.len() - 2);
    let left = fixture.run(&["gc", "--dry-run", "--node-in-container"]);
    assert_eq!(left.status.code(), Some(0));
}

#[test]
fn a_pool_goes_when_nobody_holds_its_addresses() {
    let fixture = Fixture::new();
    let refused = fixture.refused(&["delete", "pools", "six", "cloud"]);
    assert!(refused.contains("nothing was deleted: 4 addresses are held"), "{refused}");
    assert!(refused.contains("172.31.199.105 of pool cloud: pod default/web-2"), "{refused}");
    let unknown = fixture.refused(&["delete", "pool", "six", "seven"]);
    assert!(unknown.contains("nothing was deleted: no pool \"seven\" is stored"), "{unknown}");
    assert_eq!(fixture.shown(&["delete", "pools", "six"]), "pool/six deleted\n");
    assert!(fixture.refused(&["show", "pool", "six"]).contains("no pool \"six\""));
}

/// The rules of the network that the address was held in, and no others.
#[test]
fn what_is_freed_rests_as_the_networks_configuration_says() {
    let fixture = Fixture::new();
    let conflist = r#"{"cniVersion":"1.0.0","name":"ipvlan-eth0","type":"cni-ipvlan",
        "ipam":{"type":"cni-ipam","nodeName":"master","cooldownSeconds":7777}}"#;
    fixture.write("net.d/10.conf", conflist);
    let mut other = crate::fixture::lease("10.1.0.9", "big", Some("o"), Some("/run/netns/gone"));
    other.attachment.network = "other".parse().unwrap();
    assert_eq!(fixture.store().adopt(&[other], |_| false).unwrap(), []);
    let directory = fixture.path("net.d").display().to_string();
    let with = |arguments: &[&str]| {
        fixture.shown(&[arguments, &["--conf-dir", &directory, "--node-in-container"]].concat())
    };
    let left = |address: &str| {
        let contents = fixture.store().contents().unwrap();
        let address = crate::fixture::ip(address);
        let resting = contents.rests.iter().find(|it| it.address == address).unwrap();
        resting.rest.until.seconds_since(resting.rest.since)
    };
    with(&["release", "172.31.199.105"]);
    assert_eq!(left("172.31.199.105"), 7777);
    assert!(with(&["gc"]).ends_with("2 addresses freed, 168 stay\n"));
    assert_eq!(left("172.31.199.101"), 7777);
    assert_eq!(left("10.1.0.9"), ipam_core::Policy::default().cooldown_seconds);
}

#[test]
fn every_screen_counts_the_same() {
    let fixture = Fixture::new();
    let pools = fixture.json(&["get", "pools"]);
    let metrics = fixture.shown(&["metrics"]);
    for item in pools["items"].as_array().unwrap() {
        let name = item["metadata"]["name"].as_str().unwrap();
        let occupancy = fixture.json(&["show", "pool", name]);
        let counts = &occupancy["counts"];
        assert_eq!(item["status"]["totalIPCount"], counts["total"], "{name}");
        let of = |state: &str| counts[state].as_u64().unwrap();
        let held = of("held") + of("heldFenced");
        assert_eq!(item["status"]["allocatedIPCount"], held, "{name}");
        // A number beyond 64 bits is a number there all the same.
        if name == "six" {
            continue;
        }
        for (state, count) in [("held", held)].into_iter().chain(
            ["free", "cooling", "sticky", "pinned", "quarantined", "fenced"].map(|it| (it, of(it))),
        ) {
            let line =
                format!("node_ipam_pool_addresses{{pool=\"{name}\",state=\"{state}\"}} {count}\n");
            assert!(metrics.contains(&line), "{line}{metrics}");
        }
    }
}
