//! Every row of the specification's table of parameters, and what is said of a wrong one.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::call::{CONFIG, ENV, Recorder, call, call_os, env_with};

const VARIABLES: [&str; 5] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"];

/// Which variables each verb needs, written down a second time.
const REQUIRED: [(&str, &[&str]); 6] = [
    ("ADD", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
    ("CHECK", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
    ("DEL", &["CNI_CONTAINERID", "CNI_IFNAME"]),
    ("GC", &["CNI_PATH"]),
    ("STATUS", &[]),
    ("VERSION", &[]),
];

#[test]
fn one_variable_unset_or_empty() {
    for (verb, required) in REQUIRED {
        for variable in VARIABLES {
            let empty = env_with(&[("CNI_COMMAND", verb), (variable, "")]);
            let unset: Vec<_> =
                empty.iter().filter(|(_, value)| !value.is_empty()).copied().collect();
            let answer = call(&Recorder::default(), &empty, CONFIG);
            assert_eq!(answer, call(&Recorder::default(), &unset, CONFIG));
            if required.contains(&variable) {
                let message = format!("required env variables [{variable}] missing");
                assert_eq!(answer.error(), (4, message, String::new()), "{verb}");
            } else {
                assert_eq!(answer.exit, 0, "{verb} without {variable}: {answer:?}");
            }
        }
    }
}

#[test]
fn all_that_is_missing_is_named_at_once() {
    for (verb, required) in REQUIRED {
        let answer = call(&Recorder::default(), &[("CNI_COMMAND", verb)], CONFIG);
        if required.is_empty() {
            assert_eq!(answer.exit, 0, "{answer:?}");
        } else {
            let message = format!("required env variables [{}] missing", required.join(","));
            assert_eq!(answer.error().1, message, "{verb}");
        }
    }
}

#[test]
fn values_are_looked_at_only_where_they_are_required_and_before_missing_ones() {
    for (verb, required) in REQUIRED {
        for (variable, value) in [("CNI_CONTAINERID", "-a"), ("CNI_IFNAME", "a/b")] {
            // Nothing else is set that could be required.
            let env = [("CNI_COMMAND", verb), (variable, value), ("CNI_PATH", "/opt/cni/bin")];
            let answer = call(&Recorder::default(), &env, CONFIG);
            if required.contains(&variable) {
                let (code, message, _) = answer.error();
                assert_eq!(code, 4);
                assert!(message.starts_with(&format!("invalid {variable} {value:?}")), "{message}");
            } else {
                assert_eq!(answer.exit, 0, "{verb}: {answer:?}");
            }
        }
    }
}

#[test]
fn a_broken_environment_is_reported_before_a_broken_configuration() {
    let answer = call(&Recorder::default(), &env_with(&[("CNI_IFNAME", "")]), b"junk");
    assert_eq!(answer.error().1, "required env variables [CNI_IFNAME] missing");
    assert_eq!(answer.object()["cniVersion"], "1.1.0", "the newest, since none is known");
}

#[test]
fn an_unknown_command() {
    for command in ["add", "ADD ", "PREV", "\u{e9}"] {
        let answer = call(&Recorder::default(), &env_with(&[("CNI_COMMAND", command)]), b"junk");
        let (code, message, _) = answer.error();
        assert_eq!(code, 4);
        let verbs = "ADD, DEL, CHECK, GC, STATUS, VERSION";
        let expected = format!("unknown CNI_COMMAND {command:?}: it must be one of {verbs}");
        assert_eq!(message, expected);
    }
}

#[test]
fn no_command_is_a_person_at_a_terminal() {
    for env in [&[][..], &[("CNI_COMMAND", "")]] {
        let answer = call(&Recorder::default(), env, b"never read");
        assert_eq!((answer.exit, &*answer.stdout), (0, ""));
        let versions = "0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0, started by";
        let expected = format!("recorder: a CNI plugin for versions {versions}");
        assert!(answer.stderr.starts_with(&expected), "{}", answer.stderr);
    }
}

#[test]
fn bytes_that_are_no_utf8() {
    let wrong = OsString::from_vec(b"eth\xff".to_vec());
    for (variable, sound) in [
        ("CNI_COMMAND", false),
        ("CNI_CONTAINERID", false),
        ("CNI_IFNAME", false),
        ("CNI_ARGS", false),
        ("CNI_NETNS", true),
        ("CNI_PATH", true),
    ] {
        let env = env_with(&[(variable, "")]);
        let mut env: Vec<(OsString, OsString)> =
            env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        env.retain(|(name, _)| name != variable);
        env.push((variable.into(), wrong.clone()));
        let recorder = Recorder::default();
        let answer = call_os(&recorder, env, CONFIG);
        if sound {
            assert_eq!(answer.exit, 0, "{variable}: {answer:?}");
        } else {
            let (code, message, _) = answer.error();
            assert!(code == 4 && message.contains(variable), "{answer:?}");
        }
        if variable == "CNI_NETNS" {
            assert_eq!(recorder.adds.borrow()[0].netns, Path::new(&wrong));
        }
    }
}

#[test]
fn malformed_args_stop_add_and_check_but_not_del() {
    for (verb, exit) in [("ADD", 1), ("CHECK", 1), ("DEL", 0), ("GC", 0), ("STATUS", 0)] {
        let recorder = Recorder::default();
        let env = env_with(&[("CNI_COMMAND", verb), ("CNI_ARGS", "A=1;junk;B=2")]);
        let answer = call(&recorder, &env, CONFIG);
        assert_eq!(answer.exit, exit, "{verb}: {answer:?}");
        if exit == 1 {
            let (code, message, _) = answer.error();
            assert_eq!((code, &*message), (4, "invalid pair \"junk\" in CNI_ARGS"));
        }
        for del in recorder.dels.borrow().iter() {
            assert_eq!(del.args.iter().collect::<Vec<_>>(), [("A", "1"), ("B", "2")]);
        }
    }
}

#[test]
fn a_request_holds_what_was_said() {
    let recorder = Recorder::default();
    for (value, allowed) in [("", false), ("0", false), ("1", true), ("TruE", true)] {
        let env = env_with(&[("CNI_NETNS_OVERRIDE", value), ("CNI_ARGS", "K8S_POD_NAME=p")]);
        assert_eq!(call(&recorder, &env, CONFIG).exit, 0);
        let request = recorder.adds.borrow_mut().pop().unwrap();
        assert_eq!(request.netns_override, allowed, "{value:?}");
        assert_eq!(request.container.as_str(), "c1");
        assert_eq!(request.netns, Path::new("/run/netns/c1"));
        assert_eq!(request.ifname.as_str(), "eth0");
        assert_eq!(request.args.pod_name(), Some("p"));
        assert_eq!(request.config.name.as_str(), "net");
    }
    let env = env_with(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")]);
    assert_eq!(call(&recorder, &env, CONFIG).exit, 0);
    assert_eq!(recorder.dels.borrow()[0].netns, None);
}

#[test]
fn the_path_of_delegates_is_in_every_request() {
    let recorder = Recorder::default();
    for (value, expected) in
        [("/opt/cni/bin", &["/opt/cni/bin"][..]), ("/a b::/c:", &["/a b", "/c"]), (":", &[])]
    {
        for verb in ["ADD", "DEL", "GC"] {
            let env = env_with(&[("CNI_COMMAND", verb), ("CNI_PATH", value)]);
            assert_eq!(call(&recorder, &env, CONFIG).exit, 0);
        }
        let (add, del) = (recorder.adds.borrow_mut().pop(), recorder.dels.borrow_mut().pop());
        let gc = recorder.gcs.borrow_mut().pop();
        for path in [add.unwrap().path, del.unwrap().path, gc.unwrap().path] {
            assert_eq!(path, expected.iter().map(Path::new).collect::<Vec<_>>());
        }
    }
    let env = env_with(&[("CNI_PATH", "")]);
    assert_eq!(call(&recorder, &env, CONFIG).exit, 0);
    assert!(recorder.adds.borrow()[0].path.is_empty());
}

#[test]
fn of_two_values_the_first_counts_as_for_getenv() {
    let recorder = Recorder::default();
    let env: Vec<_> = ENV.into_iter().chain([("CNI_IFNAME", "eth1")]).collect();
    assert_eq!(call(&recorder, &env, CONFIG).exit, 0);
    assert_eq!(recorder.adds.borrow()[0].ifname.as_str(), "eth0");
}
