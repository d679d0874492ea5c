//! Network namespaces that a test makes for itself, and `ip` to set them up and look at them.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    path::PathBuf,
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use cni_net::{Netlink, Netns};
use serde_json::Value;

/// A named namespace, deleted when dropped. It has `up0`, one end of a veth pair whose other end
/// `peer0` is here too: a parent for macvlan and ipvlan.
pub(crate) struct TestNetns {
    name: String,
}

impl TestNetns {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes network namespaces: run it as root"
        );
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("cninet-{}-{count}", process::id());
        ip(&["netns", "add", &name]);
        Self { name }
    }

    /// With `up0` and `peer0`, both up.
    pub(crate) fn with_parent() -> Self {
        let netns = Self::new();
        netns.ip("link add up0 type veth peer name peer0");
        netns.ip("link set up0 up");
        netns.ip("link set peer0 up");
        netns
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    pub(crate) fn open(&self) -> Netns {
        Netns::open(&self.path()).unwrap()
    }

    pub(crate) fn netlink(&self) -> Netlink {
        self.open().netlink().unwrap()
    }

    /// Runs `ip COMMAND` inside and gives its output.
    pub(crate) fn ip(&self, command: &str) -> String {
        ip(&self.arguments(command))
    }

    /// What `ip` complains about, or `None` when it does not.
    pub(crate) fn ip_error(&self, command: &str) -> Option<String> {
        run_ip(&self.arguments(command)).err()
    }

    /// The objects that `ip -j COMMAND` lists.
    pub(crate) fn ip_json(&self, command: &str) -> Vec<Value> {
        let text = self.ip(&format!("-j {command}"));
        let text = if text.trim().is_empty() { "[]" } else { &text };
        let Value::Array(all) = serde_json::from_str(text).unwrap() else { panic!("{text}") };
        // Where a filter leaves nothing of an object, ip prints an empty one.
        all.into_iter()
            .filter(|object| object != &Value::Object(serde_json::Map::default()))
            .collect()
    }

    /// Runs many `ip` commands in one process.
    pub(crate) fn ip_batch(&self, commands: impl Iterator<Item = String>) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), commands.collect::<Vec<_>>().join("\n")).unwrap();
        self.ip(&format!("-b {}", file.path().display()));
    }

    fn arguments<'a>(&'a self, command: &'a str) -> Vec<&'a str> {
        ["-n", &self.name].into_iter().chain(command.split_whitespace()).collect()
    }
}

impl Drop for TestNetns {
    fn drop(&mut self) {
        let _ = run_ip(&["netns", "delete", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> String {
    run_ip(arguments).unwrap_or_else(|error| panic!("ip {}: {error}", arguments.join(" ")))
}

fn run_ip(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("these tests need iproute2's `ip` in PATH");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// The errno of an answer that has to be a refusal.
pub(crate) fn errno<T: std::fmt::Debug>(result: &cni_net::Result<T>) -> rustix::io::Errno {
    let errno = result.as_ref().unwrap_err().errno();
    rustix::io::Errno::from_raw_os_error(errno.unwrap_or_else(|| panic!("{result:?}")))
}
