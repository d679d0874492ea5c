//! What annotations and configuration come to for one interface. The ids are those of the peer's
//! cases.

use ipam_core::{
    Hints, LONGEST_ANNOTATION, NamedPools, PoolPattern, Source, Wish, requested_addresses,
};
use proptest::prelude::*;

fn named(v4: &[&str], v6: &[&str]) -> NamedPools {
    let patterns = |texts: &[&str]| -> Vec<PoolPattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    NamedPools { v4: patterns(v4), v6: patterns(v6) }
}

fn wish(hints: &Hints<'_>, ifname: &str) -> Result<Wish, String> {
    hints.wish(&ifname.parse().unwrap()).map_err(|error| error.to_string())
}

fn wished(v4: &[&str], v6: &[&str]) -> Wish {
    Wish { source: Source::Named(named(v4, v6)), clean_gateway: false }
}

fn pools(text: &str) -> Hints<'_> {
    Hints { pod_pools: Some(text), ..Hints::default() }
}

/// Says something in each of the five places.
fn all() -> Hints<'static> {
    Hints {
        pod_pools: Some(r#"[{"ipv4":["a4"],"ipv6":["a6"]}]"#),
        pod_pool: Some(r#"{"ipv4":["b4"],"ipv6":["b6"]}"#),
        namespace_v4: Some(r#"["c4"]"#),
        namespace_v6: Some(r#"["c6"]"#),
        configuration: Some(named(&["d4"], &["d6"])),
    }
}

#[test]
fn the_first_source_that_is_there_is_heard() {
    let mut hints = all();
    assert_eq!(wish(&hints, "eth0"), Ok(wished(&["a4"], &["a6"])), "A00005: ippools before ippool");
    hints.pod_pools = None;
    assert_eq!(wish(&hints, "eth0"), Ok(wished(&["b4"], &["b6"])), "A00004: pod before namespace");
    hints.pod_pool = None;
    assert_eq!(wish(&hints, "eth0"), Ok(wished(&["c4"], &["c6"])), "A00004: namespace before file");
    hints.namespace_v4 = None;
    assert_eq!(
        wish(&hints, "eth0"),
        Ok(wished(&[], &["c6"])),
        "one family suffices, not filled up"
    );
    hints.namespace_v4 = Some("[]");
    hints.namespace_v6 = None;
    assert_eq!(wish(&hints, "eth0"), Ok(wished(&[], &[])), "an empty list is there");
    hints.namespace_v4 = None;
    assert_eq!(wish(&hints, "eth0"), Ok(wished(&["d4"], &["d6"])), "configuration");
    hints.configuration = Some(NamedPools::default());
    assert_eq!(wish(&hints, "eth0"), Ok(wished(&[], &[])), "an empty configuration is there");
    hints.configuration = None;
    assert_eq!(wish(&hints, "eth0"), Ok(Wish::default()), "A00006: default pools last");
    assert_eq!(Wish::default().source, Source::Defaults);
}

#[test]
fn a_source_that_names_nothing_or_is_broken_does_not_fall_through() {
    for (hints, expected) in [
        (Hints { pod_pools: Some("["), ..all() }, Err("annotation ipam.spidernet.io/ippools: EOF")),
        (Hints { pod_pools: Some(""), ..all() }, Err("annotation ipam.spidernet.io/ippools: EOF")),
        (
            Hints { pod_pools: Some("[]"), ..all() },
            Err("annotation ipam.spidernet.io/ippools: the list is empty"),
        ),
        (Hints { pod_pools: Some("[{}]"), ..all() }, Ok(())),
        (
            Hints { pod_pools: None, pod_pool: Some("x"), ..all() },
            Err("annotation ipam.spidernet.io/ippool: expected value"),
        ),
        (Hints { pod_pools: None, pod_pool: Some("{}"), ..all() }, Ok(())),
        (Hints { pod_pools: None, pod_pool: Some(r#"{"ipv4":null}"#), ..all() }, Ok(())),
        (
            Hints { pod_pools: None, pod_pool: None, namespace_v4: Some("c4"), ..all() },
            Err("annotation ipam.spidernet.io/default-ipv4-ippool: expected value"),
        ),
        (
            Hints { pod_pools: None, pod_pool: None, namespace_v6: Some("{}"), ..all() },
            Err("annotation ipam.spidernet.io/default-ipv6-ippool: invalid type: map"),
        ),
    ] {
        match expected {
            Ok(()) => assert_eq!(wish(&hints, "eth0"), Ok(wished(&[], &[])), "{hints:?}"),
            Err(start) => {
                let error = wish(&hints, "eth0").unwrap_err();
                assert!(error.starts_with(start), "{error}\n does not start with\n{start}");
            }
        }
    }
}

#[test]
fn wrong_types_are_refused_with_their_place() {
    // A00003
    for (hints, expected) in [
        (pools(r#"{"ipv4":["a"]}"#), "ippools: invalid type: map, expected a sequence"),
        (pools(r#"["a"]"#), "ippools: invalid type: string \"a\""),
        (pools(r#"[{"ipv4":"a"}]"#), "ippools: invalid type: string \"a\", expected a sequence"),
        (pools(r#"[{"ipv4":[7]}]"#), "ippools: invalid type: integer `7`, expected a string"),
        (pools(r#"[{"interface":7,"ipv4":["a"]}]"#), "ippools: invalid type: integer `7`"),
        (pools(r#"[{"cleangateway":"true"}]"#), "ippools: invalid type: string \"true\""),
        (pools(r#"[{"ipv4":["a"]}] x"#), "ippools: trailing characters at line 1 column 18"),
        (pools(r#"[{"ipv4":["a"],"ipv4":["b"]}]"#), "ippools: duplicate field `ipv4`"),
        (pools("null"), "ippools: invalid type: null"),
        (
            Hints { pod_pool: Some(r#"{"ipv6":{}}"#), ..Hints::default() },
            "ippool: invalid type: map",
        ),
        (
            Hints { pod_pool: Some(r#"[{"ipv4":["a"]}]"#), ..Hints::default() },
            "ippool: invalid type: sequence, expected an object",
        ),
        // serde's derived readers take a list for the fields in their order; Go's do not.
        (
            Hints { pod_pool: Some(r#"["a"]"#), ..Hints::default() },
            "ippool: invalid type: sequence, expected an object",
        ),
        (pools("[[]]"), "ippools: invalid type: sequence, expected an object"),
        (
            Hints { namespace_v4: Some(r#""a""#), ..Hints::default() },
            "default-ipv4-ippool: invalid type: string",
        ),
        (
            Hints { namespace_v4: Some(r#"["a"]"#), namespace_v6: Some("[1]"), ..Hints::default() },
            "default-ipv6-ippool: invalid type: integer `1`",
        ),
    ] {
        let error = wish(&hints, "eth0").unwrap_err();
        assert!(error.contains(expected), "{error}\n does not contain\n{expected}");
    }
}

#[test]
fn fields_of_others_are_not_read() {
    // A00002
    let text = r#"[{"ipv4":["a"],"nics":1,"dist":"1.0.0.0/16","gw":"1.0.0.1"}]"#;
    assert_eq!(wish(&pools(text), "eth0"), Ok(wished(&["a"], &[])));
    let hints =
        Hints { pod_pool: Some(r#"{"ipv4":["a"],"dist":"1.0.0.0/16"}"#), ..Hints::default() };
    assert_eq!(wish(&hints, "eth0"), Ok(wished(&["a"], &[])));
}

#[test]
fn a_named_item_is_for_its_interface_wherever_it_stands() {
    let text = r#"[{"interface":"net1","ipv4":["b"]},{"interface":"eth0","ipv4":["a"]}]"#;
    assert_eq!(wish(&pools(text), "eth0"), Ok(wished(&["a"], &[])));
    assert_eq!(wish(&pools(text), "net1"), Ok(wished(&["b"], &[])));
    assert_eq!(
        wish(&pools(text), "net2").unwrap_err(),
        "annotation ipam.spidernet.io/ippools: nothing is listed for interface net2",
        "A00013"
    );
}

#[test]
fn unnamed_items_are_counted_as_multus_counts_interfaces() {
    let text = r#"[{"ipv4":["a"]},{"interface":"","ipv4":["b"]},{"interface":null,"ipv6":["c"]}]"#;
    assert_eq!(wish(&pools(text), "eth0"), Ok(wished(&["a"], &[])));
    assert_eq!(wish(&pools(text), "net1"), Ok(wished(&["b"], &[])));
    assert_eq!(wish(&pools(text), "net2"), Ok(wished(&[], &["c"])));
    for ifname in [
        "net3",
        "net0",
        "net",
        "net-1",
        "net+1",
        "net01",
        "net1x",
        "eth1",
        "lo",
        "net18446744073709551616",
    ] {
        let error = wish(&pools(text), ifname).unwrap_err();
        let expected = format!("nothing is listed for interface {ifname}");
        assert!(error.contains(&expected), "{ifname}: {error}");
    }
}

#[test]
fn interfaces_are_named_in_all_items_or_in_none_and_once() {
    for text in [
        r#"[{"interface":"eth0","ipv4":["a"]},{"ipv4":["b"]}]"#,
        r#"[{"ipv4":["a"]},{"interface":"net1","ipv4":["b"]}]"#,
        r#"[{"interface":"eth0","ipv4":["a"]},{"interface":"","ipv4":["b"]}]"#,
    ] {
        let error = wish(&pools(text), "eth0").unwrap_err();
        assert!(error.contains("name the interface of every item, or of none"), "{error}");
    }
    // A00014: whoever asks, the list is wrong.
    let text = r#"[{"interface":"eth0"},{"interface":"net1"},{"interface":"net1"}]"#;
    for ifname in ["eth0", "net1", "net9"] {
        let error = wish(&pools(text), ifname).unwrap_err();
        assert!(error.contains("interface \"net1\" stands twice"), "{error}");
    }
}

#[test]
fn clean_gateway_is_per_interface_and_false_when_absent() {
    let text = r#"[{"interface":"eth0","ipv4":["a"],"cleangateway":true},
        {"interface":"net1","ipv4":["b"],"cleangateway":false},
        {"interface":"net2","ipv4":["c"]},{"interface":"net3","cleangateway":null}]"#;
    for (ifname, clean) in [("eth0", true), ("net1", false), ("net2", false), ("net3", false)] {
        assert_eq!(wish(&pools(text), ifname).unwrap().clean_gateway, clean, "A00011: {ifname}");
    }
}

#[test]
fn order_and_repetition_stay_as_written() {
    let hints = Hints { namespace_v4: Some(r#"["z","a*","z"]"#), ..Hints::default() };
    assert_eq!(wish(&hints, "eth0"), Ok(wished(&["z", "a*", "z"], &[])));
}

#[test]
fn a_text_that_names_no_pool_is_refused_with_the_rule() {
    for (text, expected) in [
        (r#"[{"ipv4":[""]}]"#, "ippools: a pool name must not be empty"),
        (r#"[{"ipv6":["Upper"]}]"#, r#"ippools: a pool name "Upper" must not contain 'U'"#),
        (r#"[{"ipv4":["a b"]}]"#, r#"ippools: a pool name "a b" must not contain ' '"#),
        (r#"[{"ipv4":["a["]}]"#, r#"ippools: a pool name "a[" must not contain '['"#),
        (r#"[{"ipv4":["a[]"]}]"#, r#"ippools: "a[]" is no pattern"#),
        (r#"[{"ipv4":["a[b-]*"]}]"#, r#"ippools: "a[b-]*" is no pattern"#),
        (r#"[{"ipv4":["ok","*\\"]}]"#, r#"ippools: "*\\" is no pattern"#),
    ] {
        let error = wish(&pools(text), "eth0").unwrap_err();
        assert!(error.contains(expected), "{error}\n does not contain\n{expected}");
    }
    let hints = Hints { pod_pool: Some(r#"{"ipv4":["[a"]}"#), ..Hints::default() };
    assert!(wish(&hints, "eth0").unwrap_err().contains("io/ippool: a pool name \"[a\""));
    let hints = Hints { namespace_v6: Some(r#"["?[]"]"#), ..Hints::default() };
    assert!(wish(&hints, "eth0").unwrap_err().contains("default-ipv6-ippool: \"?[]\""));
}

#[test]
fn an_annotation_has_a_longest_length() {
    let padded = |text: &str| format!("{text}{}", " ".repeat(LONGEST_ANNOTATION - text.len()));
    let fits = padded(r#"["a"]"#);
    let over = format!("{fits} ");
    let item = padded(r#"[{"ipv4":["a"]}]"#);
    let object = padded(r#"{"ipv4":["a"]}"#);
    for (hints, v4, v6) in [
        (pools(&item), true, false),
        (Hints { pod_pool: Some(&object), ..Hints::default() }, true, false),
        (Hints { namespace_v4: Some(&fits), ..Hints::default() }, true, false),
        (Hints { namespace_v6: Some(&fits), ..Hints::default() }, false, true),
    ] {
        let names = |there: bool| if there { &["a"][..] } else { &[] };
        assert_eq!(wish(&hints, "eth0"), Ok(wished(names(v4), names(v6))));
    }
    for hints in [
        pools(&over),
        Hints { pod_pool: Some(&over), ..Hints::default() },
        Hints { namespace_v4: Some(&over), ..Hints::default() },
        Hints { namespace_v6: Some(&over), ..Hints::default() },
    ] {
        let error = wish(&hints, "eth0").unwrap_err();
        assert!(error.ends_with("of 262145 bytes: at most 262144"), "{error}");
    }
}

#[test]
fn the_longest_annotation_is_judged_at_once() {
    let item = |index: usize| format!(r#"{{"interface":"{index}"}}"#);
    let items: Vec<String> = (0..12_000).map(item).collect();
    let text = format!("[{}]", items.join(","));
    assert!(text.len() < LONGEST_ANNOTATION && text.len() > LONGEST_ANNOTATION * 9 / 10);
    let start = std::time::Instant::now();
    assert_eq!(wish(&pools(&text), "11999"), Ok(wished(&[], &[])));
    assert!(start.elapsed().as_millis() < 500, "{:?}", start.elapsed());
    let nested = "[".repeat(LONGEST_ANNOTATION);
    assert!(wish(&pools(&nested), "eth0").is_err(), "deep nesting does not overflow the stack");
}

#[test]
fn requested_addresses_come_with_or_without_prefix_one_or_several() {
    let read = |text: &str| -> Result<Vec<String>, String> {
        requested_addresses(text)
            .map(|addresses| addresses.iter().map(ToString::to_string).collect())
            .map_err(|error| error.to_string())
    };
    let some = |addresses: &[&str]| Ok(addresses.iter().map(|a| (*a).to_string()).collect());
    for (text, expected) in [
        ("10.6.0.5", some(&["10.6.0.5"])),
        ("10.6.0.5/24", some(&["10.6.0.5"])),
        ("10.6.0.5,fd00::5", some(&["10.6.0.5", "fd00::5"])),
        (" 10.6.0.5/24 , fd00:0::5/64 ", some(&["10.6.0.5", "fd00::5"])),
        ("10.6.0.5,10.6.0.5", some(&["10.6.0.5", "10.6.0.5"])),
    ] {
        assert_eq!(read(text), expected, "{text:?}");
    }
    for (text, offending) in [
        ("", ""),
        ("10.6.0.5,", ""),
        (",10.6.0.5", ""),
        ("10.6.0.5 fd00::5", "10.6.0.5 fd00::5"),
        ("10.6.0.5,x", "x"),
        ("10.6.0.256", "10.6.0.256"),
        ("010.6.0.5", "010.6.0.5"),
        ("10.6.0.5/33", "10.6.0.5/33"),
        ("fd00::5/129", "fd00::5/129"),
        ("10.6.0.1-10.6.0.5", "10.6.0.1-10.6.0.5"),
        ("fe80::5%eth0", "fe80::5%eth0"),
    ] {
        let rule = "it must be an address, with or without a prefix length";
        assert_eq!(read(text), Err(format!("requested address {offending:?}: {rule}")), "{text:?}");
    }
}

const WORDS: [&str; 13] = [
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"interface\"",
    "\"ipv4\"",
    "\"ipv6\"",
    "\"cleangateway\"",
    "\"eth0\"",
    "true",
    "null",
];

proptest! {
    /// Close enough to the real thing to get behind the JSON parser.
    #[test]
    fn no_annotation_makes_it_panic(
        words in prop::collection::vec(
            prop_oneof![
                prop::sample::select(WORDS.to_vec()).prop_map(ToString::to_string),
                r#""[a-z*?\[\]^-]{0,4}"|\PC"#,
            ],
            0..24,
        ),
        ifname in "eth0|net[0-9]{0,3}|[a-z+0-9]{1,6}",
    ) {
        let text = words.concat();
        for hints in [
            pools(&text),
            Hints { pod_pool: Some(&text), ..Hints::default() },
            Hints { namespace_v4: Some(&text), namespace_v6: Some(&text), ..Hints::default() },
        ] {
            let _ = wish(&hints, &ifname);
        }
        let _ = requested_addresses(&text);
    }

    #[test]
    fn what_is_written_is_read(
        names in prop::collection::vec(("[a-z][a-z0-9-]{0,8}", "[a-z?*]{1,8}"), 1..6),
        at in any::<prop::sample::Index>(),
    ) {
        let items: Vec<String> = names
            .iter()
            .map(|(v4, v6)| format!(r#"{{"ipv4":["{v4}"],"ipv6":["{v6}"]}}"#))
            .collect();
        let at = at.index(names.len());
        let ifname = if at == 0 { "eth0".to_string() } else { format!("net{at}") };
        let (v4, v6) = &names[at];
        let text = format!("[{}]", items.join(","));
        prop_assert_eq!(wish(&pools(&text), &ifname), Ok(wished(&[v4], &[v6])));
    }
}
