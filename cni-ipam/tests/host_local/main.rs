//! The same calls to host-local of Debian's containernetworking-plugins and to our plugin. Where
//! their answers differ, the test says why. `-- --nocapture` prints all answers as a table.

mod pair;
mod takeover;

use pair::{Answer, Call, Pair, addresses, config, ours_in};
use serde_json::{Value, json};

fn call<'a>(verb: &'a str, container: &'a str, config: &'a Value) -> Call<'a> {
    Call { verb, container, args: "", config }
}

fn add<'a>(container: &'a str, config: &'a Value) -> Call<'a> {
    call("ADD", container, config)
}

fn del<'a>(container: &'a str, config: &'a Value) -> Call<'a> {
    call("DEL", container, config)
}

fn with<'a>(args: &'a str, call: &Call<'a>) -> Call<'a> {
    Call { args, ..call.clone() }
}

fn code(answer: &Answer) -> u64 {
    answer.as_ref().unwrap_err().0
}

/// Each configuration: three ADDs, one of them again, CHECK, DEL twice, and an ADD that does not
/// get the address that was just released.
#[test]
fn a_life_of_three_containers() {
    let resolv = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        resolv.path(),
        "# made by hand\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\ndomain a.example\n\
         search a.example b.example\nsearch c.example\noptions ndots:5 rotate\n",
    )
    .unwrap();
    let v4 = json!({"subnet": "10.1.0.0/16"});
    let v6 = json!({"subnet": "fd00:1::/64"});
    for (title, ipam) in [
        ("IPv4", json!({"ranges": [[v4]]})),
        ("IPv4, the flat form", v4.clone()),
        ("IPv6", json!({"ranges": [[v6]]})),
        ("IPv6 up to the last address", json!({"subnet": "fd00:1::/125"})),
        ("dual stack", json!({"ranges": [[v4], [v6]]})),
        ("dual stack, IPv6 first", json!({"ranges": [[v6], [v4]]})),
        ("two sets of IPv4", json!({"ranges": [[v4], [{"subnet": "10.2.0.0/24"}]]})),
        ("flat form and sets", json!({"subnet": "10.2.0.0/24", "ranges": [[v4], [v6]]})),
        (
            "two ranges in a set, the first of one address",
            json!({"ranges": [[
                {"subnet": "10.3.0.0/24", "rangeStart": "10.3.0.9", "rangeEnd": "10.3.0.9"},
                {"subnet": "10.4.0.0/24", "gateway": "10.4.0.3"},
            ]]}),
        ),
        (
            "two ranges of one subnet",
            json!({"ranges": [[
                {"subnet": "10.3.0.0/24", "rangeStart": "10.3.0.9", "rangeEnd": "10.3.0.9"},
                {"subnet": "10.3.0.0/24", "rangeStart": "10.3.0.20"},
            ]]}),
        ),
        (
            "subnets within each other, their ranges apart",
            json!({"ranges": [
                [{"subnet": "10.3.0.0/24", "rangeStart": "10.3.0.9", "rangeEnd": "10.3.0.99"}],
                [{"subnet": "10.3.0.0/16", "rangeStart": "10.3.1.9", "rangeEnd": "10.3.1.99"}],
            ]}),
        ),
        ("a start", json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.100"})),
        ("an end", json!({"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.5"})),
        ("keys in any case", json!({"SUBNET": "10.1.0.0/24", "rangestart": "10.1.0.100"})),
        ("empty texts", json!({"subnet": "10.1.0.0/24", "rangeStart": "", "gateway": ""})),
        ("nothing said by null", json!({"subnet": "10.1.0.0/24", "ranges": null, "routes": null})),
        ("a gateway in the range", json!({"subnet": "10.1.0.0/24", "gateway": "10.1.0.2"})),
        (
            "a gateway outside of the range",
            json!({"subnet": "10.1.0.0/24", "rangeEnd": "10.1.0.99", "gateway": "10.1.0.254"}),
        ),
        (
            "gateways that no subnet has",
            json!({"ranges": [
                [{"subnet": "10.1.0.0/24", "gateway": "169.254.1.1"}],
                [{"subnet": "fd00:1::/64", "gateway": "fe80::1"}],
                [{"subnet": "10.2.0.0/24", "gateway": "fe80::1"}],
            ]}),
        ),
        (
            "routes",
            json!({"ranges": [[v4], [v6]], "routes": [
                {"dst": "0.0.0.0/0"},
                {"dst": "10.9.1.2/16", "gw": "10.1.0.7"},
                {"dst": "::/0", "gw": "fd00:1::1"},
            ]}),
        ),
        ("resolv.conf", json!({"subnet": "10.1.0.0/24", "resolvConf": resolv.path()})),
    ] {
        let mut pair = Pair::new(title);
        let config = config(ipam);
        let given: Vec<Answer> =
            ["c1", "c2", "c3"].map(|container| pair.same(&add(container, &config))).into();
        assert!(given.iter().all(Result::is_ok), "{title}: {given:?}");
        assert_eq!(code(&pair.same(&add("c1", &config))), 102);
        let prev = config_with(&config, "prevResult", given[1].clone().unwrap());
        pair.same(&call("CHECK", "c2", &prev)).unwrap();
        pair.same(&del("c2", &prev)).unwrap();
        pair.same(&del("c2", &config)).unwrap();
        pair.same(&call("CHECK", "c2", &prev)).unwrap_err();
        // An end of the range leaves no address but the released one.
        if title != "an end" {
            pair.same(&add("c4", &config)).unwrap();
        }
        pair.end();
    }
}

