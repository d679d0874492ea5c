//! A file of libcni before 0.8: a bare result. Whose it is only the file's name tells, and `-` may
//! stand inside of each of its parts.

use std::path::Path;

use cni_proto::{ContainerId, IfName, NetworkName};
use ipam_core::Attachment;
use serde_json::Value;

use super::{CachedResult, outcome};

/// How many of the attachments that a name can mean are told: there can be a thousand.
const MOST_SHOWN: usize = 4;

pub(super) fn read(file: &Path, result: &Value, strange: &mut Vec<String>) -> CachedResult {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let ifnames: Vec<String> = outcome::sandboxed(result).map(|interface| interface.name).collect();
    let candidates = candidates(&name, &ifnames);
    let old = "a file of the old form, which does not say whose it is";
    match candidates.as_slice() {
        [] => strange.push(format!("{old}, and its name is not NETWORK-CONTAINERID-IFNAME")),
        [_] => {}
        several => {
            let mut shown: Vec<String> =
                several.iter().take(MOST_SHOWN).map(ToString::to_string).collect();
            if several.len() > MOST_SHOWN {
                shown.push(format!("{} others", several.len() - MOST_SHOWN));
            }
            strange.push(format!("{old}; by its name it can be {}", shown.join(" or ")));
        }
    }
    CachedResult {
        file: file.to_path_buf(),
        candidates,
        pod: None,
        netns: None,
        addresses: outcome::addresses(result, "", strange),
    }
}

/// What `name` can mean. The interfaces of the result, where it has any, and a part that looks
/// like the id of a pod's sandbox leave mostly one.
fn candidates(name: &str, ifnames: &[String]) -> Vec<Attachment> {
    let mut found = Vec::new();
    for (network, rest) in splits(name) {
        found.extend(splits(rest).filter_map(|(id, ifname)| attachment(network, id, ifname)));
    }
    if !ifnames.is_empty() {
        found.retain(|attachment| ifnames.iter().any(|name| name == attachment.ifname.as_str()));
    }
    if found.is_empty() {
        // As 0.7 named it: without the interface.
        for (network, id) in splits(name) {
            found.extend(ifnames.iter().filter_map(|ifname| attachment(network, id, ifname)));
        }
    }
    if found.iter().any(is_of_a_sandbox) {
        found.retain(is_of_a_sandbox);
    }
    found
}

/// The text before and behind each `-`.
fn splits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices('-').map(|(at, _)| (&text[..at], &text[at + 1..]))
}

/// `None` if the specification forbids one of the names.
fn attachment(network: &str, container: &str, ifname: &str) -> Option<Attachment> {
    Some(Attachment {
        network: NetworkName::new(network).ok()?.as_str().parse().ok()?,
        container: ContainerId::new(container).ok()?.as_str().parse().ok()?,
        ifname: IfName::new(ifname).ok()?.as_str().parse().ok()?,
    })
}

/// containerd and CRI-O draw 256 bits for a sandbox and write them as lower-case hexadecimal.
fn is_of_a_sandbox(attachment: &Attachment) -> bool {
    let id = attachment.container.as_str().as_bytes();
    id.len() == 64 && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
