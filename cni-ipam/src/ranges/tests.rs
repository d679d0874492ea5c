use std::ffi::OsStr;

use ipam_core::{Policy, Strategy};

use super::*;
use crate::place::DEFAULT_NETWORKS_DIR;

fn network(version: &str, fields: &str) -> Result<Option<Ranges>, Error> {
    let text = format!(r#"{{"cniVersion":"{version}","name":"Net_1","type":"bridge",{fields}}}"#);
    Ranges::new(&NetworkConfig::parse(text.as_bytes()).unwrap())
}

fn ranges(ipam: &str) -> Result<Option<Ranges>, Error> {
    network("1.1.0", &format!(r#""ipam":{{"type":"cni-ipam",{ipam}}}"#))
}

fn demands(ranges: &Ranges, args: &str) -> Result<Vec<Vec<String>>, Error> {
    let attachment = Attachment {
        network: "Net_1".parse().unwrap(),
        container: "c1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
    };
    let args = CniArgs::parse(OsStr::new(args)).unwrap();
    let demands = ranges.demands(&attachment, None, &args)?;
    let texts = |demand: &Demand| demand.requested.iter().map(ToString::to_string).collect();
    Ok(demands.iter().map(texts).collect())
}

#[test]
fn a_range_has_the_defaults_of_host_local() {
    for (fields, assignable, gateway) in [
        (r#""subnet":"10.0.0.0/29""#, "10.0.0.2-10.0.0.6", "10.0.0.1"),
        (r#""subnet":"10.0.0.0/30","gateway":"""#, "10.0.0.2", "10.0.0.1"),
        (
            r#""subnet":"10.0.0.0/29","gateway":"10.0.0.4""#,
            "10.0.0.1-10.0.0.3,10.0.0.5-10.0.0.6",
            "10.0.0.4",
        ),
        (r#""subnet":"10.0.0.0/29","rangeStart":"10.0.0.3""#, "10.0.0.3-10.0.0.6", "10.0.0.1"),
        (r#""subnet":"10.0.0.0/29","rangeEnd":"10.0.0.3""#, "10.0.0.2-10.0.0.3", "10.0.0.1"),
        (
            r#""subnet":"10.0.0.0/29","rangeStart":"::ffff:10.0.0.3","rangeEnd":"10.0.0.3""#,
            "10.0.0.3",
            "10.0.0.1",
        ),
        (r#""subnet":"fd00::/126""#, "fd00::2-fd00::3", "fd00::1"),
        (r#""subnet":"fd00::/112","rangeStart":"fd00::10""#, "fd00::10-fd00::ffff", "fd00::1"),
        // Nobody gets what the edges of a subnet are, wherever a range begins and ends.
        (
            r#""subnet":"10.0.0.0/30","rangeStart":"10.0.0.0","rangeEnd":"10.0.0.3""#,
            "10.0.0.2",
            "10.0.0.1",
        ),
    ] {
        for ipam in [fields.to_owned(), format!(r#""ranges":[[{{{fields}}}]]"#)] {
            let read = ranges(&ipam).unwrap().unwrap();
            assert_eq!(read.pools.len(), 1);
            assert_eq!(read.pools[0].assignable().to_string(), assignable, "{ipam}");
            assert_eq!(read.pools[0].gateway().unwrap().to_string(), gateway, "{ipam}");
        }
    }
}

#[test]
fn sets_come_from_the_runtime_then_from_the_flat_form_then_from_the_list() {
    let config = r#""ipam":{"type":"cni-ipam","RANGES":[[{"subnet":"10.3.0.0/24"}],
            [{"subnet":"10.4.0.0/24"},{"Subnet":"10.5.0.0/24","rangeend":"10.5.0.9"}]],
            "subnet":"10.2.0.0/24"},
        "runtimeConfig":{"ipRanges":[[{"subnet":"10.1.0.0/24"}]]}"#;
    let read = network("0.3.0", config).unwrap().unwrap();
    let texts = |set: &Vec<Range>| set.iter().map(|range| range.gateway().to_string()).collect();
    let sets: Vec<Vec<String>> = read.sets.iter().map(texts).collect();
    assert_eq!(
        sets,
        [vec!["10.1.0.1"], vec!["10.2.0.1"], vec!["10.3.0.1"], vec!["10.4.0.1", "10.5.0.1"]]
    );
    let name = read.pools[4].name().as_str();
    assert_eq!(name, "net-1-10.5.0.1-10.5.0.9");
    assert_eq!(demands(&read, "").unwrap().len(), 4);
}

#[test]
fn a_pool_keeps_its_name_when_others_come_before_it() {
    let alone = ranges(r#""subnet":"fd00::/120""#).unwrap().unwrap();
    assert_eq!(alone.pools[0].name().as_str(), "net-1-fd00-0-0-0-0-0-0-1-fd00-0-0-0-0-0-0-ff");
    let config = r#""ipam":{"type":"cni-ipam","subnet":"fd00::/120"},
        "runtimeConfig":{"ipRanges":[[{"subnet":"fd01::/120"}]]}"#;
    let second = network("1.1.0", config).unwrap().unwrap();
    assert_eq!(second.pools[1], alone.pools[0]);
}

#[test]
fn no_range_gives_the_gateway_of_another() {
    let shared = r#""ranges":[[
        {"subnet":"10.0.0.0/29","rangeStart":"10.0.0.1","rangeEnd":"10.0.0.3","gateway":"10.0.0.6"},
        {"subnet":"10.0.0.0/29","rangeStart":"10.0.0.4","gateway":"10.0.0.2"}]]"#;
    let read = ranges(shared).unwrap().unwrap();
    let assignable: Vec<_> = read.pools.iter().map(|pool| pool.assignable().to_string()).collect();
    assert_eq!(assignable, ["10.0.0.1,10.0.0.3", "10.0.0.4-10.0.0.5"]);
    for gateway in ["10.0.0.2", "10.0.0.6"] {
        let error = demands(&read, &format!("IP={gateway}")).unwrap_err();
        assert!(error.msg.contains(&format!("{gateway} is a gateway")), "{error}");
        assert_eq!(error.code, Code::INVALID_CONFIG);
    }
}

#[test]
fn a_gateway_may_be_anywhere() {
    let read = ranges(r#""subnet":"10.0.0.0/30","gateway":"fe80::1""#).unwrap().unwrap();
    assert_eq!(read.pools[0].assignable().to_string(), "10.0.0.1-10.0.0.2");
    let gateway = read.gateway_of(read.pools[0].name()).unwrap();
    assert_eq!(gateway.to_string(), "fe80::1");
}

#[test]
fn the_place_is_a_directory_of_the_networks_own_and_addresses_go_round() {
    let read = ranges(r#""subnet":"10.0.0.0/24""#).unwrap().unwrap();
    assert_eq!(read.place.data_dir, PathBuf::from(DEFAULT_NETWORKS_DIR).join("Net_1"));
    let policy = Policy { strategy: Strategy::RoundRobin, ..Policy::default() };
    assert_eq!(read.place.policy, policy);
    let read =
        ranges(r#""subnet":"10.0.0.0/24","dataDir":"/x","strategy":"lowest","cooldownSeconds":0"#);
    let place = read.unwrap().unwrap().place;
    assert_eq!(place.data_dir, PathBuf::from("/x/Net_1"));
    assert_eq!(place.policy, Policy { cooldown_seconds: 0, ..Policy::default() });
}

#[test]
fn routes_are_copied_with_all_that_they_say() {
    let read = ranges(
        r#""subnet":"10.0.0.0/24","resolvConf":"/r","routes":[{"dst":"0.0.0.0/0"},
            {"dst":"10.9.0.0/16","gw":"10.0.0.7","mtu":1400,"advmss":1360,"priority":5,"table":0,
             "scope":253}]"#,
    );
    let read = read.unwrap().unwrap();
    let route = Route {
        gw: Some("10.0.0.7".parse().unwrap()),
        mtu: Some(1400),
        advmss: Some(1360),
        priority: Some(5),
        table: Some(0),
        scope: Some(253),
        ..Route::to("10.9.0.0/16".parse().unwrap())
    };
    assert_eq!(read.routes, [Route::to("0.0.0.0/0".parse().unwrap()), route]);
    assert_eq!(read.resolv_conf, Some("/r".into()));
}

#[test]
fn a_configuration_without_ranges_is_for_the_applied_pools() {
    for ipam in [
        r#""dataDir":"/x""#,
        r#""network":"a/b","default_ipv4_ippool":["p"]"#,
        r#""ranges":null,"subnet":null"#,
    ] {
        assert_eq!(ranges(ipam).unwrap(), None, "{ipam}");
    }
    let empty = r#""ipam":{"type":"cni-ipam"},"runtimeConfig":{"ipRanges":[]}"#;
    assert_eq!(network("1.1.0", empty).unwrap(), None);
}

#[test]
fn what_is_wrong_is_named_with_its_set() {
    let set = |ranges: &str| format!(r#""ranges":[[{ranges}]]"#);
    let flat = |fields: &str| format!(r#""subnet":"10.0.0.0/24",{fields}"#);
    for (ipam, expected) in [
        (r#""ranges":[]"#.to_owned(), "ipam has ranges and no range: give"),
        (r#""subnet":"""#.to_owned(), "ipam has subnet and no range: give"),
        (r#""routes":[]"#.to_owned(), "ipam has routes and no range: give"),
        (r#""rangeStart":"10.0.0.1""#.to_owned(), "ipam has rangeStart and no range: give"),
        (set(""), "range set 0: it is empty"),
        (set("{}"), r#"range set 0: subnet "": it must be a CIDR"#),
        (set(r#"{"subnet":"10.0.0.0"}"#), r#"subnet "10.0.0.0": it must be a CIDR"#),
        (set(r#"{"subnet":"10.0.0.0/31"}"#), "it is too small"),
        (set(r#"{"subnet":"10.0.0.0/32"}"#), "it is too small"),
        (set(r#"{"subnet":"fd00::/127"}"#), "it is too small"),
        (set(r#"{"subnet":"10.0.0.1/24"}"#), "host bits set: write 10.0.0.0/24"),
        (set(r#"{"subnet":"::ffff:10.0.0.0/120"}"#), "not one in the form of the other"),
        (flat(r#""gateway":"x""#), r#"gateway "x": it must be an address"#),
        (flat(r#""rangeStart":"10.0.1.1""#), r#"rangeStart "10.0.1.1": it must lie in"#),
        (flat(r#""rangeEnd":"x""#), r#"rangeEnd "x": it must be an address"#),
        (flat(r#""rangeStart":"10.0.0.9","rangeEnd":"10.0.0.8""#), "10.0.0.9-10.0.0.8"),
        (
            set(r#"{"subnet":"10.0.0.0/24"},{"subnet":"fd00::/64"}"#),
            "range set 0: its ranges are of both families",
        ),
        (
            set(r#"{"subnet":"10.0.0.0/24"},{"subnet":"10.0.0.128/25"}"#),
            "range set 0: two of its ranges overlap",
        ),
        (
            r#""ranges":[[{"subnet":"10.0.0.0/25"}],[{"subnet":"10.0.0.0/24"}]]"#.to_owned(),
            "range set 1: it overlaps set 0",
        ),
        (flat(r#""ranges":{}"#), "ipam.ranges"),
        (flat(r#""routes":[{"gw":"10.0.0.1"}]"#), "ipam.routes[0]"),
        (flat(r#""dataDir":"relative""#), "ipam.dataDir"),
        (flat(r#""default_ipv4_ippool":["p"]"#), "ipam.default_ipv4_ippool is for applied pools"),
        (flat(r#""network":"a/b""#), "ipam.network is for applied pools, subnet for ranges"),
    ] {
        let error = ranges(&ipam).unwrap_err();
        assert!(error.msg.contains(expected), "{ipam}: {}", error.msg);
        assert_eq!(error.code, Code::INVALID_CONFIG, "{ipam}");
    }
    let two = r#""ipam":{"type":"cni-ipam","ranges":[[{"subnet":"10.0.0.0/24"}],
        [{"subnet":"10.0.1.0/24"}]]}"#;
    let error = network("0.2.0", two).unwrap_err();
    assert_eq!(error.msg, "cniVersion 0.2.0: 2 range sets of IPv4: at most one before 0.3.0");
    assert!(network("0.3.0", two).is_ok());
    let dual = two.replace("10.0.1.0/24", "fd00::/64");
    assert!(network("0.1.0", &dual).is_ok());
}

#[test]
fn requests_are_united_and_each_set_takes_the_first_of_its_own() {
    let config = |more: &str| {
        let config = format!(
            r#""ipam":{{"type":"cni-ipam","ranges":[[{{"subnet":"10.1.0.0/24"}}],
                [{{"subnet":"10.2.0.0/24"}}],[{{"subnet":"fd00::/64"}}]]}}{more}"#
        );
        network("1.1.0", &config).unwrap().unwrap()
    };
    let by_args = r#","args":{"cni":{"ips":["10.2.0.5"]}}"#;
    let by_runtime = r#","runtimeConfig":{"ips":["fd00::5/64","10.2.0.5/24"]}"#;
    let all = format!("{by_args}{by_runtime}");
    for (more, args, expected) in [
        ("", "", [vec![], vec![], vec![]]),
        ("", "IP=10.2.0.9;IgnoreUnknown=1;X=y", [vec![], vec!["10.2.0.9"], vec![]]),
        ("", "IP=", [vec![], vec![], vec![]]),
        ("", "IP=::ffff:10.1.0.9", [vec!["10.1.0.9"], vec![], vec![]]),
        ("", "IP=10.1.0.9/16;K8S_POD_NAME=p", [vec!["10.1.0.9"], vec![], vec![]]),
        (by_args, "", [vec![], vec!["10.2.0.5"], vec![]]),
        (by_runtime, "", [vec![], vec!["10.2.0.5"], vec!["fd00::5"]]),
        (&all, "IP=10.1.0.5", [vec!["10.1.0.5"], vec!["10.2.0.5"], vec!["fd00::5"]]),
    ] {
        assert_eq!(demands(&config(more), args).unwrap(), expected, "{more} {args}");
    }
    for (more, args, code, expected) in [
        ("", "IP=10.3.0.1", Code::INVALID_CONFIG, "requested address 10.3.0.1 is in no range"),
        ("", "IP=10.1.0.0", Code::INVALID_CONFIG, "requested address 10.1.0.0 is in no range"),
        ("", "IP=10.1.0.255", Code::INVALID_CONFIG, "10.1.0.255 is in no range"),
        (by_args, "IP=10.2.0.6", Code::INVALID_CONFIG, "requested address 10.2.0.5 is in no range"),
        ("", "IP=10.1.0.1", Code::INVALID_CONFIG, "10.1.0.1 is a gateway"),
        ("", "IP=x", Code::INVALID_ENVIRONMENT, r#"requested address "x""#),
        ("", "X=y", Code::INVALID_ENVIRONMENT, r#"unknown key "X""#),
        ("", "X=y;IgnoreUnknown=false", Code::INVALID_ENVIRONMENT, r#"unknown key "X""#),
        ("", "IgnoreUnknown=perhaps", Code::INVALID_ENVIRONMENT, "neither 1 nor 0"),
    ] {
        let error = demands(&config(more), args).unwrap_err();
        assert!(error.msg.contains(expected), "{more} {args}: {}", error.msg);
        assert_eq!(error.code, code, "{more} {args}");
    }
    let text = r#""ipam":{"type":"cni-ipam","subnet":"10.1.0.0/24"},"args":{"cni":{"ips":["x"]}}"#;
    let error = network("1.1.0", text).unwrap_err();
    assert!(error.msg.starts_with("args.cni.ips: requested address \"x\""), "{error}");
}
