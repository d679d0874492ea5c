//! Versions: which is spoken, in which an answer is, and what each has.

use std::io::{self, Read};

use cni_proto::serve;

use crate::call::{ENV, Recorder, call, env_with};

const SUPPORTED: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

#[test]
fn version_answers_whatever_the_input() {
    for (stdin, version) in [
        (&br#"{"cniVersion":"1.0.0"}"#[..], "1.0.0"),
        (br#"{"CNIVersion":"0.3.1","name":7}"#, "0.3.1"),
        (br#"{"cniVersion":"1.1.0"}"#, "1.1.0"),
        (br#"{"cniVersion":"0.4.0"} junk"#, "0.4.0"),
        (br#"{"cniVersion":"9.9.9"}"#, "1.1.0"),
        (br#"{"cniVersion":7}"#, "1.1.0"),
        (b"{}", "0.1.0"),
        (b"null", "1.1.0"),
        (b"", "1.1.0"),
        (b"junk\xff", "1.1.0"),
    ] {
        let answer = call(&Recorder::default(), &[("CNI_COMMAND", "VERSION")], stdin);
        let expected = serde_json::json!({"cniVersion": version, "supportedVersions": SUPPORTED});
        assert_eq!((answer.exit, answer.object()), (0, expected));
    }
}

/// A runtime that says what it has to say and then waits for the answer.
struct Open(&'static [u8]);

impl Read for Open {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!self.0.is_empty(), "this read would wait for ever");
        let length = buffer.len().min(self.0.len());
        let (said, rest) = self.0.split_at(length);
        buffer[..length].copy_from_slice(said);
        self.0 = rest;
        Ok(length)
    }
}

#[test]
fn version_does_not_wait_for_the_end_of_its_input() {
    for stdin in [&b" {\"cniVersion\":\"1.0.0\",\"a\":{\"b\":[1]}}"[..], b"junk"] {
        let env = [("CNI_COMMAND".into(), "VERSION".into())];
        let mut stdout = Vec::new();
        let mut stdin = Open(stdin);
        assert_eq!(serve(&Recorder::default(), env, &mut stdin, &mut stdout, &mut io::sink()), 0);
        let object: serde_json::Value = serde_json::from_slice(&stdout).unwrap();
        assert_eq!(object["supportedVersions"], serde_json::json!(SUPPORTED));
    }
}

#[test]
fn an_answer_is_in_the_version_in_use() {
    for version in SUPPORTED {
        let stdin = format!(r#"{{"cniVersion":"{version}","type":"t"}}"#);
        let answer = call(&Recorder::default(), &ENV, stdin.as_bytes());
        assert_eq!((answer.error().0, &answer.object()["cniVersion"]), (7, &version.into()));
        let stdin = format!(r#"{{"cniVersion":"{version}","name":"n","type":"t"}}"#);
        let answer = call(&Recorder::default(), &ENV, stdin.as_bytes());
        assert_eq!((answer.exit, &answer.object()["cniVersion"]), (0, &version.into()));
    }
    for (version, printed, code) in [("2", "1.1.0", 1), ("", "0.1.0", 7)] {
        let stdin = format!(r#"{{"cniVersion":"{version}","type":"t"}}"#);
        let answer = call(&Recorder::default(), &ENV, stdin.as_bytes());
        assert_eq!((answer.error().0, &answer.object()["cniVersion"]), (code, &printed.into()));
    }
}

#[test]
fn prev_result_is_read_in_any_layout() {
    for (prev, version, expected) in [
        (
            r#"{"ip4":{"ip":"10.1.0.5/16","routes":[{"dst":"0.0.0.0/0"}]},"dns":{}}"#,
            "1.0.0",
            r#"{"ips":[{"address":"10.1.0.5/16"}],"routes":[{"dst":"0.0.0.0/0"}]}"#,
        ),
        (
            r#"{"cniVersion":"0.4.0","interfaces":[{"name":"a"}],
                "ips":[{"version":"4","address":"10.1.0.5/16","interface":0}],"dns":{}}"#,
            "1.1.0",
            r#"{"interfaces":[{"name":"a"}],"ips":[{"address":"10.1.0.5/16","interface":0}]}"#,
        ),
        (
            r#"{"interfaces":[{"name":"a","mtu":9}],"ips":[{"address":"fd00::5/64"}]}"#,
            "0.3.0",
            r#"{"interfaces":[{"name":"a"}],"ips":[{"version":"6","address":"fd00::5/64"}],
                "dns":{}}"#,
        ),
        (r#"{"ips":[{"address":"fd00::5/64"}]}"#, "", r#"{"ip6":{"ip":"fd00::5/64"},"dns":{}}"#),
    ] {
        let stdin =
            format!(r#"{{"cniVersion":"{version}","name":"n","type":"t","prevResult":{prev}}}"#);
        let mut object = call(&Recorder::default(), &ENV, stdin.as_bytes()).object();
        object.as_object_mut().unwrap().remove("cniVersion");
        assert_eq!(object, serde_json::from_str::<serde_json::Value>(expected).unwrap());
    }
}

#[test]
fn a_verb_needs_a_version_that_has_it() {
    for (verb, since) in [("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")] {
        for version in SUPPORTED {
            let stdin = format!(r#"{{"cniVersion":"{version}","name":"net","type":"t"}}"#);
            let env = env_with(&[("CNI_COMMAND", verb)]);
            let answer = call(&Recorder::default(), &env, stdin.as_bytes());
            if version >= since {
                assert_eq!((answer.exit, &*answer.stdout), (0, ""), "{verb} in {version}");
            } else {
                let message = format!("config version does not allow {verb}");
                let details = format!("config is {version}, {verb} exists since {since}");
                assert_eq!(answer.error(), (1, message, details));
            }
        }
    }
}
