//! The reply marks, compared with what `nft` makes of the same script and says of ours.

use std::io::Write as _;
use std::process::{Command, Stdio};

use cni_net::{Mark, ReplyMarks};
use serde_json::Value;

mod namespace;
use namespace::TestNetns;

fn marks() -> ReplyMarks {
    ReplyMarks {
        table: "cni_coordinator".into(),
        interface: "veth0".into(),
        mark: Mark::bits(0x80),
    }
}

/// Runs `nft` inside with a script on its stdin, and gives its output.
fn nft(test: &TestNetns, arguments: &[&str], script: &str) -> String {
    let netns = format!("--net={}", test.path().display());
    let mut child = Command::new("nsenter")
        .args([&netns, "nft"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test needs util-linux's nsenter and nft");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {arguments:?}: {stderr}\n{script}");
    String::from_utf8(output.stdout).unwrap()
}

/// The ruleset as JSON, without the numbers that each object has.
fn ruleset(test: &TestNetns) -> Vec<Value> {
    let listed = nft(test, &["-j", "list", "ruleset"], "");
    let mut listed: Value = serde_json::from_str(&listed).unwrap();
    let Value::Array(mut all) = listed["nftables"].take() else { panic!("{listed}") };
    all.retain(|object| object.get("metainfo").is_none());
    for object in &mut all {
        for (_, inner) in object.as_object_mut().unwrap() {
            inner.as_object_mut().unwrap().remove("handle");
        }
    }
    all
}

#[test]
fn the_table_is_what_nft_makes_of_its_script() {
    for mark in [Mark::bits(0x80), Mark::bits(0x3), Mark { value: 0x10, mask: 0xf0 }] {
        let marks = ReplyMarks { mark, ..marks() };
        let (ours, theirs) = (TestNetns::new(), TestNetns::new());
        ours.open().nftables().unwrap().put_reply_marks(&marks).unwrap();
        nft(&theirs, &["-f", "-"], &marks.to_string());
        assert_eq!(ruleset(&ours), ruleset(&theirs));
        assert_eq!(ruleset(&ours).len(), 5, "a table, two chains, two rules");
        // Its own words, which a person will look for.
        let listed = nft(&ours, &["list", "ruleset"], "");
        for line in [
            "table inet cni_coordinator {",
            "type filter hook prerouting priority mangle; policy accept;",
            "iifname \"veth0\" ct state new ct mark set",
            "type route hook output priority mangle; policy accept;",
        ] {
            assert!(listed.contains(line), "{listed}");
        }
        // What nft makes is as good as what we make.
        let mut read = theirs.open().nftables().unwrap();
        assert_eq!(read.reply_marks_difference(&marks).unwrap(), None);
    }
}

#[test]
fn putting_again_replaces_all_of_ours_and_nothing_else() {
    let test = TestNetns::new();
    nft(&test, &["-f", "-"], "table ip other {\nchain a {\ncounter\n}\n}\n");
    let mut nftables = test.open().nftables().unwrap();
    nftables.put_reply_marks(&ReplyMarks { interface: "old0".into(), ..marks() }).unwrap();
    nft(&test, &["-f", "-"], "add chain inet cni_coordinator more");
    nftables.put_reply_marks(&marks()).unwrap();
    let first = ruleset(&test);
    nftables.put_reply_marks(&marks()).unwrap();
    assert_eq!(ruleset(&test), first);
    assert!(!nft(&test, &["list", "ruleset"], "").contains("old0"));
    assert_eq!(nftables.reply_marks_difference(&marks()).unwrap(), None);

    assert!(nftables.delete_table("cni_coordinator").unwrap());
    assert!(!nftables.delete_table("cni_coordinator").unwrap());
    assert_eq!(ruleset(&test).len(), 3, "the other table, its chain and its rule");
}

#[test]
fn every_change_of_another_is_a_difference() {
    let test = TestNetns::new();
    let mut nftables = test.open().nftables().unwrap();
    let mut difference = |commands: &str| {
        nftables.put_reply_marks(&marks()).unwrap();
        nft(&test, &["-f", "-"], commands);
        nftables.reply_marks_difference(&marks()).unwrap()
    };
    assert_eq!(difference(""), None);
    let t = "inet cni_coordinator";
    let rule = "iifname \"veth0\" ct state new ct mark set ct mark or";
    let recreated = |kind: &str| {
        format!(
            "delete chain {t} output; add chain {t} output {{ {kind} }}; add rule {t} output ct \
             mark and 0x80 == 0x80 meta mark set meta mark or 0x80"
        )
    };
    for (commands, expected) in [
        (format!("delete table {t}"), "has no chain prerouting"),
        (format!("flush chain {t} prerouting"), "chain prerouting of table"),
        (format!("flush chain {t} output"), "has other rules (0)"),
        (format!("add rule {t} output counter"), "has other rules (2)"),
        (
            format!("flush chain {t} prerouting; add rule {t} prerouting {rule} 0x40"),
            "other rules (1)",
        ),
        (
            format!("flush chain {t} prerouting; add rule {t} prerouting counter {rule} 0x80"),
            "other rules (1)",
        ),
        (format!("add chain {t} more"), "has 1 more chains"),
        (format!("add chain {t} output {{ policy drop; }}"), "has another hook"),
        (recreated("type filter hook output priority mangle;"), "has another hook"),
        (recreated("type route hook output priority 0;"), "has another hook"),
    ] {
        let found = difference(&commands);
        assert!(found.as_ref().is_some_and(|it| it.contains(expected)), "{commands}: {found:?}");
    }
    assert_eq!(difference(&recreated("type route hook output priority mangle;")), None);
}

#[test]
fn a_check_leaves_nothing() {
    let test = TestNetns::new();
    let mut nftables = test.open().nftables().unwrap();
    nftables.check_reply_marks(&marks()).unwrap();
    assert_eq!(ruleset(&test), Vec::<Value>::new());
    let script = marks().to_string().replace("veth0", "old0");
    nft(&test, &["-f", "-"], &script);
    let before = ruleset(&test);
    nftables.check_reply_marks(&marks()).unwrap();
    assert_eq!(ruleset(&test), before);
    // The socket goes on to work.
    nftables.put_reply_marks(&marks()).unwrap();
    assert_ne!(ruleset(&test), before);
}

#[test]
fn a_refusal_changes_nothing_and_tells_why() {
    let test = TestNetns::new();
    let mut nftables = test.open().nftables().unwrap();
    nftables.put_reply_marks(&marks()).unwrap();
    let before = ruleset(&test);
    let long = ReplyMarks { table: "x".repeat(300), ..marks() };
    let result = nftables.put_reply_marks(&long);
    assert!(result.as_ref().unwrap_err().errno().is_some(), "{result:?}");
    for odd in [
        ReplyMarks { interface: "a-name-of-sixteen".into(), ..marks() },
        ReplyMarks { interface: String::new(), ..marks() },
        ReplyMarks { mark: Mark { value: 0x81, mask: 0x80 }, ..marks() },
        ReplyMarks { mark: Mark::bits(0), ..marks() },
    ] {
        let error = nftables.put_reply_marks(&odd).unwrap_err();
        assert_eq!(error.errno(), None, "not even sent: {error}");
    }
    assert_eq!(ruleset(&test), before);
    assert_eq!(nftables.reply_marks_difference(&marks()).unwrap(), None);
}
