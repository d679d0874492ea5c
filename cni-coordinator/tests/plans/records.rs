//! Records of wirings: their JSON, and what a DEL makes of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use cni_coordinator::{Wiring, WiringError, unplan};

use crate::pods::{Stack, add_net1, config, lines, overlay, planned, underlay, wiring};
use crate::world::World;

const RECORD: &str = r#"{"addresses":["172.31.199.187"],"container":"0123456789abcdef0123456789abcdef","hostLink":"veth0123456789a","hostMac":"HMAC","hostRulePreference":1000,"hostTable":500,"ifname":"eth0","mode":"underlay","netns":"/run/netns/pod","network":"ipvlan","nodeAddresses":["172.31.199.183"],"ordinal":1,"podLink":"veth0","podMac":"PMAC","version":1}"#;

fn first() -> Wiring {
    wiring(&planned(&config(""), &underlay(Stack::V4, 1)))
}

fn second() -> Wiring {
    let mut world = World::new(underlay(Stack::V4, 2));
    world.add(&config(""));
    add_net1(&mut world.scene, Stack::V4, None);
    wiring(&planned(&config(""), &world.scene))
}

/// The bytes are read by later versions of the program.
#[test]
fn the_text_of_a_record() {
    let wiring = first();
    let text = RECORD
        .replace("PMAC", &wiring.pod_mac.to_string())
        .replace("HMAC", &wiring.host_mac.to_string());
    assert_eq!(wiring.to_json(), text);
    assert_eq!(Wiring::from_json(&text).unwrap(), wiring);
    let more = text.replacen('{', r#"{"later":[1],"#, 1);
    assert_eq!(Wiring::from_json(&more).unwrap(), wiring);
}

#[test]
fn every_record_comes_back() {
    for stack in Stack::ALL {
        for scene in [underlay(stack, 2), overlay(stack)] {
            let wiring = wiring(&planned(&config(""), &scene));
            assert_eq!(Wiring::from_json(&wiring.to_json()).unwrap(), wiring);
        }
    }
    let mut odd = first();
    odd.netns = PathBuf::from(OsStr::from_bytes(b"/run/\xff"));
    let read = Wiring::from_json(&odd.to_json()).unwrap();
    assert_eq!(read, Wiring { netns: PathBuf::new(), ..odd });
}

#[test]
fn a_record_that_is_none_is_refused() {
    let text = first().to_json();
    for (from, to, expected) in [
        ("\"version\":1", "\"version\":2", "has version 2, and this program reads 1"),
        ("\"underlay\"", "\"underway\"", "has mode \"underway\", which cannot be"),
        ("\"podMac\":\"", "\"podMac\":\"x", "has podMac \"x"),
        ("\"ifname\":\"eth0\"", "\"ifname\":\"\"", "has ifname \"\""),
        ("\"hostTable\":500", "\"hostTable\":-1", "cannot be read: "),
        ("{", "[", "cannot be read: "),
    ] {
        let error = Wiring::from_json(&text.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    // Whatever else another version has.
    let later = Wiring::from_json(r#"{"version":9}"#).unwrap_err();
    assert!(matches!(later, WiringError::Version(9)));
}

#[test]
fn the_last_del_deletes_the_pair_and_nothing_else() {
    assert_eq!(lines(&unplan(&first(), &[])), ["ip link delete veth0123456789a"]);
    assert_eq!(lines(&unplan(&second(), &[])), ["ip link delete veth0123456789a"]);
}

#[test]
fn an_earlier_del_deletes_what_is_of_its_interface() {
    assert_eq!(
        lines(&unplan(&second(), &[first()])),
        [
            "ip route delete 192.168.0.160/32 dev veth0123456789a table 500 OURS scope link",
            "ip neigh delete 192.168.0.160 dev veth0123456789a",
            "ip -n POD rule delete pref 602 from 192.168.0.160/32 lookup 102 OURS",
            "ip -n POD route show table 101 default | sed 's/^/route replace /' | ip -n POD -batch -",
            "ip -n POD route flush table 102",
        ]
    );
}

#[test]
fn a_del_in_overlay_mode_leaves_the_other_plugins_link() {
    let wiring = wiring(&planned(&config(""), &overlay(Stack::Dual)));
    assert_eq!(
        lines(&unplan(&wiring, &[])),
        [
            "ip route delete 172.31.199.187/32 dev cali12345 table 500 OURS scope link",
            "ip neigh delete 172.31.199.187 dev cali12345",
            "ip route delete fd00:172:31::187/128 dev cali12345 table 500 OURS",
            "ip neigh delete fd00:172:31::187 dev cali12345",
            "ip -n POD rule delete pref 601 from 172.31.199.187/32 lookup 101 OURS",
            "ip -n POD -6 rule delete pref 601 from fd00:172:31::187/128 lookup 101 OURS",
            "ip -n POD route show table 100 default | sed 's/^/route replace /' | ip -n POD -batch -",
            "ip -n POD route flush table 101",
            "ip -n POD -6 route show table 100 default | sed 's/^/route replace /' | ip -n POD -6 -batch -",
            "ip -n POD -6 route flush table 101",
        ]
    );
}
