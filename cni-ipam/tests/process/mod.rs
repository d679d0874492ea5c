//! The plugin as a runtime starts it, where no interface is needed.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A call for the interface eth0 of a namespace that is never opened.
pub(crate) fn call(verb: &str, container: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cni-ipam"));
    command
        .env_clear()
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", container)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", "/never/opened")
        .env("CNI_PATH", "/usr/lib/cni");
    command
}

/// Runs it with this configuration to its end.
pub(crate) fn run(command: &mut Command, config: &Value) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
