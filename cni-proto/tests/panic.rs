//! A panic hook's answer. It depends on the call of the process, so this test has one of its own.

use std::io;

use cni_proto::{AddRequest, AddResult, DelRequest, Error, Plugin, Version, panic_object, serve};
use serde_json::{Value, json};

/// Answers with what a panic hook would print if it panicked.
struct Panicking;

impl Plugin for Panicking {
    fn name(&self) -> &'static str {
        "panicking"
    }

    fn add(&self, _: &AddRequest) -> Result<AddResult, Error> {
        let printed = on_another_thread(printed);
        Err(Error::parse(printed.to_string().as_bytes()).expect("an error object"))
    }

    fn del(&self, _: &DelRequest) -> Result<(), Error> {
        Ok(())
    }
}

/// Plugins enter namespaces on threads of their own and may panic there.
fn on_another_thread(work: fn() -> Value) -> Value {
    std::thread::scope(|scope| scope.spawn(work).join().expect("no panic"))
}

fn printed() -> Value {
    let info = "panicked at src/main.rs:3:5:\nNo such file or directory: \"x\"";
    let line = panic_object(&info, Version::V1_0_0);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    serde_json::from_slice(&line).expect("one object")
}

#[test]
fn a_panic_is_an_error_object_in_the_version_of_the_call() {
    let object = |version: &str| {
        json!({
            "cniVersion": version,
            "code": 999,
            "msg": "the plugin panicked, which is a defect in it",
            "details": "panicked at src/main.rs:3:5:\nENOENT: \"x\"",
        })
    };
    assert_eq!(printed(), object("1.0.0"), "before any call, what the caller says");
    for (stated, version) in [("0.3.1", "0.3.1"), ("", "0.1.0"), ("9", "1.1.0")] {
        let env = ["COMMAND=ADD", "CONTAINERID=c", "NETNS=/n", "IFNAME=eth0"]
            .map(|pair| pair.split_once('=').expect("a pair"))
            .map(|(name, value)| (format!("CNI_{name}").into(), value.into()));
        let stdin = format!(r#"{{"cniVersion":"{stated}","name":"n","type":"t"}}"#);
        let mut stdout = Vec::new();
        serve(&Panicking, env, &mut stdin.as_bytes(), &mut stdout, &mut io::sink());
        if stated != "9" {
            let answer: Value = serde_json::from_slice(&stdout).expect("one object");
            assert_eq!(answer, object(version));
        }
        assert_eq!(printed(), object(version));
    }
}
