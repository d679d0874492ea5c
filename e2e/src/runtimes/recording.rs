//! What a runtime sends to a plugin, word for word.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::plugin_dir::plugin_dir;
use crate::runtimes::boot::Boot;

/// Names a folder into which what was recorded is written, in the place of a comparison.
const RECORD: &str = "NODE_IPAM_RECORD";

/// What stands in a recording for the container's id, as long as the real one.
pub const CONTAINER: &str = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988";

/// What stands there for the path of its network namespace.
pub const NETNS: &str = "/run/netns/recorded";

/// In the place of a plugin on a node: writes down each call, and hands it on.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
}

impl Recorder {
    /// Takes the place of `cni-ipvlan`.
    ///
    /// # Errors
    ///
    /// The files cannot be written.
    pub fn install(boot: &Boot<'_>) -> Result<Self> {
        let folder = boot.disk().path().join("calls");
        fs::create_dir_all(&folder)?;
        let plugin = plugin_dir()?.join("cni-ipvlan");
        let script = format!(
            "#!/bin/sh\n\
             call='{}'/$(date +%s%N)\n\
             mkdir $call\n\
             env | grep ^CNI_ >$call/environment\n\
             cat >$call/stdin\n\
             exec '{}' <$call/stdin\n",
            folder.display(),
            plugin.display()
        );
        boot.replace_plugin("cni-ipvlan", &script)?;
        Ok(Self { folder })
    }

    /// The calls for one attachment, in their order, as a document: id, namespace and MAC are
    /// replaced by constants.
    ///
    /// # Errors
    ///
    /// A call is not as libcni writes it.
    pub fn calls(&self, container: &str, interface: &str) -> Result<Value> {
        let mut folders: Vec<_> = fs::read_dir(&self.folder)?.collect::<Result<_, _>>()?;
        folders.sort_by_key(fs::DirEntry::file_name);
        let mut calls = Vec::new();
        for folder in folders {
            let (environment, stdin) = read(&folder.path())?;
            let variable = |name: &str| environment.get(name).map(String::as_str);
            if variable("CNI_CONTAINERID") == Some(container)
                && variable("CNI_IFNAME") == Some(interface)
            {
                calls.push(neutral(container, &environment, &stdin)?);
            }
        }
        Ok(Value::Array(calls))
    }
}

/// Compares the calls with those that are recorded in `e2e/tests/recorded/NAME.json`; writes
/// them instead if `NODE_IPAM_RECORD` names a folder.
///
/// # Errors
///
/// They differ: the error has what was sent.
pub fn compare(name: &str, calls: &Value) -> Result<()> {
    let text = format!("{calls:#}\n");
    if let Some(folder) = std::env::var_os(RECORD) {
        return Ok(fs::write(Path::new(&folder).join(format!("{name}.json")), text)?);
    }
    let recorded: Value = serde_json::from_str(recorded(name)?)?;
    ensure!(recorded == *calls, "e2e/tests/recorded/{name}.json has not what was sent: {text}");
    Ok(())
}

/// A recording's text.
///
/// # Errors
///
/// There is none of this name.
pub fn recorded(name: &str) -> Result<&'static str> {
    let found = RECORDED.iter().find(|(known, _)| *known == name);
    match found {
        Some((_, text)) => Ok(text),
        None => bail!("nothing is recorded as {name:?}"),
    }
}

/// The recordings: name and text.
pub const RECORDED: [(&str, &str); 4] = [
    ("podman-static", include_str!("../../tests/recorded/podman-static.json")),
    ("podman-static-dual", include_str!("../../tests/recorded/podman-static-dual.json")),
    ("podman-ports", include_str!("../../tests/recorded/podman-ports.json")),
    ("containerd-ports", include_str!("../../tests/recorded/containerd-ports.json")),
];

fn read(call: &Path) -> Result<(BTreeMap<String, String>, String)> {
    let environment = fs::read_to_string(call.join("environment"))?;
    let variable = |line: &str| {
        let (name, value) = line.split_once('=').context("a variable")?;
        Ok((name.to_owned(), value.to_owned()))
    };
    let environment = environment.lines().map(variable).collect::<Result<_>>()?;
    Ok((environment, fs::read_to_string(call.join("stdin"))?))
}

/// A call without what differs from run to run. The order of `CNI_ARGS` does: it is a map's.
fn neutral(container: &str, environment: &BTreeMap<String, String>, stdin: &str) -> Result<Value> {
    let netns = environment.get("CNI_NETNS").context("CNI_NETNS is always set")?;
    let replaced = |text: &str| {
        let text = text.replace(container, CONTAINER);
        if netns.is_empty() { text } else { text.replace(netns.as_str(), NETNS) }
    };
    let mut environment: BTreeMap<_, _> =
        environment.iter().map(|(name, value)| (name.clone(), replaced(value))).collect();
    if let Some(arguments) = environment.get_mut("CNI_ARGS") {
        let mut sorted: Vec<_> = arguments.split(';').collect();
        sorted.sort_unstable();
        *arguments = sorted.join(";");
    }
    let stdin: Value = serde_json::from_str(&replaced(stdin)).context("stdin is JSON")?;
    Ok(json!({ "environment": environment, "stdin": stdin }))
}
