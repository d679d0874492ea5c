//! One call of a plugin, without a process.

use std::cell::RefCell;
use std::ffi::OsString;

use cni_proto::{
    AddRequest, AddResult, CheckRequest, DelRequest, Error, GcRequest, Plugin, StatusRequest, serve,
};
use serde_json::Value;

/// What a runtime gets back.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) exit: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// The one object on stdout.
    pub(crate) fn object(&self) -> Value {
        assert!(self.stdout.ends_with('\n'), "{self:?}");
        let object: Value = serde_json::from_str(&self.stdout).unwrap();
        assert!(object.is_object(), "{self:?}");
        object
    }

    /// Code, message and details of the error object.
    pub(crate) fn error(&self) -> (u64, String, String) {
        let object = self.object();
        assert_eq!((self.exit, self.stderr.as_str()), (1, ""));
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        (object["code"].as_u64().unwrap(), text("msg"), text("details"))
    }
}

pub(crate) fn call(plugin: &dyn Plugin, env: &[(&str, &str)], stdin: &[u8]) -> Answer {
    let env = env.iter().map(|(name, value)| (name.into(), value.into()));
    call_os(plugin, env.collect(), stdin)
}

pub(crate) fn call_os(
    plugin: &dyn Plugin,
    env: Vec<(OsString, OsString)>,
    mut stdin: &[u8],
) -> Answer {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = serve(plugin, env, &mut stdin, &mut stdout, &mut stderr);
    Answer {
        exit,
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Succeeds at everything and remembers what it was asked.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) adds: RefCell<Vec<AddRequest>>,
    pub(crate) dels: RefCell<Vec<DelRequest>>,
    pub(crate) gcs: RefCell<Vec<GcRequest>>,
}

impl Plugin for Recorder {
    fn name(&self) -> &'static str {
        "recorder"
    }

    fn add(&self, request: &AddRequest) -> Result<AddResult, Error> {
        self.adds.borrow_mut().push(request.clone());
        Ok(request.config.prev_result.clone().unwrap_or_default())
    }

    fn del(&self, request: &DelRequest) -> Result<(), Error> {
        self.dels.borrow_mut().push(request.clone());
        Ok(())
    }

    fn check(&self, _: &CheckRequest) -> Result<(), Error> {
        Ok(())
    }

    fn gc(&self, request: &GcRequest) -> Result<(), Error> {
        self.gcs.borrow_mut().push(request.clone());
        Ok(())
    }

    fn status(&self, _: &StatusRequest) -> Result<(), Error> {
        Ok(())
    }
}

/// An environment that is right for every verb.
pub(crate) const ENV: [(&str, &str); 6] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/run/netns/c1"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_ARGS", ""),
    ("CNI_PATH", "/opt/cni/bin"),
];

/// [`ENV`] with some variables changed.
pub(crate) fn env_with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let others = ENV.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    others.chain(changes).copied().collect()
}

/// The smallest configuration that is right for every verb.
pub(crate) const CONFIG: &[u8] = br#"{"cniVersion":"1.1.0","name":"net","type":"recorder"}"#;
