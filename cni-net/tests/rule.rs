//! Rules, compared with what `ip` says.

use cni_net::{Family, Mark, Rule};
use ipnet::IpNet;

mod namespace;
use namespace::TestNetns;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Ours and the arguments with which `ip rule` makes the same.
fn examples() -> Vec<(Rule, &'static str)> {
    let mark = Some(Mark::bits(0x80));
    let protocol = Some(201);
    vec![
        (Rule::new(Family::V4, 1000, 500), "-4 pref 1000 lookup 500"),
        (Rule::new(Family::V6, 1000, 500), "-6 pref 1000 lookup 500"),
        (
            Rule { mark, protocol, ..Rule::new(Family::V4, 500, 100) },
            "-4 pref 500 fwmark 0x80/0x80 lookup 100 protocol 201",
        ),
        (
            Rule { mark, protocol, ..Rule::new(Family::V6, 500, 100) },
            "-6 pref 500 fwmark 0x80/0x80 lookup 100 protocol 201",
        ),
        (
            Rule { from: Some(net("172.31.199.187/32")), ..Rule::new(Family::V4, 600, 101) },
            "-4 pref 600 from 172.31.199.187/32 lookup 101",
        ),
        (
            Rule {
                from: Some(net("fd00::1/128")),
                to: Some(net("fd00:1::/64")),
                ..Rule::new(Family::V6, 601, 4711)
            },
            "-6 pref 601 from fd00::1/128 to fd00:1::/64 lookup 4711",
        ),
    ]
}

#[test]
fn rules_are_added_as_ip_adds_them_read_back_and_deleted() {
    let (ours, theirs) = (TestNetns::new(), TestNetns::new());
    let mut netlink = ours.netlink();
    let before = netlink.rules().unwrap();
    for (rule, command) in examples() {
        assert!(netlink.add_rule(&rule).unwrap(), "{rule}");
        assert!(!netlink.add_rule(&rule).unwrap(), "{rule} is there");
        let (family, command) = command.split_once(' ').unwrap();
        theirs.ip(&format!("{family} rule add {command}"));
    }
    for family in ["-4", "-6"] {
        let listed = |test: &TestNetns| test.ip_json(&format!("-d {family} rule show"));
        let without_maker = |test: &TestNetns| {
            let mut rules = listed(test);
            for rule in &mut rules {
                // ip says boot where we say nothing.
                if rule["protocol"] == "boot" || rule["protocol"] == "unspec" {
                    rule["protocol"] = "".into();
                }
            }
            rules
        };
        assert_eq!(without_maker(&ours), without_maker(&theirs));
    }
    let read = netlink.rules().unwrap();
    for (rule, _) in examples() {
        assert!(read.contains(&rule), "{rule:?} not in {read:#?}");
    }
    for (rule, _) in examples() {
        assert!(netlink.delete_rule(&rule).unwrap(), "{rule}");
        assert!(!netlink.delete_rule(&rule).unwrap(), "{rule} is gone");
    }
    assert_eq!(netlink.rules().unwrap(), before);
}

#[test]
fn a_rule_of_another_maker_stays() {
    let test = TestNetns::new();
    let mut netlink = test.netlink();
    test.ip("rule add pref 1000 lookup 500 protocol static");
    let rule = Rule { protocol: Some(201), ..Rule::new(Family::V4, 1000, 500) };
    assert!(!netlink.delete_rule(&rule).unwrap(), "it is static's");
    assert!(netlink.add_rule(&rule).unwrap());
    assert_eq!(test.ip_json("rule show pref 1000").len(), 2);
    assert!(netlink.delete_rule(&rule).unwrap());
    let left = test.ip_json("-d rule show pref 1000");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["protocol"], "static");
}

#[test]
fn a_rule_with_more_than_ours_have_is_not_listed() {
    let test = TestNetns::with_parent();
    for more in ["iif up0", "tos 0x10", "ipproto tcp", "not fwmark 0x1", "suppress_prefixlength 0"]
    {
        test.ip(&format!("rule add pref 700 {more} lookup 101"));
    }
    test.ip("rule add pref 701 blackhole");
    test.ip("rule add pref 702 fwmark 0x1 lookup 101");
    let listed = test.netlink().rules().unwrap();
    let ours: Vec<_> = listed.iter().filter(|rule| (700..703).contains(&rule.priority)).collect();
    let mark = Some(Mark { value: 1, mask: u32::MAX });
    let expected = Rule { mark, ..Rule::new(Family::V4, 702, 101) };
    assert_eq!(ours, [&expected]);
    assert!(listed.iter().any(|rule| rule.table == 255), "{listed:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut netlink = TestNetns::new().netlink();
    let rule = Rule { from: Some(net("fd00::1/128")), ..Rule::new(Family::V4, 600, 101) };
    let error = netlink.add_rule(&rule).unwrap_err();
    assert!(error.to_string().contains("another family"), "{error}");
    assert_eq!(error.errno(), None);
}
