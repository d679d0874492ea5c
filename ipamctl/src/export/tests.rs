use std::net::IpAddr;

use ipam_core::{
    Attachment, LabelSelector, Moment, NetnsRef, PodRef, PoolSpec, ReservedSpec, Rest, RouteSpec,
    StickyKey,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// What the format looks like. It never changes: another format has another version and file.
const GOLDEN: &str = include_str!("../../tests/export/v1.json");

fn golden() -> Export {
    let spec = PoolSpec {
        subnet: "172.31.192.0/20".into(),
        ips: vec!["172.31.199.185-172.31.199.189".into()],
        gateway: Some("172.31.192.1".into()),
        node_name: vec!["master".into()],
        multus_name: vec!["kube-system/ipvlan-eth0".into()],
        default: Some(true),
        ..PoolSpec::default()
    };
    let reserved = ReservedSpec { ip_version: None, ips: vec!["172.31.199.186".into()] };
    let attachment = |container: &str| Attachment {
        network: "ipvlan-eth0".parse().unwrap(),
        container: container.parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    let pool: ipam_core::PoolName = "master-172".parse().unwrap();
    let lease = |address: &str, container: &str| Lease {
        address: address.parse().unwrap(),
        pool: pool.clone(),
        attachment: attachment(container),
        pod: None,
        netns: None,
        since: Stamp::default(),
    };
    let pod = PodRef { namespace: "default".into(), name: "web-0".into(), uid: Some("a-b".into()) };
    let key = StickyKey::new(Some(&pod), &attachment("c1")).unwrap();
    let rest = |address: &str, rest| Resting {
        address: address.parse().unwrap(),
        pool: pool.clone(),
        rest,
    };
    let boot = "0d9ff7ea-7f5b-4f0c-9f1e-1c1f4e0a9a55";
    Export {
        written: Stamp {
            boot: Some(boot.parse().unwrap()),
            moment: Moment(5000),
            unix_seconds: 1_760_000_000,
        },
        pools: vec![Pool::new("master-172", &spec).unwrap()],
        reserved: vec![Reserved::new("gateway", &reserved).unwrap()],
        leases: vec![
            Lease {
                pod: Some(pod),
                netns: Some(NetnsRef { path: "/run/netns/a".into(), inode: Some(4_026_532_281) }),
                since: Stamp {
                    boot: Some(boot.parse().unwrap()),
                    moment: Moment(4000),
                    unix_seconds: 1_759_999_000,
                },
                ..lease("172.31.199.185", "c1")
            },
            lease("172.31.199.190", "c2"),
        ],
        rests: vec![
            rest("172.31.199.187", Rest::cooling(Moment(4990), Moment(5050))),
            rest(
                "172.31.199.188",
                Rest::quarantine("02:00:00:00:00:01 on eth0".into(), Moment(1), Moment(9000)),
            ),
            rest("172.31.199.189", Rest::sticky(key, Moment(4500), Moment(609_300))),
        ],
    }
}

#[test]
fn the_format_is_as_released() {
    assert_eq!(golden().to_json().unwrap(), GOLDEN);
    assert_eq!(Export::from_json(GOLDEN).unwrap(), golden());
}

#[test]
fn printed_differently_it_is_the_same() {
    let value: Value = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(Export::from_json(&value.to_string()).unwrap(), golden());
    // The checksum of an independent implementation: zlib's, over the text that the module
    // documentation describes.
    assert_eq!(value["checksum"], "crc32:f06236ae");
}

/// Whatever byte is another one, what is read is what was written, or nothing.
#[test]
fn damage_is_noticed() {
    let golden = golden();
    for at in 0..GOLDEN.len() {
        for other in [b' ', b'0', b'x', b'"', b','] {
            let mut bytes = GOLDEN.as_bytes().to_vec();
            bytes[at] = other;
            let read = Export::from_json(std::str::from_utf8(&bytes).unwrap());
            assert!(read.is_err() || read.is_ok_and(|read| read == golden), "byte {at}: {other}");
        }
    }
    for end in 0..GOLDEN.trim_end().len() {
        assert!(Export::from_json(&GOLDEN[..end]).is_err(), "cut at {end}");
    }
}

/// The golden document with one value changed, and the checksum made anew.
fn forged(place: &str, value: Value) -> String {
    let mut document: Value = serde_json::from_str(GOLDEN).unwrap();
    let (parent, name) = place.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[name] = value;
    document["checksum"] = checksum(document.clone()).into();
    document.to_string()
}

#[test]
fn an_error_names_its_field() {
    for (place, value, expected) in [
        ("/kind", "List".into(), "kind \"List\": it must be NodeIPAMExport"),
        ("/apiVersion", "node-ipam/v2".into(), "apiVersion \"node-ipam/v2\": only node-ipam/v1"),
        ("/apiVersion", 1.into(), "apiVersion \"\": only node-ipam/v1 is known"),
        ("/more", 1.into(), "more: unknown field `more`"),
        ("/leases/0/more", 1.into(), "leases[0].more: unknown field `more`"),
        ("/leases/0/since/momentSeconds", (-1).into(), "leases[0].since.momentSeconds: invalid"),
        ("/leases/1/container", "a b".into(), "leases[1].container: a container id \"a b\" must"),
        ("/leases/1/address", "10.0.0".into(), "leases[1].address: invalid IP address"),
        ("/leases/1/pool", "A".into(), "leases[1].pool: a pool name \"A\""),
        ("/rests/0/reason", "tired".into(), "rests[0].reason: unknown variant `tired`"),
        ("/rests/1/reason/quarantine/seen", 1.into(), "rests[1].reason.quarantine.seen: invalid"),
        ("/rests/1/reason/quarantine/by", 1.into(), "unknown field `by`"),
        ("/rests/2/reason/sticky/ifname", "".into(), "rests[2].reason.sticky.ifname: an inter"),
        ("/written/boot", "".into(), "written.boot: a boot id must not be empty"),
        ("/pools/0/kind", "List".into(), "pools[0].kind \"List\": it must be SpiderIPPool"),
        ("/pools/0/spec/subnet", "10.0.0.1/24".into(), "pools[0].spec.subnet \"10.0.0.1/24\": it"),
        ("/pools/0/spec/ipz", 1.into(), "pools[0].spec.ipz: unknown field"),
        ("/reserved/0/apiVersion", "v1".into(), "reserved[0].apiVersion \"v1\": it must be"),
        ("/reserved/0/spec/ipVersion", 5.into(), "reserved[0].spec.ipVersion \"5\""),
    ] {
        let error = Export::from_json(&forged(place, value)).unwrap_err().to_string();
        assert!(error.contains(expected), "{place}: {error}");
    }
    for (text, expected) in [
        ("", "no JSON"),
        ("[]", "kind \"\""),
        ("{\"kind\":\"NodeIPAMExport\",\"apiVersion\":\"node-ipam/v1\"}", "checksum \"\": the con"),
    ] {
        let error = Export::from_json(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// Found by fuzzing: a fraction is another one once it is read and written, and its checksum too.
/// Where it stays the same it is refused by its field all the same.
#[test]
fn no_number_of_the_format_is_a_fraction() {
    let text = "1.0000000000000002e300";
    let printed = |text: &str| serde_json::from_str::<Value>(text).unwrap().to_string();
    assert_ne!(printed(&printed(text)), printed(text), "the library rounds no more: say so there");
    for place in ["/written/unixSeconds", "/leases/0/netns/inode", "/rests/0/untilSeconds", "/x"] {
        for fraction in [1.5, 0.0, 18_446_744_073_709_551_616.0] {
            let error = Export::from_json(&forged(place, fraction.into())).unwrap_err();
            let error = format!("{error:#}");
            let field = place.trim_start_matches('/').replace('/', ".").replace(".0.", "[0].");
            assert!(error.starts_with(&format!("{field}: ")), "{place}: {error}");
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9.-]{1,12}"
}

/// Texts that nobody checks, as they come.
fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

prop_compose! {
    fn stamps()(
        boot in option::of("[0-9a-f-]{1,36}"), moment in any::<u64>(), unix_seconds in any::<u64>(),
    ) -> Stamp {
        let boot = boot.map(|boot| boot.parse().unwrap());
        Stamp { boot, moment: Moment(moment), unix_seconds }
    }
}

prop_compose! {
    fn attachments()(
        network in "[!-~]{1,9}", container in "[^\\s\\p{C}]{1,9}", ifname in "[!-~]{1,15}",
    ) -> Attachment {
        Attachment {
            network: network.parse().unwrap(),
            container: container.parse().unwrap(),
            ifname: ifname.parse().unwrap(),
        }
    }
}

prop_compose! {
    fn pods()(namespace in text(), name in text(), uid in option::of(text())) -> PodRef {
        PodRef { namespace, name, uid }
    }
}

prop_compose! {
    fn leases()(
        address in any::<IpAddr>(), pool in name(), attachment in attachments(),
        pod in option::of(pods()), netns in option::of((text(), option::of(any::<u64>()))),
        since in stamps(),
    ) -> Lease {
        let netns = netns.map(|(path, inode)| NetnsRef { path, inode });
        Lease { address, pool: pool.parse().unwrap(), attachment, pod, netns, since }
    }
}

fn rests() -> impl Strategy<Value = Resting> {
    let reason = prop_oneof![
        Just(None),
        text().prop_map(|seen| Some(Ok(seen))),
        (pods(), attachments()).prop_map(|(pod, of)| Some(Err(StickyKey::new(Some(&pod), &of)))),
    ];
    (any::<IpAddr>(), name(), reason, any::<u64>(), any::<u64>()).prop_map(
        |(address, pool, reason, since, until)| {
            let (since, until) = (Moment(since), Moment(until));
            let rest = match reason {
                None => Rest::cooling(since, until),
                Some(Ok(seen)) => Rest::quarantine(seen, since, until),
                Some(Err(key)) => Rest::sticky(key.unwrap(), since, until),
            };
            Resting { address, pool: pool.parse().unwrap(), rest }
        },
    )
}

prop_compose! {
    fn pools()(
        name in name(), third in any::<u8>(), is_v6 in any::<bool>(), excluded in any::<bool>(),
        routed in any::<bool>(), nodes in vec(name(), 0..3), label in option::of("[a-z]{1,9}"),
        default in any::<bool>(), disable in any::<bool>(),
    ) -> Pool {
        let (subnet, at) = if is_v6 {
            (format!("fd00:{third:x}::/64"), format!("fd00:{third:x}::"))
        } else {
            (format!("10.0.{third}.0/24"), format!("10.0.{third}."))
        };
        let spec = PoolSpec {
            subnet,
            ips: vec![format!("{at}5-{at}9"), format!("{at}20")],
            exclude_ips: excluded.then(|| format!("{at}7")).into_iter().collect(),
            gateway: routed.then(|| format!("{at}1")),
            routes: routed
                .then(|| RouteSpec {
                    dst: if is_v6 { "2001:db8::/32" } else { "192.0.2.0/24" }.into(),
                    gw: format!("{at}2"),
                })
                .into_iter()
                .collect(),
            node_name: nodes,
            pod_affinity: label.map(|label| LabelSelector {
                match_labels: [(label, "x".to_owned())].into(),
                ..LabelSelector::default()
            }),
            default: Some(default),
            disable: Some(disable),
            ..PoolSpec::default()
        };
        Pool::new(&name, &spec).unwrap()
    }
}

prop_compose! {
    fn reserved()(name in name(), last in vec(any::<u8>(), 0..5), is_v6 in any::<bool>()) -> Reserved {
        let text = |last: u8| if is_v6 { format!("fd00::{last:x}") } else { format!("10.0.0.{last}") };
        let spec = ReservedSpec { ip_version: None, ips: last.into_iter().map(text).collect() };
        Reserved::new(&name, &spec).unwrap()
    }
}

prop_compose! {
    fn exports()(
        written in stamps(), pools in vec(pools(), 0..4), reserved in vec(reserved(), 0..3),
        leases in vec(leases(), 0..5), rests in vec(rests(), 0..5),
    ) -> Export {
        Export { written, pools, reserved, leases, rests }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(export in exports()) {
        let text = export.to_json().unwrap();
        prop_assert_eq!(Export::from_json(&text).unwrap(), export);
    }

    #[test]
    fn no_text_is_a_panic(text in any::<String>()) {
        prop_assert!(Export::from_json(&text).is_err());
    }
}
