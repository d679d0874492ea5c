//! A node changes from host-local to our plugin, with the same data directory.

use std::fs;

use serde_json::json;

use super::{add, call, code, config, config_with, del, with};
use crate::pair::{addresses, files, ours_in, peer_in};

#[test]
fn what_host_local_gave_stays_given() {
    let dir = tempfile::tempdir().unwrap();
    let both = config(json!({
        "ranges": [[{"subnet": "10.1.0.0/29"}], [{"subnet": "fd00::/64"}]],
    }));
    let c1 = peer_in(dir.path(), &add("c1", &both));
    peer_in(dir.path(), &add("c2", &both)).unwrap();
    // What a killed ADD of host-local leaves; nobody holds it.
    fs::write(dir.path().join("net/10.1.0.4"), "").unwrap();
    // A file of before 2019.
    fs::write(dir.path().join("net/10.1.0.5"), "c5").unwrap();
    let before = files(dir.path());

    let given = ours_in(dir.path(), &add("c3", &both));
    assert_eq!(addresses(&given), ["10.1.0.4/29", "fd00::4/64"]);
    assert_eq!(code(&ours_in(dir.path(), &add("c1", &both))), 102);
    let prev = config_with(&both, "prevResult", c1.unwrap());
    ours_in(dir.path(), &call("CHECK", "c1", &prev)).unwrap();
    assert_eq!(addresses(&ours_in(dir.path(), &add("c4", &both))), ["10.1.0.6/29", "fd00::5/64"]);
    assert_eq!(code(&ours_in(dir.path(), &add("c6", &both))), 11);
    for container in ["c1", "c5"] {
        ours_in(dir.path(), &del(container, &both)).unwrap();
    }
    let held = with("IP=10.1.0.2", &add("c6", &both));
    assert_eq!(addresses(&ours_in(dir.path(), &held))[0], "10.1.0.2/29");
    let held = with("IP=10.1.0.3", &add("c7", &both));
    assert_eq!(code(&ours_in(dir.path(), &held)), 11, "c2 lives");

    let after = files(dir.path());
    assert!(before.iter().all(|file| after.contains(file)), "{before:?} {after:?}");
}

#[test]
fn a_reservation_that_no_range_has_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let wide = config(json!({"subnet": "10.1.0.0/24"}));
    let narrow = config(json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.100"}));
    peer_in(dir.path(), &add("c1", &wide)).unwrap();
    assert_eq!(addresses(&ours_in(dir.path(), &add("c2", &narrow))), ["10.1.0.100/24"]);
    assert_eq!(addresses(&ours_in(dir.path(), &add("c3", &wide))), ["10.1.0.3/24"]);
    ours_in(dir.path(), &del("c1", &narrow)).unwrap();
    let again = with("IP=10.1.0.2", &add("c4", &wide));
    assert_eq!(addresses(&ours_in(dir.path(), &again)), ["10.1.0.2/24"]);
}
