//! A node with nothing wrong, and each thing that can be: it has its verdict and its remedy.

use std::collections::BTreeSet;

use ipam_core::{Pool, PoolSpec};

use super::super::examined::{Configuration, Database, Nic, NoDatabase, PoolFound};
use super::super::finding::Verdict;
use super::*;

fn pool(name: &str, network: &str) -> PoolFound {
    let spec = PoolSpec {
        subnet: "10.1.0.0/24".into(),
        ips: vec!["10.1.0.2-10.1.0.5".into()],
        node_name: vec!["n1".into()],
        multus_name: vec![network.into()],
        ..PoolSpec::default()
    };
    PoolFound { pool: Pool::new(name, &spec).unwrap(), size: 4, taken: 1 }
}

fn nic(name: &str) -> Nic {
    let mac = "02:00:00:00:00:01".into();
    Nic { name: name.into(), mac, up: true, mtu: 1500, port_of: None }
}

fn sound() -> Examined {
    let there = |module| (module, Presence::There);
    let program = |name: &'static str| {
        let path = format!("/opt/cni/bin/{name}").into();
        (name, Some(Program { path, answer: Ok("0.1.0".into()) }))
    };
    let place = |path: &str, mode, is_directory| Place {
        path: path.into(),
        mode,
        uid: 0,
        is_link: false,
        is_directory,
    };
    Examined {
        kernel: Some("6.1.0-13-amd64".into()),
        modules: ["ipvlan", "veth", "nf_tables"].map(there).into(),
        sysctls: [
            ("net/ipv4/ip_forward", Some("1".into())),
            ("net/ipv6/conf/all/forwarding", None),
            ("net/ipv4/conf/all/rp_filter", Some("0".into())),
        ]
        .into(),
        networkd: Some(Networkd { manages_routes: false, manages_rules: false }),
        network_manager_spares_veths: Some(true),
        own_version: "0.1.0",
        plugins: ["cni-ipam", "cni-ipvlan", "cni-coordinator"].map(program).into(),
        places: vec![place("/db", 0o700, true), place("/db/ipam.redb", 0o600, false)],
        configurations: vec![Configuration {
            file: "/etc/cni/net.d/10-a.conflist".into(),
            name: "a".into(),
            plugin: "cni-ipvlan".into(),
            network: Some("kube-system/a".parse().unwrap()),
            masters: vec!["eth1".into()],
            mode: "l2".into(),
            coordinated: true,
            ..Configuration::default()
        }],
        nics: vec![nic("eth1")],
        node: Some("n1".into()),
        database: Some(Ok(Database {
            pools: vec![pool("p", "kube-system/a")],
            revision: 7,
            leases: 1,
            ..Database::default()
        })),
        dead_leases: Some(Ok(0)),
        has_boot_id: true,
        unix_seconds: 1_800_000_000,
        has_room: Some(true),
        ..Examined::default()
    }
}

#[test]
fn a_sound_node_has_nothing_but_ok() {
    let findings = judge(&sound());
    assert!(findings.len() > 15);
    for finding in &findings {
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
        assert_eq!(finding.remedy, None);
    }
    let checks: BTreeSet<_> = findings.iter().map(|it| &it.check).collect();
    assert_eq!(checks.len(), findings.len(), "each is found by its name");
}

#[test]
fn keys_that_nobody_knows_are_named() {
    let (verdict, found, remedy) =
        only(|it| first(it).unknown_keys = vec!["ipam.cooldownSecond".into(), "mtuu".into()]);
    assert_eq!(verdict, Verdict::Warning);
    let expected = "keys of a (cni-ipvlan): ipam.cooldownSecond, mtuu: without effect";
    assert_eq!(found, expected);
    assert!(remedy.contains("docs/config.md"));
}

/// The one finding that is not ok.
fn only(change: impl FnOnce(&mut Examined)) -> (Verdict, String, String) {
    let mut found = sound();
    change(&mut found);
    let wrong: Vec<_> = judge(&found).into_iter().filter(|it| it.verdict != Verdict::Ok).collect();
    let [one] = wrong.as_slice() else { panic!("{wrong:?}") };
    let remedy = one.remedy.clone().unwrap();
    (one.verdict, format!("{}: {}", one.check, one.found), remedy)
}

type Change = fn(&mut Examined);

