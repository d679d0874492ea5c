//! The program as a runtime starts it.

use std::io::Write;
use std::process::{Command, Stdio};

const PREVIOUS: &str = r#"{"cniVersion":"1.1.0","interfaces":[{"mac":"00:16:3e:00:00:02","name":"eth0","sandbox":"/run/netns/none"}],"ips":[{"address":"172.31.199.187/20","interface":0}]}"#;

/// Exit code and what is on standard output.
fn start(verb: &str, config: &str) -> (i32, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_cni-coordinator"))
        .env_clear()
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", "0123456789abcdef")
        .env("CNI_NETNS", "/run/netns/none")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_PATH", "/opt/cni/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    program.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text.trim_end().to_owned())
}

fn config(fields: &str) -> String {
    format!(r#"{{"cniVersion":"1.1.0","name":"n","type":"cni-coordinator"{fields}}}"#)
}

#[test]
fn version_lists_every_version() {
    let (code, text) = start("VERSION", r#"{"cniVersion":"1.0.0"}"#);
    assert_eq!(code, 0);
    assert!(text.contains(r#""cniVersion":"1.0.0""#) && text.contains(r#""1.1.0""#), "{text}");
}

#[test]
fn a_disabled_coordinator_hands_on_what_it_was_given() {
    let given = format!(r#","mode":"disabled","prevResult":{PREVIOUS}"#);
    let (code, text) = start("ADD", &config(&given));
    assert_eq!((code, text.as_str()), (0, PREVIOUS));
    assert_eq!(start("DEL", &config(&given)), (0, String::new()));
}

#[test]
fn without_a_plugin_before_it_there_is_an_answer_too() {
    let (code, text) = start("ADD", &config(r#","mode":"disabled""#));
    assert_eq!(code, 1);
    for part in [r#""code":7"#, "no prevResult", "behind a main plugin"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn what_ipvlan_cannot_do_is_refused_before_anything_else() {
    let fields = format!(r#","podMACPrefix":"0a:1b","prevResult":{PREVIOUS}"#);
    let (code, text) = start("ADD", &config(&fields));
    assert!(code == 1 && text.contains("podMACPrefix") && text.contains(r#""code":7"#), "{text}");
}
