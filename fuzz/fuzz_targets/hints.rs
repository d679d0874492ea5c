//! What pod and namespace say about pools: four annotations, the interface, requested addresses,
//! and a pool's name or pattern in each of the texts that are given as such.
//!
//! The input is up to seven texts with a line `---` between them: interface, `ippools`, `ippool`,
//! the namespace's lists for IPv4 and IPv6, requested addresses, and patterns, one on a line. An
//! empty text is an annotation that is not there.
#![no_main]

use std::net::IpAddr;

use ipam_core::{
    HintError, Hints, IfName, NamedPools, PoolName, PoolPattern, Source, Wish, requested_addresses,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let mut texts = text.split("\n---\n");
    let mut next = || texts.next().filter(|text| !text.is_empty());
    let ifname = next().and_then(|name| name.parse().ok());
    let ifname = ifname.unwrap_or_else(|| "eth0".parse().expect("a name"));
    let all = Hints {
        pod_pools: next(),
        pod_pool: next(),
        namespace_v4: next(),
        namespace_v6: next(),
        configuration: None,
    };
    check_order(&all, &ifname);
    check_addresses(next().unwrap_or_default());
    for text in next().unwrap_or_default().lines() {
        check_pattern(text);
    }
});

/// The first hint that is there is heard and no other; and each alone.
fn check_order(all: &Hints<'_>, ifname: &IfName) {
    let pools = Hints { pod_pools: all.pod_pools, ..Hints::default() };
    let pool = Hints { pod_pool: all.pod_pool, ..Hints::default() };
    let namespace = Hints { pod_pools: None, pod_pool: None, ..all.clone() };
    let heard = [&pools, &pool, &namespace].into_iter().find(|hints| **hints != Hints::default());
    let answer = all.wish(ifname);
    match heard {
        Some(hints) => assert_eq!(answer, hints.wish(ifname)),
        None => assert_eq!(answer, Ok(Wish::default())),
    }
    for hints in [&pools, &pool, &namespace] {
        check_wish(hints, ifname);
    }
}

fn check_wish(hints: &Hints<'_>, ifname: &IfName) {
    let texts = [hints.pod_pools, hints.pod_pool, hints.namespace_v4, hints.namespace_v6];
    let length: usize = texts.iter().flatten().map(|text| text.len()).sum();
    match hints.wish(ifname) {
        Ok(Wish { source: Source::Defaults, clean_gateway }) => {
            assert!(*hints == Hints::default() && !clean_gateway);
        }
        Ok(Wish { source: Source::Named(named), clean_gateway }) => {
            let patterns = || named.v4.iter().chain(&named.v6);
            let written: usize = patterns().map(|pattern| pattern.to_string().len()).sum();
            assert!(written <= length, "{named:?}");
            patterns().for_each(check_accepted);
            assert!(hints.pod_pools.is_some() || !clean_gateway);
            if let Some(text) = hints.pod_pools {
                let items: Vec<Value> = serde_json::from_str(text).expect("it was read as a list");
                assert!(items.iter().all(Value::is_object), "{text} has items without fields");
            }
            if let Some(text) = hints.pod_pool {
                check_listed(&named, text);
            }
            if hints.namespace_v4.is_some() || hints.namespace_v6.is_some() {
                check_list(&named.v4, hints.namespace_v4);
                check_list(&named.v6, hints.namespace_v6);
            }
        }
        Err(error) => check_error(&error, length),
    }
}

/// What `ippool` came to, against the text as plain JSON.
fn check_listed(named: &NamedPools, text: &str) {
    let value: Value = serde_json::from_str(text).expect("it was read as JSON");
    assert!(value.is_object(), "{text} has no fields");
    for (patterns, key) in [(&named.v4, "ipv4"), (&named.v6, "ipv6")] {
        let listed = value.get(key).filter(|list| !list.is_null());
        check_list(patterns, listed.map(Value::to_string).as_deref());
    }
}

fn check_list(patterns: &[PoolPattern], json: Option<&str>) {
    let texts: Vec<String> =
        json.map(|json| serde_json::from_str(json).expect("a list of texts")).unwrap_or_default();
    assert!(patterns.iter().map(ToString::to_string).eq(texts));
}

/// It says something, and no more than the hint is long, each character escaped.
fn check_error(error: &HintError, length: usize) {
    let text = error.to_string();
    assert!(text.contains("annotation ipam.spidernet.io/"), "{text}");
    assert!(text.len() <= 300 + 10 * length, "{} bytes from {length}: {text}", text.len());
}

fn check_addresses(text: &str) {
    match requested_addresses(text) {
        Ok(addresses) => {
            assert_eq!(addresses.len(), text.split(',').count());
            let joined: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            assert_eq!(requested_addresses(&joined.join(",")), Ok(addresses), "{text:?}");
        }
        Err(HintError::Address { text: one, .. }) => {
            assert!(text.split(',').any(|part| part.trim() == one), "{one:?} of {text:?}");
        }
        Err(other) => panic!("{text:?}: {other}"),
    }
}

fn check_pattern(text: &str) {
    match text.parse::<PoolPattern>() {
        Ok(pattern) => {
            assert_eq!(pattern.to_string(), text);
            check_accepted(&pattern);
        }
        Err(error) => {
            assert!(text.parse::<PoolName>().is_err(), "{text:?} is a name: {error}");
            assert!(!error.to_string().is_empty());
        }
    }
}

/// The text gives the pattern again, and it matches as a table of all pairs of prefixes has it.
fn check_accepted(pattern: &PoolPattern) {
    let text = pattern.to_string();
    assert_eq!(text.parse().as_ref(), Ok(pattern), "{text:?}");
    let own = text.parse::<PoolName>().ok();
    assert_eq!(own.is_none(), pattern.is_wildcard(), "{text:?}");
    assert!(own.is_none_or(|name| pattern.matches(&name)));
    // Names near the pattern: each wildcard filled in, and one character too many.
    let filled = |with: &str| text.replace('*', with).replace('?', "b");
    for name in [filled(""), filled("a"), filled("ab-ab"), filled("b") + "0", "master-172".into()] {
        if let Ok(name) = name.parse::<PoolName>() {
            let expected = table(&text, name.as_str());
            assert!(expected.is_none_or(|matches| pattern.matches(&name) == matches), "{text:?}");
        }
    }
}

/// Whether `text` stands for `name`; `None` where classes and backslashes are in it.
fn table(text: &str, name: &str) -> Option<bool> {
    if text.contains(['[', ']', '\\']) || text.len() > 512 {
        return None;
    }
    // Which prefixes of the name the pattern's prefix stands for.
    let name: Vec<char> = name.chars().collect();
    let mut stands: Vec<bool> = (0..=name.len()).map(|length| length == 0).collect();
    for next in text.chars() {
        let before = stands.clone();
        for length in 0..=name.len() {
            stands[length] = match next {
                '*' => before[..=length].contains(&true),
                one => length > 0 && before[length - 1] && (one == '?' || one == name[length - 1]),
            };
        }
    }
    stands.last().copied()
}