fn first(found: &mut Examined) -> &mut Configuration {
    &mut found.configurations[0]
}

fn readable(found: &mut Examined) -> &mut Database {
    found.database.as_mut().unwrap().as_mut().unwrap()
}

/// Each with how its finding begins, and what is in its remedy.
const PROBLEMS: &[(Change, &str, &str)] = &[
    (|it| it.kernel = Some("4.19.0".into()), "kernel: 4.19.0", "4.20"),
    (
        |it| {
            it.modules.insert("ipvlan", Presence::Missing);
        },
        "kernel has ipvlan: no such module",
        "modprobe ipvlan",
    ),
    (
        |it| {
            it.modules.insert("veth", Presence::Missing);
        },
        "kernel has veth: no such module",
        "modprobe veth",
    ),
    (
        |it| drop(it.sysctls.insert("net/ipv4/ip_forward", Some("0".into()))),
        "net.ipv4.ip_forward: 0",
        "sysctl -w net.ipv4.ip_forward=1",
    ),
    (
        |it| it.networkd.as_mut().unwrap().manages_routes = true,
        "systemd-networkd ManageForeignRoutes: yes",
        "ManageForeignRoutes=no",
    ),
    (
        |it| it.networkd.as_mut().unwrap().manages_rules = true,
        "systemd-networkd ManageForeignRoutingPolicyRules: yes",
        "ManageForeignRoutingPolicyRules=no",
    ),
    (
        |it| it.random_mac_files.push("/etc/systemd/network/1.link".into()),
        "MACAddressPolicy: /etc/systemd/network/1.link",
        "remove",
    ),
    (|it| it.has_boot_id = false, "boot id: cannot be read", "mount /proc"),
    (
        |it| drop(it.plugins.insert("cni-ipvlan", None)),
        "plugin cni-ipvlan: not in CNI_PATH",
        "install",
    ),
    (
        |it| {
            let program = it.plugins.get_mut("cni-coordinator").unwrap().as_mut().unwrap();
            program.answer = Err("no answer within 5 s".into());
        },
        "plugin cni-coordinator: /opt/cni/bin/cni-coordinator: no answer",
        "install",
    ),
    (|it| it.places[0].is_link = true, "/db: a link", "not followed"),
    (|it| it.places[0].uid = 7, "/db: mode 0700, owner 7", "chown root:root /db"),
    (|it| it.places[1].mode = 0o666, "/db/ipam.redb: mode 0666", "chmod 0600 /db/ipam.redb"),
    (
        |it| {
            let other =
                Configuration { file: "/etc/cni/net.d/20.conf".into(), ..first(it).clone() };
            it.configurations.push(other);
            // The same twice says the rest twice.
            it.configurations[1].network = None;
            it.configurations[1].plugin = "bridge".into();
        },
        "network a: in /etc/cni/net.d/10-a.conflist and /etc/cni/net.d/20.conf",
        "a name of its own",
    ),
    (|it| it.nics.clear(), "master of a: no link eth1", "set `master`"),
    (|it| it.nics[0].up = false, "master of a: eth1 is down", "ip link set eth1 up"),
    (
        |it| it.nics[0].port_of = Some("br0".into()),
        "master of a: eth1 is a port of br0",
        "name br0",
    ),
    (|it| first(it).mtu = 9000, "master of a: eth1 has MTU 1500", "at most 1500"),
    (
        |it| {
            let other = Configuration {
                name: "b".into(),
                mode: "l3".into(),
                masters: vec!["02:00:00:00:00:01".into()],
                ..first(it).clone()
            };
            it.configurations.push(Configuration { network: None, ..other });
        },
        "mode on eth1: l2 and l3",
        "one mode",
    ),
    (
        |it| it.database = Some(Err(NoDatabase::NeverMade("no database".into()))),
        "database: no database",
        "ipamctl apply",
    ),
    (
        |it| it.database = Some(Err(NoDatabase::Unusable("it is damaged".into()))),
        "database: it is damaged",
        "operations.md",
    ),
    (
        |it| readable(it).faults.push("a record is broken".into()),
        "database: 1 faults, the first: a record is broken",
        "verify --repair",
    ),
    (
        |it| readable(it).held_fences = 2,
        "held addresses that the cloud took back: 2",
        "get reserved",
    ),
    (|it| it.node = Some("n2".into()), "pools for network kube-system/a: none on n2", "get pools"),
];

