//! Standard input: what is tolerated, what is refused, and that nothing makes a plugin panic.

use std::io::{self, Read};

use cni_proto::{AddRequest, AddResult, DelRequest, Error, MAX_INPUT_BYTES, Plugin, serve};
use serde::Deserialize;

use crate::call::{CONFIG, ENV, Recorder, call, env_with};

const VERBS: [&str; 6] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];

#[test]
fn del_goes_on_with_what_it_has() {
    for stdin in [
        r#"{"cniVersion":"0.3.2","name":"net","type":"t","prevResult":{"ips":[]}}"#,
        r#"{"cniVersion":"0.2.0","name":"net","type":"t","prevResult":{"ip4":{}}}"#,
        r#"{"cniVersion":"1.1.0","name":"net","type":"t","prevResult":"gone"}"#,
        r#"{"cniVersion":"1.1.0","name":"net","type":"t","prevResult":{"cniVersion":"9"}}"#,
        r#"{"cniVersion":[],"name":"net","type":"t","prevResult":{"ips":[{"address":1}]}}"#,
    ] {
        let recorder = Recorder::default();
        let env = env_with(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", ""), ("CNI_ARGS", "junk")]);
        let answer = call(&recorder, &env, stdin.as_bytes());
        assert_eq!((answer.exit, &*answer.stdout), (0, ""), "{stdin}");
        assert_eq!(recorder.dels.borrow()[0].config.prev_result, None);
        assert_eq!(call(&recorder, &ENV, stdin.as_bytes()).exit, 1, "ADD must not: {stdin}");
    }
}

#[test]
fn gc_tells_an_empty_list_from_none() {
    let one = r#"[{"containerID":"c","ifname":"eth0"}]"#;
    for (list, count) in [
        (String::new(), None),
        (r#","cni.dev/valid-attachments":[]"#.to_owned(), Some(0)),
        (r#","cni.dev/valid-attachments":null"#.to_owned(), Some(0)),
        (r#","cni.dev/attachments":null"#.to_owned(), Some(0)),
        (format!(r#","cni.dev/valid-attachments":{one}"#), Some(1)),
        (format!(r#","CNI.dev/Attachments":{one}"#), Some(1)),
        (format!(r#","cni.dev/attachments":[],"cni.dev/valid-attachments":{one}"#), Some(1)),
        (format!(r#","cni.dev/attachments":{one},"cni.dev/valid-attachments":null"#), Some(1)),
        (format!(r#","cni.dev/attachments":{one},"cni.dev/valid-attachments":[]"#), Some(0)),
    ] {
        let recorder = Recorder::default();
        let stdin = format!(r#"{{"cniVersion":"1.1.0","name":"net","type":"t"{list}}}"#);
        assert_eq!(call(&recorder, &env_with(&[("CNI_COMMAND", "GC")]), stdin.as_bytes()).exit, 0);
        let gcs = recorder.gcs.borrow();
        assert_eq!(gcs[0].valid_attachments.as_ref().map(Vec::len), count, "{list}");
    }
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        let stdin = format!(
            r#"{{"cniVersion":"1.1.0","name":"n","type":"t",
                "{key}":[{{"containerID":"c","ifname":"eth0"}},{{"containerID":"c"}}]}}"#
        );
        let env = env_with(&[("CNI_COMMAND", "GC")]);
        let answer = call(&Recorder::default(), &env, stdin.as_bytes());
        let message = format!("invalid {key}: [1]: missing field `ifname`");
        assert_eq!(answer.error(), (7, message, String::new()));
    }
}

#[test]
fn input_is_bounded() {
    let room = usize::try_from(MAX_INPUT_BYTES).unwrap() - CONFIG.len();
    let mut stdin = [CONFIG, &vec![b' '; room]].concat();
    assert_eq!(call(&Recorder::default(), &ENV, &stdin).exit, 0);
    stdin.push(b' ');
    let (code, message, _) = call(&Recorder::default(), &ENV, &stdin).error();
    assert_eq!((code, &*message), (6, "stdin holds more than the 16777216 bytes allowed"));
}

#[test]
fn input_that_cannot_be_read() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("pipe burst"))
        }
    }
    for (verb, exit) in [("ADD", 1), ("VERSION", 0)] {
        let env = env_with(&[("CNI_COMMAND", verb)]);
        let env = env.into_iter().map(|(name, value)| (name.into(), value.into()));
        let mut stdout = Vec::new();
        let plugin = Recorder::default();
        assert_eq!(serve(&plugin, env, &mut Broken, &mut stdout, &mut io::sink()), exit);
        let object: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
        if exit == 1 {
            assert_eq!(
                (&object["code"], &object["msg"]),
                (&5.into(), &"read stdin: pipe burst".into())
            );
        }
    }
}

/// Reads fields of every kind, so that their decoding is under fire too.
struct Reader;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Own {
    bridge: String,
    #[serde(rename = "keyA")]
    key_a: Vec<Option<String>>,
    ipam: std::collections::BTreeMap<String, serde_json::Value>,
    dns: cni_proto::Dns,
    #[serde(rename = "runtimeConfig")]
    runtime_config: Option<(u8, Box<Own>)>,
}

impl Plugin for Reader {
    fn name(&self) -> &'static str {
        "reader"
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        let own: Own = request.config.plugin()?;
        let prev = request.config.prev_result.clone().unwrap_or_default();
        Ok(AddResult { dns: own.dns, ..prev })
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        let _: Own = request.config.plugin();
        Ok(())
    }
}

/// Whatever arrives, the answer is an exit code of 0 or 1 and at most one object.
fn survives(stdin: &[u8]) {
    for verb in VERBS {
        let answer = call(&Reader, &env_with(&[("CNI_COMMAND", verb)]), stdin);
        match answer.exit {
            0 if answer.stdout.is_empty() => assert!(verb == "DEL", "{verb}: {answer:?}"),
            0 => assert!(matches!(verb, "ADD" | "VERSION") && answer.object().is_object()),
            _ => assert!(!answer.error().1.is_empty(), "{verb}: {answer:?}"),
        }
    }
}

/// A sound configuration, inside `stdin` of one of the specification's examples.
fn sound() -> Vec<u8> {
    let case: serde_json::Value =
        serde_json::from_str(include_str!("../spec/1.0.0/appendix-delete-3-bridge.json")).unwrap();
    case["stdin"].to_string().into_bytes()
}

#[test]
fn no_truncation_and_no_changed_byte_is_fatal() {
    let sound = sound();
    for at in 0..sound.len() {
        survives(&sound[..at]);
        for byte in *b"\0\"\\{}[],:01-e n\x7f\x80\xff" {
            let mut broken = sound.clone();
            broken[at] = byte;
            survives(&broken);
        }
    }
}

#[test]
fn no_value_in_any_place_is_fatal() {
    let sound: serde_json::Value = serde_json::from_slice(&sound()).unwrap();
    let mut places = vec![String::new()];
    let mut next = 0;
    while let Some(place) = places.get(next).cloned() {
        match sound.pointer(&place).unwrap() {
            serde_json::Value::Object(object) => places.extend(
                object
                    .keys()
                    .map(|key| format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))),
            ),
            serde_json::Value::Array(list) => {
                places.extend((0..list.len()).map(|index| format!("{place}/{index}")));
            }
            _ => {}
        }
        next += 1;
    }
    assert!(places.len() > 30);
    for place in &places {
        for value in [
            "null",
            "true",
            "-1",
            "1e300",
            "18446744073709551615",
            "\"\"",
            "[]",
            "[[{}]]",
            "{}",
            r#"{"A":null,"a":[]}"#,
        ] {
            let mut broken = sound.clone();
            *broken.pointer_mut(place).unwrap() = serde_json::from_str(value).unwrap();
            survives(broken.to_string().as_bytes());
        }
    }
}

#[test]
fn no_random_bytes_are_fatal() {
    // xorshift64 with a fixed seed: the same bytes in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..2000 {
        let length = random() % 64;
        let bytes: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[3]).collect();
        survives(&bytes);
    }
}

#[test]
fn no_depth_is_fatal() {
    for opening in ["[", "{\"a\":", "{\"prevResult\":", "{\"runtimeConfig\":[0,"] {
        survives(opening.repeat(100_000).as_bytes());
    }
}