fn config_with(config: &Value, key: &str, value: Value) -> Value {
    let mut config = config.clone();
    config[key] = value;
    config
}

#[test]
fn every_version_has_its_layout() {
    let mut pair = Pair::new("versions");
    for (number, version) in
        ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"].iter().enumerate()
    {
        let config = config(json!({
            "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::1"}],
        }));
        let config = config_with(&config, "cniVersion", (*version).into());
        let container = format!("c{number}");
        pair.same(&add(&container, &config)).unwrap();
    }
    pair.end();
}

#[test]
fn ranges_of_the_runtime_come_first() {
    let mut pair = Pair::new("runtimeConfig.ipRanges");
    let network = config(json!({"subnet": "10.1.0.0/24"}));
    let runtime = json!({"ipRanges": [[{"subnet": "10.8.0.0/24"}], [{"subnet": "fd00::/64"}]]});
    let more = config_with(&network, "runtimeConfig", runtime.clone());
    let given = pair.same(&add("c1", &more));
    assert_eq!(addresses(&given), ["10.8.0.2/24", "fd00::2/64", "10.1.0.2/24"]);
    pair.same(&del("c1", &more)).unwrap();
    let alone = config_with(&config(json!({})), "runtimeConfig", runtime);
    pair.same(&add("c2", &alone)).unwrap();
    pair.same(&del("c2", &alone)).unwrap();
    pair.end();
}

#[test]
fn ranges_that_come_and_go_move_no_other() {
    let mut pair = Pair::new("runtimeConfig.ipRanges for one container only");
    let network = config(json!({"subnet": "10.1.0.0/24"}));
    let runtime = json!({"ipRanges": [[{"subnet": "10.8.0.0/24"}]]});
    let more = config_with(&network, "runtimeConfig", runtime);
    pair.same(&add("c1", &more)).unwrap();
    pair.same(&add("c2", &more)).unwrap();
    pair.same(&del("c1", &network)).unwrap();
    let why = "host-local remembers the last address by the number of the set, we by range";
    let [peer, ours] = pair.differs(&add("c3", &network), why);
    assert_eq!((&*addresses(&peer)[0], &*addresses(&ours)[0]), ("10.1.0.2/24", "10.1.0.4/24"));
    pair.end();
}

