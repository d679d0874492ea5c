//! The plugin's log, seen from outside: what is in it, and that nothing of it reaches a pod.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

mod process;

struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("logs/node-ipam.log")
    }

    fn call(&self, verb: &str, container: &str, pod: &str, log: &Value) -> Output {
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "bridge", "log": log,
            "ipam": {"type": "cni-ipam", "dataDir": self.directory.path(),
                "subnet": "10.1.0.0/30"},
        });
        let args = format!("K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}");
        process::run(process::call(verb, container).env("CNI_ARGS", args), &config)
    }

    fn to_file(&self) -> Value {
        json!({ "file": self.log() })
    }
}

/// The whole of stdout is the address, or nothing.
fn address(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["ips"][0]["address"].as_str().unwrap().to_owned()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_call_is_one_line_with_its_fields() {
    let node = Node::new();
    let given = address(&node.call("ADD", "c1", "app-1", &node.to_file()));
    let given = given.split('/').next().unwrap();
    // The pool of two addresses has its gateway and this one.
    let full = node.call("ADD", "c2", "app-2", &node.to_file());
    assert!(!full.status.success());
    let deleted = node.call("DEL", "c1", "app-1", &node.to_file());
    assert!(deleted.status.success() && deleted.stdout.is_empty(), "{deleted:?}");
    let lines = lines(&node.log());
    let [add, refused, del] = lines.as_slice() else { panic!("{lines:?}") };
    for (line, verb, container, pod) in [
        (add, "ADD", "c1", "default/app-1"),
        (refused, "ADD", "c2", "default/app-2"),
        (del, "DEL", "c1", "default/app-1"),
    ] {
        assert_eq!(line["plugin"], "cni-ipam");
        assert_eq!(line["verb"], verb);
        assert_eq!(line["network"], "net");
        assert_eq!(line["container"], container);
        assert_eq!(line["ifname"], "eth0");
        assert_eq!(line["pod"], pod);
        assert!(line["durationMicros"].as_u64().unwrap() > 0, "{line}");
        assert!(line["phasesMicros"]["store"].is_u64(), "{line}");
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    for line in [add, del] {
        assert_eq!(line["level"], "info");
        assert_eq!(line["addresses"], json!([given]));
        assert_eq!(line["pools"].as_array().unwrap().len(), 1, "{line}");
        assert!(line["code"].is_null());
    }
    assert_eq!(add["message"], "ADD done");
    assert_eq!((&refused["level"], &refused["code"]), (&json!("error"), &json!(11)));
    assert!(refused["addresses"].is_null());
}

#[test]
fn the_level_leaves_lines_out_and_text_is_a_form() {
    let node = Node::new();
    let log = json!({ "file": node.log(), "level": "error", "format": "text" });
    address(&node.call("ADD", "c1", "app-1", &log));
    assert!(!node.log().exists());
    assert!(!node.call("ADD", "c2", "app-2", &log).status.success());
    let text = fs::read_to_string(node.log()).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains(" error cni-ipam: ") && text.contains(" code=11 "), "{text}");
}

/// A pod's name comes from whoever may make pods.
#[test]
fn a_name_makes_no_line_and_no_colour() {
    let node = Node::new();
    let evil = "x\n{\"level\":\"error\",\"message\":\"root\"}\u{1b}[31m\u{202e}";
    let text = json!({ "file": node.directory.path().join("logs/text.log"), "format": "text" });
    for log in [node.to_file(), text] {
        drop(node.call("ADD", "c1", evil, &log));
        drop(node.call("DEL", "c1", evil, &log));
        let text = fs::read_to_string(log["file"].as_str().unwrap()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
    assert_eq!(lines(&node.log())[0]["pod"], format!("default/{evil}"));
}

#[test]
fn what_cannot_be_written_fails_no_pod_and_is_said_once() {
    let node = Node::new();
    let shadow = node.directory.path().join("shadow");
    fs::write(&shadow, "root\n").unwrap();
    fs::create_dir(node.directory.path().join("logs")).unwrap();
    symlink(&shadow, node.log()).unwrap();
    for (log, reason) in [
        (node.to_file(), "Too many levels of symbolic links"),
        (json!({ "file": "/dev/full" }), "Invalid argument"),
        (json!({ "file": "/proc/1/log" }), "No such file or directory"),
        (json!({ "level": "loud" }), "log.level \"loud\": it must be"),
        (json!("everything"), "log \"everything\": it must be an object"),
    ] {
        let added = node.call("ADD", "c1", "app-1", &log);
        assert_eq!(address(&added), "10.1.0.2/30");
        let deleted = node.call("DEL", "c1", "app-1", &log);
        assert!(deleted.status.success() && deleted.stdout.is_empty());
        for output in [added, deleted] {
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(stderr.lines().count(), 1, "{log}: {stderr}");
            assert!(stderr.starts_with("cni-ipam: log"), "{stderr}");
            assert!(stderr.contains(reason), "{stderr}");
        }
    }
    assert_eq!(fs::read_to_string(shadow).unwrap(), "root\n");
}

/// Without `log` nothing is written anywhere, and stderr has what it always had.
#[test]
fn nothing_is_written_unless_asked_for() {
    let node = Node::new();
    let added = node.call("ADD", "c1", "app-1", &Value::Null);
    address(&added);
    assert_eq!(String::from_utf8(added.stderr).unwrap(), "");
    assert!(!node.directory.path().join("logs").exists());
}
