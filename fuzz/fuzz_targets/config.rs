//! A call of a plugin, once for each verb: environment and standard input in, at most one JSON
//! object out.
//!
//! The input is lines `NAME=VALUE`, an empty line, and the text on standard input.
#![no_main]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use cni_proto::{
    AddRequest, AddResult, CheckRequest, DelRequest, Error, GcRequest, Plugin, StatusRequest, Verb,
    Version, serve,
};
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let blank = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, stdin) = match blank {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (&b""[..], bytes),
    };
    let env = environment(head);
    check(None, &env, stdin);
    for verb in Verb::ALL {
        check(Some(*verb), &env, stdin);
    }
});

/// The variables of `head`; the verb is ours to set.
fn environment(head: &[u8]) -> Vec<(OsString, OsString)> {
    let os = |bytes| OsStr::from_bytes(bytes).to_owned();
    head.split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let equals = line.iter().position(|byte| *byte == b'=')?;
            Some((os(&line[..equals]), os(&line[equals + 1..])))
        })
        .filter(|(name, _)| name != "CNI_COMMAND")
        .collect()
}

fn check(verb: Option<Verb>, env: &[(OsString, OsString)], mut stdin: &[u8]) {
    let command = verb.map(|verb| ("CNI_COMMAND".into(), verb.as_str().into()));
    let env = command.into_iter().chain(env.iter().cloned());
    let probe = Probe::default();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = serve(&probe, env, &mut stdin, &mut stdout, &mut stderr);
    let Some(verb) = verb else {
        assert_eq!((exit, stdout.is_empty(), stderr.is_empty()), (0, true, false));
        return;
    };
    assert!(stderr.is_empty());
    let answer = answer(&stdout);
    match (exit, &answer) {
        (0, None) => assert!(!matches!(verb, Verb::Add | Verb::Version), "{verb} says nothing"),
        (0, Some(object)) => {
            assert!(matches!(verb, Verb::Add | Verb::Version), "{verb} answers {object}");
            version_of(object);
        }
        (1, Some(object)) => check_error(verb, object),
        _ => panic!("{verb}: exit {exit} with {answer:?}"),
    }
    // A verb is served by one call of the plugin or refused without one.
    let expected = u32::from(exit == 0 && verb != Verb::Version);
    assert_eq!(probe.calls.get(), expected, "{verb}: exit {exit} with {answer:?}");
    if let (Verb::Add, 0, Some(object)) = (verb, exit, answer) {
        check_result(&object);
    }
}

/// Nothing, or exactly one object in one line.
fn answer(stdout: &[u8]) -> Option<Value> {
    if stdout.is_empty() {
        return None;
    }
    let line = stdout.strip_suffix(b"\n").expect("a line end");
    assert!(!line.contains(&b'\n'));
    let value: Value = serde_json::from_slice(line).expect("exactly one JSON value");
    assert!(value.is_object(), "{value}");
    Some(value)
}

fn version_of(object: &Value) -> Version {
    object["cniVersion"].as_str().and_then(|text| text.parse().ok()).expect("a supported version")
}

fn check_error(verb: Verb, error: &Value) {
    version_of(error);
    assert!(error["code"].as_u64().is_some_and(|code| code != 0), "{error}");
    assert!(error["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{error}");
    assert!(matches!(error["details"], Value::Null | Value::String(_)), "{error}");
    let text = error.to_string().to_ascii_lowercase();
    let is_success_to_containerd =
        text.contains("not found") || text.contains("no such file or directory");
    assert!(verb != Verb::Del || !is_success_to_containerd, "{error}");
}

/// What was printed is read again as what it was.
fn check_result(object: &Value) {
    let read = AddResult::from_json(object).expect("a printed result can be read");
    assert_eq!(read.to_json(version_of(object)).as_ref(), Ok(object));
}

/// A plugin that decodes its configuration and hands on what the plugins before it made.
#[derive(Default)]
struct Probe {
    calls: Cell<u32>,
}

/// Fields of every shape that a decoder has to tell apart.
#[derive(Default, Deserialize)]
#[serde(default)]
#[allow(dead_code)] // decoded to be dropped
struct Own {
    master: String,
    mtu: Option<u32>,
    promiscuous: bool,
    weight: f64,
    mode: Mode,
    ipam: Option<Inner>,
    #[serde(rename = "runtimeConfig")]
    runtime_config: Inner,
    capabilities: BTreeMap<String, bool>,
    args: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    L2,
    L3,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(dead_code)] // decoded to be dropped
struct Inner {
    ips: Vec<String>,
    data_dir: Option<String>,
    ranges: Vec<Vec<BTreeMap<String, Value>>>,
    nested: Option<Box<Inner>>,
}

impl Probe {
    fn called(&self) {
        self.calls.set(self.calls.get() + 1);
    }
}

impl Plugin for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        self.called();
        // Whether it fits or not: it must not panic.
        let _ = request.config.plugin::<Own>();
        Ok(request.config.prev_result.clone().unwrap_or_default())
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        self.called();
        let _ = request.config.plugin::<Own>();
        assert!(request.config.cni_version.is_some() || request.config.prev_result.is_none());
        Ok(())
    }

    fn check(&self, request: &CheckRequest) -> Result<(), Error> {
        self.called();
        assert!(!request.netns.as_os_str().is_empty());
        assert!(request.config.cni_version >= Version::V0_4_0);
        Ok(())
    }

    fn gc(&self, request: &GcRequest) -> Result<(), Error> {
        self.called();
        assert!(request.config.cni_version >= Version::V1_1_0);
        Ok(())
    }

    fn status(&self, request: &StatusRequest) -> Result<(), Error> {
        self.called();
        assert!(request.config.cni_version >= Version::V1_1_0);
        Ok(())
    }
}