#[test]
fn requested_addresses_of_three_origins() {
    let mut pair = Pair::new("requests");
    let network = config(json!({
        "ranges": [
            [{"subnet": "10.1.0.0/24"}],
            [{"subnet": "10.2.0.0/24"}],
            [{"subnet": "fd00::/64"}],
        ],
    }));
    let by_args = config_with(&network, "args", json!({"cni": {"ips": ["10.2.0.50"]}}));
    let by_runtime = config_with(&network, "runtimeConfig", json!({"ips": ["fd00::50/64"]}));
    let by_both =
        config_with(&by_args, "runtimeConfig", json!({"ips": ["fd00::51", "10.1.0.71/24"]}));
    let by_both = config_with(&by_both, "args", json!({"cni": {"ips": ["10.2.0.71"]}}));
    pair.same(&with("IP=10.1.0.50", &add("c1", &network))).unwrap();
    pair.same(&add("c2", &by_args)).unwrap();
    pair.same(&add("c3", &by_runtime)).unwrap();
    let all = addresses(&pair.same(&add("c4", &by_both)));
    assert_eq!(all, ["10.1.0.71/24", "10.2.0.71/24", "fd00::51/64"]);
    let args = "IgnoreUnknown=1;K8S_POD_NAME=p;IP=10.1.0.72";
    let mixed = config_with(&by_both, "args", json!({"cni": {"ips": ["10.2.0.72"]}}));
    let mixed = config_with(&mixed, "runtimeConfig", json!({"ips": ["fd00::52"]}));
    let all = addresses(&pair.same(&with(args, &add("c5", &mixed))));
    assert_eq!(all, ["10.1.0.72/24", "10.2.0.72/24", "fd00::52/64"]);
    // The same address twice is one.
    let again = config_with(&network, "args", json!({"cni": {"ips": ["10.1.0.73", "10.1.0.73"]}}));
    pair.same(&with("IP=10.1.0.73", &add("c6", &again))).unwrap();
    // Held, then free again.
    pair.same(&with("IP=10.1.0.50", &add("c7", &network))).unwrap_err();
    pair.same(&del("c1", &network)).unwrap();
    pair.same(&with("IP=10.1.0.50", &add("c7", &network))).unwrap();
    for args in [
        "IP=10.1.0.1",
        "IP=10.1.0.0",
        "IP=10.1.0.255",
        "IP=10.9.0.1",
        "IP=fd01::1",
        "IP=fd00::",
        "IP=x",
        "UNKNOWN=1",
        "UNKNOWN=1;IgnoreUnknown=0",
        "IgnoreUnknown=maybe",
    ] {
        pair.same(&with(args, &add("none", &network))).unwrap_err();
    }
    // Two of one set: the second is left over, and nothing is held.
    let two = config_with(&network, "args", json!({"cni": {"ips": ["10.1.0.60", "10.1.0.61"]}}));
    assert_eq!(code(&pair.same(&add("none", &two))), 7);
    let checked = config_with(&network, "prevResult", json!({"cniVersion": "1.0.0"}));
    pair.same(&call("CHECK", "none", &checked)).unwrap_err();
    let why = "host-local's failed ADDs have moved on in the other sets";
    let [peer, ours] = pair.differs(&with("IP=10.1.0.60", &add("c8", &network)), why);
    assert_eq!(addresses(&peer)[0], "10.1.0.60/24");
    assert_eq!(addresses(&ours), ["10.1.0.60/24", "10.2.0.75/24", "fd00::55/64"]);
    pair.end();
}

#[test]
fn an_exhausted_range_gives_again_what_was_released() {
    for (title, ipam) in [
        ("exhausted", json!({"subnet": "10.1.0.0/29"})),
        ("exhausted, IPv6", json!({"subnet": "fd00::/125"})),
        (
            "one set of two is exhausted",
            json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/125"}]]}),
        ),
    ] {
        let mut pair = Pair::new(title);
        let config = config(ipam);
        let mut count = 0;
        let full = loop {
            let given = pair.same(&add(&format!("c{count}"), &config));
            if given.is_err() {
                break given;
            }
            count += 1;
        };
        assert_eq!(code(&full), 11);
        assert!(count >= 5, "{count}");
        pair.same(&del("c2", &config)).unwrap();
        let next = add("next", &config);
        if title.starts_with("one set") {
            let why = "host-local's failed ADD has moved on in the other set";
            let [peer, ours] = pair.differs(&next, why);
            assert_eq!(addresses(&peer), ["10.1.0.9/24", "fd00::4/125"]);
            assert_eq!(addresses(&ours), ["10.1.0.8/24", "fd00::4/125"]);
        } else {
            pair.same(&next).unwrap();
        }
        pair.end();
    }
}

