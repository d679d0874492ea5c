//! `ipamctl get ips` and its filters.

use crate::fixture::Fixture;

fn addresses(fixture: &Fixture, filter: &[&str]) -> Vec<(String, String)> {
    let list = fixture.json(&[&["get", "ips"], filter].concat());
    let items = list["items"].as_array().unwrap().iter();
    let pair = |item: &serde_json::Value| {
        let fenced = if item["fenced"] == true { ",fenced" } else { "" };
        let text = |field: &str| item[field].as_str().unwrap().to_owned();
        (text("ip"), text("state") + fenced)
    };
    items.map(pair).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(ip, state)| ((*ip).to_owned(), (*state).to_owned())).collect()
}

#[test]
fn held_addresses_come_by_themselves_and_the_others_by_their_state() {
    let fixture = Fixture::new();
    let held = [
        ("172.31.199.100", "live"),
        ("172.31.199.101", "live,fenced"),
        ("172.31.199.105", "live"),
        ("172.31.199.106", "live"),
    ];
    let of_cloud = |more: &[&str]| addresses(&fixture, &[&["--pool", "cloud"], more].concat());
    assert_eq!(of_cloud(&[]), pairs(&held));
    let mut all = pairs(&held);
    all.extend(pairs(&[
        ("172.31.199.102", "fenced,fenced"),
        ("172.31.199.110", "cooling"),
        ("172.31.199.111", "cooling"),
        ("172.31.199.112", "sticky"),
        ("172.31.199.113", "quarantined"),
        ("172.31.199.120-172.31.199.123", "reserved"),
        ("172.31.199.150-172.31.199.152", "reserved"),
        ("172.31.199.170", "pinned"),
    ]));
    all.sort();
    assert_eq!(of_cloud(&["--state", "all"]), all);
    let some = of_cloud(&["--state", "sticky,quarantined"]);
    assert_eq!(some, pairs(&[("172.31.199.112", "sticky"), ("172.31.199.113", "quarantined")]));
    assert_eq!(of_cloud(&["--state", "pinned"]), pairs(&[("172.31.199.170", "pinned")]));
    let fenced = of_cloud(&["--state", "fenced"]);
    let expected = [("172.31.199.101", "live,fenced"), ("172.31.199.102", "fenced,fenced")];
    assert_eq!(fenced, pairs(&expected));
}

#[test]
fn who_holds_an_address_is_found_by_pod_container_and_node() {
    let fixture = Fixture::new();
    let one = pairs(&[("172.31.199.105", "live")]);
    assert_eq!(addresses(&fixture, &["--pod", "web-2"]), one);
    assert_eq!(addresses(&fixture, &["--pod", "default/web-2"]), one);
    assert_eq!(addresses(&fixture, &["--pod", "other/web-2"]), []);
    assert_eq!(addresses(&fixture, &["--container", "c-web-2"]), one);
    assert_eq!(addresses(&fixture, &["--container", "c-web"]).len(), 3);
    assert_eq!(addresses(&fixture, &["--node", "master"]).len(), 4 + 166);
    assert_eq!(addresses(&fixture, &["--node", "worker"]).len(), 166, "big is for any node");
    let sticky = addresses(&fixture, &["--pod", "default/db-0", "--state", "all"]);
    assert_eq!(sticky, pairs(&[("172.31.199.112", "sticky")]));
    assert!(fixture.refused(&["get", "ips", "--pool", "x"]).contains("no pool \"x\" is stored"));
}

#[test]
fn the_table_says_the_state_last() {
    let fixture = Fixture::new();
    let table = fixture.shown(&["get", "ips", "--pod", "web-1"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].ends_with("AGE   STATE"), "{table}");
    assert!(lines[1].ends_with("2h    live,fenced"), "{table}");
}