#[test]
fn each_problem_is_found_with_its_remedy() {
    for (change, expected, expected_remedy) in PROBLEMS {
        // Without a database there are no pools either, which has a finding of its own.
        let mut found = sound();
        change(&mut found);
        let is_last =
            |it: &Finding| it.check.starts_with("pools for") && !expected.starts_with("pools");
        let wrong: Vec<_> = judge(&found)
            .into_iter()
            .filter(|it| it.verdict != Verdict::Ok && !is_last(it))
            .collect();
        let [one] = wrong.as_slice() else { panic!("{expected}: {wrong:?}") };
        assert_eq!(one.verdict, Verdict::Problem, "{one:?}");
        assert!(format!("{}: {}", one.check, one.found).starts_with(expected), "{one:?}");
        assert!(one.remedy.as_ref().unwrap().contains(expected_remedy), "{one:?}");
    }
}

#[test]
fn each_warning_is_found_with_its_remedy() {
    let cases: &[(Change, &str, &str)] = &[
        (|it| it.kernel = Some("5.10.0-21".into()), "kernel: 5.10.0-21", "6.1"),
        (|it| it.kernel = None, "kernel: its release", "/proc"),
        (
            |it| {
                it.modules.insert("ipvlan", Presence::Unknown);
            },
            "kernel has ipvlan: neither",
            "modprobe ipvlan",
        ),
        (
            |it| drop(it.sysctls.insert("net/ipv4/conf/all/rp_filter", Some("1".into()))),
            "net.ipv4.conf.all.rp_filter: 1, strict",
            "sysctl -w net.ipv4.conf.all.rp_filter=2",
        ),
        (
            |it| it.network_manager_spares_veths = Some(false),
            "NetworkManager: runs, and may",
            "unmanaged-devices",
        ),
        (|it| it.unix_seconds = 5, "wall clock: before 2024", "set the clock"),
        (|it| it.has_room = Some(false), "/run or /dev/shm in memory: no", "tmpfs"),
        (|it| it.places[0].mode = 0o755, "/db: mode 0755", "chmod 0700 /db"),
        (
            |it| it.broken_files.push(("/etc/cni/net.d/x.conf".into(), "no JSON".into())),
            "network configuration: /etc/cni/net.d/x.conf: no JSON",
            "correct or remove",
        ),
        (
            |it| it.dead_leases = Some(Ok(3)),
            "leases of dead namespaces: 3",
            "freed when a pool is full",
        ),
        (
            |it| it.dead_leases = Some(Err("hidden".into())),
            "leases of dead namespaces: hidden",
            "as root",
        ),
        (|it| readable(it).pools[0].taken = 4, "pool p: 0 of 4 addresses free", "add addresses"),
        (
            |it| readable(it).pools.push(pool("q", "kube-system/other")),
            "pool q: no configuration is of network kube-system/other",
            "multusName",
        ),
    ];
    for (change, expected, expected_remedy) in cases {
        let (verdict, text, remedy) = only(*change);
        assert_eq!(verdict, Verdict::Warning, "{text}");
        assert!(text.starts_with(expected), "{text}");
        assert!(remedy.contains(expected_remedy), "{text}: {remedy}");
    }
    let mut found = sound();
    found.own_version = "0.2.0";
    let other: Vec<_> =
        judge(&found).into_iter().filter(|it| it.verdict == Verdict::Warning).collect();
    assert_eq!(other.len(), 3, "all three programs are of another version: {other:?}");
}

/// What only the coordinator needs is nobody's problem without one.
#[test]
fn without_a_coordinator_less_is_needed() {
    let mut found = sound();
    first(&mut found).coordinated = false;
    found.modules.insert("nf_tables", Presence::Missing);
    found.sysctls.insert("net/ipv4/ip_forward", Some("0".into()));
    found.networkd = Some(Networkd { manages_routes: true, manages_rules: true });
    found.network_manager_spares_veths = Some(false);
    found.plugins.insert("cni-coordinator", None);
    found.plugins.insert("cni-ipam", None);
    assert!(judge(&found).iter().all(|it| it.verdict == Verdict::Ok), "{:?}", judge(&found));
}