#[test]
fn bad_configurations() {
    let mut pair = Pair::new("bad configurations");
    let set = |ranges: Value| config(json!({"ranges": [ranges]}));
    for config in [
        config(json!({"ranges": []})),
        config(json!({"subnet": ""})),
        config(json!({"routes": [{"dst": "0.0.0.0/0"}]})),
        set(json!([])),
        set(json!([{}])),
        set(json!([{"subnet": "10.1.0.0"}])),
        set(json!([{"subnet": "10.1.0.0/31"}])),
        set(json!([{"subnet": "fd00::/127"}])),
        set(json!([{"subnet": "10.1.0.1/24"}])),
        set(json!([{"subnet": "fd00::1/64"}])),
        set(json!([{"subnet": "10.1.0.0/24", "gateway": "x"}])),
        set(json!([{"subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1"}])),
        set(json!([{"subnet": "10.1.0.0/24", "rangeEnd": "fd00::1"}])),
        set(json!([{"subnet": "10.1.0.0/24", "rangeEnd": "x"}])),
        set(json!([{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8"}])),
        set(json!([{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}])),
        set(json!([{"subnet": "10.1.0.0/24"}, {"subnet": "10.1.0.128/25"}])),
        config(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/25"}]]})),
        config(json!({"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.1.0.0/24"}]]})),
        config(json!({"subnet": "10.1.0.0/24", "routes": [{"dst": "x"}]})),
        config(json!({"subnet": "10.1.0.0/24", "resolvConf": "/nowhere/resolv.conf"})),
        config_with(
            &config(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]})),
            "cniVersion",
            "0.2.0".into(),
        ),
        config_with(
            &config(json!({"subnet": "10.1.0.0/24"})),
            "args",
            json!({"cni": {"ips": ["x"]}}),
        ),
    ] {
        assert_eq!(code(&pair.same(&add("c1", &config))), 7);
    }
    pair.end();
}

/// host-local of Debian does not speak 1.1.0, and answers STATUS and GC of no version.
#[test]
fn what_version_1_1_0_has_more() {
    let dir = tempfile::tempdir().unwrap();
    let routes = json!([{"dst": "10.9.0.0/16", "gw": "10.1.0.7", "mtu": 1400, "advmss": 1360,
        "priority": 5, "table": 0, "scope": 253}]);
    let network = config(json!({"subnet": "10.1.0.0/24", "routes": routes}));
    let given = ours_in(dir.path(), &add("old", &network)).unwrap();
    assert_eq!(given["routes"], json!([{"dst": "10.9.0.0/16", "gw": "10.1.0.7"}]));
    let network = config_with(&network, "cniVersion", "1.1.0".into());
    ours_in(&dir.path().join("never"), &call("STATUS", "", &network)).unwrap();
    let given = ours_in(dir.path(), &add("c1", &network)).unwrap();
    assert_eq!(given["routes"], routes);

    ours_in(dir.path(), &call("STATUS", "", &network)).unwrap();
    let valid = json!([{"containerID": "c1", "ifname": "eth0"}]);
    let listed = config_with(&network, "cni.dev/valid-attachments", valid);
    ours_in(dir.path(), &call("GC", "", &listed)).unwrap();
    let checked = config_with(&network, "prevResult", given);
    ours_in(dir.path(), &call("CHECK", "c1", &checked)).unwrap();
    assert_eq!(code(&ours_in(dir.path(), &call("CHECK", "old", &checked))), 104);

    std::fs::write(dir.path().join("net/ipam.redb"), "no database").unwrap();
    assert_eq!(code(&ours_in(dir.path(), &call("STATUS", "", &network))), 50);
    assert_eq!(code(&ours_in(dir.path(), &add("c2", &network))), 103);
    ours_in(dir.path(), &del("c1", &network)).unwrap();
}

/// Applied pools and ranges do not mix, and a DEL frees what either gave.
#[test]
fn ranges_and_applied_pools_are_apart() {
    let dir = tempfile::tempdir().unwrap();
    let ranges = config(json!({"subnet": "10.1.0.0/24"}));
    let pools = config(json!({"default_ipv4_ippool": ["p"]}));
    let both = config(json!({"subnet": "10.1.0.0/24", "default_ipv4_ippool": ["p"]}));
    assert_eq!(code(&ours_in(dir.path(), &add("c1", &both))), 7);
    assert_eq!(code(&ours_in(dir.path(), &add("c1", &pools))), 101);
    ours_in(dir.path(), &add("c1", &ranges)).unwrap();
    ours_in(dir.path(), &del("c1", &pools)).unwrap();
    ours_in(dir.path(), &add("c1", &ranges)).unwrap();
    ours_in(dir.path(), &del("c1", &both)).unwrap();
    ours_in(dir.path(), &add("c1", &ranges)).unwrap();
}

