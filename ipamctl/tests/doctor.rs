//! `ipamctl doctor` over the files of a node.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const SCHEMA: &str = include_str!("../schemas/diagnosis.json");

/// A node of files: a kernel, a NIC, a configuration, a pool for it.
struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let node = Self { directory: tempfile::tempdir().unwrap() };
        for (path, text) in [
            ("proc/sys/kernel/osrelease", "6.1.0\n"),
            ("proc/sys/kernel/hostname", "Master\n"),
            ("proc/sys/kernel/random/boot_id", "6d1a\n"),
            ("proc/sys/net/ipv4/ip_forward", "1\n"),
            ("lib/modules/6.1.0/modules.builtin", "kernel/drivers/net/veth.ko\n"),
            (
                "lib/modules/6.1.0/modules.dep",
                "kernel/drivers/net/ipvlan/ipvlan.ko.xz: kernel/x.ko\n\
                 kernel/net/netfilter/nf_tables.ko:\nkernel/net/netfilter/nft_ct.ko:\n\
                 kernel/net/netfilter/nf_conntrack.ko:\n",
            ),
            ("sys/class/net/eth1/flags", "0x1003\n"),
            ("sys/class/net/eth1/mtu", "1500\n"),
            ("sys/class/net/eth1/address", "02:00:00:00:00:01\n"),
        ] {
            node.write(path, text);
        }
        let ipam = json!({"type": "cni-ipam", "network": "kube-system/ipvlan-eth0"});
        node.configure(
            "10-a.conflist",
            &json!({
                "cniVersion": "1.0.0", "name": "a",
                "plugins": [{"type": "cni-ipvlan", "master": "eth1", "ipam": ipam}],
            }),
        );
        fs::create_dir(node.database()).unwrap();
        fs::set_permissions(node.database(), fs::Permissions::from_mode(0o700)).unwrap();
        let seed = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/seed/pools.yaml");
        let applied = node.ipamctl(&["apply", "--no-node-scan", "-f", seed]);
        assert!(applied.status.success(), "{applied:?}");
        let plugin = "#!/bin/sh\n[ -n \"$CNI_COMMAND\" ] && \
                      echo '{\"supportedVersions\":[\"1.0.0\"]}' && exit\n\
                      echo \"${0##*/} 0.1.0\" >&2\n";
        for name in ["cni-ipvlan", "cni-ipam"] {
            let path = format!("opt/cni/bin/{name}");
            node.write(&path, plugin);
            let path = node.directory.path().join(path);
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        node
    }

    fn database(&self) -> std::path::PathBuf {
        self.directory.path().join("db")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn configure(&self, file: &str, list: &Value) {
        self.write(&format!("etc/cni/net.d/{file}"), &list.to_string());
    }

    fn ipamctl(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_ipamctl"))
            .arg("--data-dir")
            .arg(self.database())
            .args(arguments)
            .output()
            .unwrap()
    }

    fn doctor(&self, arguments: &[&str]) -> Output {
        let root = self.directory.path().to_str().unwrap();
        self.ipamctl(&[&["doctor", "--root", root], arguments].concat())
    }

    /// The answer as JSON, as its schema has it, and the exit code.
    fn diagnosis(&self) -> (Value, i32) {
        let output = self.doctor(&["-o", "json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<_> = validator.iter_errors(&answer).map(|it| it.to_string()).collect();
        assert_eq!(errors, [""; 0], "{answer}");
        (answer, output.status.code().unwrap())
    }
}

fn of<'a>(answer: &'a Value, check: &str) -> &'a Value {
    let findings = answer["findings"].as_array().unwrap();
    findings.iter().find(|it| it["check"] == check).unwrap_or_else(|| panic!("{check}: {answer:#}"))
}

/// The owner of the files is who runs the test.
fn is_root() -> bool {
    Path::new("/proc/self").exists() && {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata("/proc/self").unwrap().uid() == 0
    }
}

