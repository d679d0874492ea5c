//! The network configurations of the node, as far as they use our plugins.

use std::fs;
use std::path::{Path, PathBuf};

use ipam_core::NetworkRef;
use serde_json::Value;
use telemetry::LogSettings;

use super::examined::Configuration;
use super::known_keys::unknown;
use crate::conflist;

/// The longest file in bytes that is read.
const LONGEST: u64 = 1 << 20;

/// What the files of a directory say that a runtime would read, and which of them cannot be read.
pub(super) fn read(directory: &Path) -> (Vec<Configuration>, Vec<(PathBuf, String)>) {
    let (mut all, mut broken) = (Vec::new(), Vec::new());
    for file in conflist::files(directory).unwrap_or_default() {
        match object(&file) {
            Ok(object) => all.extend(uses(&file, &object)),
            Err(reason) => broken.push((file, reason)),
        }
    }
    (all, broken)
}

fn object(file: &Path) -> Result<Value, String> {
    let found = fs::metadata(file).map_err(|error| error.to_string())?;
    if found.is_file() && found.len() > LONGEST {
        return Err(format!("{} bytes, more than the {LONGEST} that are read", found.len()));
    }
    let value = conflist::value(file, LONGEST).map_err(|error| error.to_string())?;
    if value.is_object() { Ok(value) } else { Err("it is no JSON object".to_owned()) }
}

/// Each plugin of a list, or the one of a file without a list, that makes an interface with an
/// address of ours.
fn uses(file: &Path, list: &Value) -> Vec<Configuration> {
    let alone = [list.clone()];
    let plugins = list["plugins"].as_array().map_or(&alone[..], Vec::as_slice);
    let is = |plugin: &Value, name: &str| plugin["type"] == name;
    let coordinator = plugins.iter().find(|plugin| is(plugin, "cni-coordinator"));
    let of_coordinator = coordinator.map(unknown).unwrap_or_default();
    let of_coordinator: Vec<_> =
        of_coordinator.iter().map(|key| format!("cni-coordinator {key}")).collect();
    let ours = |plugin: &&Value| is(plugin, "cni-ipvlan") || plugin["ipam"]["type"] == "cni-ipam";
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    plugins
        .iter()
        .filter(ours)
        .map(|plugin| {
            let ipam = &plugin["ipam"];
            let has_ranges = ["ranges", "subnet"].iter().any(|key| !ipam[*key].is_null());
            let of_pools = ipam["type"] == "cni-ipam" && !has_ranges;
            let name = text(&list["name"]);
            let network = ipam["network"].as_str().unwrap_or(&name);
            let masters = match &plugin["master"] {
                Value::Array(names) => names.iter().map(text).collect(),
                Value::String(name) if !name.is_empty() => vec![name.clone()],
                _ => Vec::new(),
            };
            let (log, _) = LogSettings::new(plugin);
            Configuration {
                file: file.to_path_buf(),
                plugin: text(&plugin["type"]),
                network: of_pools.then(|| network.parse::<NetworkRef>().ok()).flatten(),
                masters,
                mode: plugin["mode"]
                    .as_str()
                    .filter(|it| !it.is_empty())
                    .unwrap_or("l2")
                    .to_owned(),
                mtu: plugin["mtu"].as_u64().and_then(|it| u32::try_from(it).ok()).unwrap_or(0),
                coordinated: coordinator.is_some(),
                unknown_keys: [unknown(plugin), of_coordinator.clone()].concat(),
                log_file: log.file.map(|file| file.path),
                name,
            }
        })
        .collect()
}