/// Where we do not follow host-local: each is a defect of it, or a rule of this project.
#[test]
fn known_differences() {
    let mut pair = Pair::new("known differences");
    let network = config(json!({"subnet": "10.1.0.0/24"}));
    let lost = config(json!({}));

    // cni.md §4 (c): its static path does not look for what the attachment holds.
    pair.same(&add("c1", &network)).unwrap();
    let why = "a second ADD with a request gets a second address";
    let [peer, ours] = pair.differs(&with("IP=10.1.0.50", &add("c1", &network)), why);
    assert!(peer.is_ok());
    assert_eq!(code(&ours), 102);

    // (b): a failed second ADD releases what the first one gave.
    pair.same(&with("IP=10.1.0.60", &add("c2", &network))).unwrap();
    let taken = config_with(&network, "args", json!({"cni": {"ips": ["10.9.0.1"]}}));
    pair.same(&with("IP=10.1.0.61", &add("c2", &taken))).unwrap_err();
    let checked = config_with(
        &network,
        "prevResult",
        json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.60/24"}]}),
    );
    let why = "a failed second ADD frees the first one's address";
    let [peer, ours] = pair.differs(&call("CHECK", "c2", &checked), why);
    assert!(peer.is_err() && ours.is_ok());

    // DEL and CHECK must not fail for what only an ADD needs.
    let why = "CNI_ARGS has an unknown key";
    let [_, ours] = pair.differs(&with("UNKNOWN=1", &call("CHECK", "c2", &checked)), why);
    ours.unwrap();
    let [_, ours] = pair.differs(&with("UNKNOWN=1", &del("c2", &network)), why);
    ours.unwrap();
    let [_, ours] = pair.differs(&del("c1", &lost), "the configuration has lost its ranges");
    ours.unwrap();
    let [_, ours] = pair.differs(&call("CHECK", "c1", &checked), "so it still holds addresses");
    assert_eq!(code(&ours), 104);

    // The pod's names are known keys.
    let why = "K8S_POD_NAME without IgnoreUnknown";
    let [_, ours] = pair.differs(&with("K8S_POD_NAME=p", &add("c3", &network)), why);
    ours.unwrap();
    pair.end();
}

#[test]
fn edges_of_subnets_and_foreign_gateways_are_given_to_nobody() {
    let mut pair = Pair::new("edges of subnets");
    let ends = json!({"subnet": "10.1.0.0/30", "rangeStart": "10.1.0.0", "rangeEnd": "10.1.0.3"});
    let config_of_ends = config(ends);
    let why = "a range that names the network address gives it";
    let [peer, ours] = pair.differs(&add("c1", &config_of_ends), why);
    assert_eq!((&*addresses(&peer)[0], &*addresses(&ours)[0]), ("10.1.0.0/30", "10.1.0.2/30"));
    pair.end();

    let mut pair = Pair::new("gateways of other ranges");
    let shared = config(json!({"ranges": [[
        {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.10",
         "gateway": "10.1.0.20"},
        {"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.20"},
    ]]}));
    pair.same(&add("c1", &shared)).unwrap();
    let why = "another range of the subnet has the gateway";
    let [peer, ours] = pair.differs(&add("c2", &shared), why);
    assert_eq!((&*addresses(&peer)[0], &*addresses(&ours)[0]), ("10.1.0.20/24", "10.1.0.21/24"));
    pair.end();
}

#[test]
fn a_set_of_two_ranges_is_gone_through_in_another_order_after_a_release() {
    let mut pair = Pair::new("two ranges, after a release");
    let network = config(json!({"ranges": [[
        {"subnet": "10.3.0.0/29"},
        {"subnet": "10.4.0.0/24"},
    ]], "cooldownSeconds": 0}));
    for number in 0..6 {
        pair.same(&add(&format!("c{number}"), &network)).unwrap();
    }
    pair.same(&del("c1", &network)).unwrap();
    let why = "we fill the first range of a set before the next";
    let [peer, ours] = pair.differs(&add("next", &network), why);
    assert_eq!((&*addresses(&peer)[0], &*addresses(&ours)[0]), ("10.4.0.3/24", "10.3.0.3/29"));
    pair.end();
}