#[test]
fn a_sound_node_has_no_problem() {
    assert!(is_root(), "the database of a node is root's");
    let node = Node::new();
    let (answer, code) = node.diagnosis();
    assert_eq!((&answer["problems"], code), (&json!(0), 0), "{answer:#}");
    for (check, found) in [
        ("kernel", "6.1.0"),
        ("kernel has veth", "built in or loaded"),
        ("kernel has ipvlan", "a module, loaded when it is needed"),
        ("master of a", "eth1, up, MTU 1500"),
        ("pool master-172", "5 of 5 addresses free"),
        ("pools for network kube-system/ipvlan-eth0", "1"),
    ] {
        assert_eq!(of(&answer, check)["found"], found, "{answer:#}");
        assert_eq!(of(&answer, check)["verdict"], "ok");
    }
    let ipvlan = of(&answer, "plugin cni-ipvlan")["found"].as_str().unwrap();
    assert!(ipvlan.ends_with("/opt/cni/bin/cni-ipvlan 0.1.0"), "{ipvlan}");
    let keys = of(&answer, "keys of a (cni-ipvlan)");
    assert_eq!(keys["found"], "all are known");
    let coloured = node.doctor(&["--color", "always"]).stdout;
    assert!(String::from_utf8(coloured).unwrap().starts_with("\x1b[32mok       \x1b[0mkernel"));
    let list = node.doctor(&[]);
    let text = String::from_utf8(list.stdout).unwrap();
    assert!(text.lines().last().unwrap().starts_with("0 problems, "), "{text}");
    let yaml = node.doctor(&["-o", "yaml"]);
    assert!(String::from_utf8(yaml.stdout).unwrap().contains("kind: Diagnosis"));
}

#[test]
fn what_is_wrong_in_the_files_is_found() {
    let node = Node::new();
    let ipam = json!({"type": "cni-ipam", "network": "kube-system/nobodys"});
    let coordinator = json!({"type": "cni-coordinator"});
    node.configure("20-b.conflist", &json!({
        "cniVersion": "1.0.0", "name": "a",
        "plugins": [{"type": "cni-ipvlan", "master": ["eth9", "02:00:00:00:00:01"], "mode": "l3",
            "ipam": ipam}, coordinator],
    }));
    node.write("etc/cni/net.d/30-c.conf", "{");
    node.write("proc/sys/net/ipv4/ip_forward", "0\n");
    fs::create_dir_all(node.directory.path().join("run/systemd/netif")).unwrap();
    node.write(
        "etc/systemd/networkd.conf.d/a.conf",
        "[Other]\nManageForeignRoutes=yes\n[Network]\n# no\nManageForeignRoutes = no\n",
    );
    node.write("etc/systemd/network/1.link", "[Match]\n[Link]\nMACAddressPolicy=random\n");
    symlink("/etc", node.directory.path().join("run/node-ipam")).unwrap();
    let (answer, code) = node.diagnosis();
    assert_eq!(code, 3);
    let link = node.directory.path().join("run/node-ipam");
    for (check, verdict) in [
        ("network a", "problem"),
        ("mode on eth1", "problem"),
        ("pools for network kube-system/nobodys", "problem"),
        ("network configuration", "warning"),
        ("net.ipv4.ip_forward", "problem"),
        ("systemd-networkd ManageForeignRoutes", "ok"),
        ("systemd-networkd ManageForeignRoutingPolicyRules", "problem"),
        ("MACAddressPolicy", "problem"),
        ("plugin cni-coordinator", "problem"),
        (link.to_str().unwrap(), "problem"),
    ] {
        let finding = of(&answer, check);
        assert_eq!(finding["verdict"], verdict, "{finding}");
        assert_eq!(finding["remedy"].is_null(), verdict == "ok", "{finding}");
    }
}

#[test]
fn a_damaged_database_is_a_problem_with_its_message() {
    let node = Node::new();
    fs::write(node.database().join("ipam.redb"), "").unwrap();
    let (answer, code) = node.diagnosis();
    assert_eq!((code, &of(&answer, "database")["verdict"]), (3, &json!("problem")));
}
