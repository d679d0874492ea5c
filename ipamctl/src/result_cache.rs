//! What the runtime remembers of each ADD: libcni's result cache.
//!
//! One file for each attachment, `results/NETWORK-CONTAINERID-IFNAME` of the cache directory, made
//! by the ADD and removed by the DEL (`libcni/api.go`: `cacheAdd`, `cacheDel`). Since release 0.8
//! it is an object of the kind `cniCacheV1`. Before, it was the bare result, so that only the
//! file's name told whose it is, in 0.7 even without the interface. `/var/lib/cni` is the cache
//! directory of containerd and CRI-O, `/var/lib/cni/multus` that of Multus.

mod legacy;
mod outcome;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cni_ipam::regular_file;
use ipam_core::{Attachment, PodRef};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

/// `kind` of a file that says whose it is.
const KIND: &str = "cniCacheV1";
/// The longest file in bytes that is read.
const LONGEST_FILE: u64 = 16 << 20;

/// What one cache directory has.
#[derive(Debug, Default)]
pub(crate) struct ResultCache {
    /// The readable files in the order of their names.
    pub(crate) results: Vec<CachedResult>,
    /// One line, beginning with the file, for each thing that could not be read or is strange.
    pub(crate) warnings: Vec<String>,
}

/// One file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CachedResult {
    /// The file.
    pub(crate) file: PathBuf,
    /// Whose it can be. One, unless the file is of the old form: then as many as its name can mean,
    /// and none if it does not tell.
    pub(crate) candidates: Vec<Attachment>,
    /// The pod, if the runtime named one.
    pub(crate) pod: Option<PodRef>,
    /// The path of the network namespace, if it is stated.
    pub(crate) netns: Option<String>,
    /// The addresses that the ADD gave.
    pub(crate) addresses: Vec<CachedAddress>,
}

/// An address of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CachedAddress {
    /// With the prefix length of its subnet.
    pub(crate) address: IpNet,
    /// The interface that has it, if the result says (never before version 0.3.0).
    pub(crate) interface: Option<CachedInterface>,
}

/// An interface of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CachedInterface {
    /// Its name in its namespace.
    pub(crate) name: String,
    /// The namespace, mostly as the path of [`CachedResult::netns`]; `None` on the node.
    pub(crate) sandbox: Option<String>,
}

impl CachedResult {
    /// Whose it is, if that is certain.
    pub(crate) fn attachment(&self) -> Option<&Attachment> {
        match self.candidates.as_slice() {
            [attachment] => Some(attachment),
            _ => None,
        }
    }

    /// The path of the network namespace: as stated, else the one sandbox of all its addresses.
    pub(crate) fn netns_path(&self) -> Option<&str> {
        let mut sandboxes = self
            .addresses
            .iter()
            .filter_map(|address| address.interface.as_ref()?.sandbox.as_deref());
        let stated = self.netns.as_deref();
        stated.or_else(|| {
            let first = sandboxes.next()?;
            sandboxes.all(|sandbox| sandbox == first).then_some(first)
        })
    }
}

impl ResultCache {
    /// Reads all files of `cache_dir/results`. One that cannot be read is a warning.
    ///
    /// The runtime has no lock here and writes in place: a file that is just being written is a
    /// warning too.
    ///
    /// # Errors
    /// Only if the directory cannot be listed, also when it is missing: `cache_dir` is then not the
    /// cache directory of a runtime that ever finished an ADD.
    pub(crate) fn read(cache_dir: &Path) -> Result<Self> {
        let directory = cache_dir.join("results");
        let context = || format!("read the result cache {}", directory.display());
        let mut files = Vec::new();
        for entry in fs::read_dir(&directory).with_context(context)? {
            files.push(entry.with_context(context)?.path());
        }
        files.sort();
        let mut cache = Self::default();
        for file in files {
            let mut strange = Vec::new();
            match read_file(&file, &mut strange) {
                Ok(result) => cache.results.push(result),
                Err(error) => strange.push(format!("{error:#}")),
            }
            let file = file.display();
            cache.warnings.extend(strange.iter().map(|text| format!("{file}: {text}")));
        }
        Ok(cache)
    }
}

fn read_file(file: &Path, strange: &mut Vec<String>) -> Result<CachedResult> {
    let bytes = regular_file::read(file, LONGEST_FILE)?;
    ensure!(!bytes.is_empty(), "it is empty: its writer was interrupted");
    let value: Value = serde_json::from_slice(&bytes).context("it is no JSON")?;
    ensure!(value.is_object(), "it is no JSON object");
    match value.get("kind").map(|kind| kind.as_str().unwrap_or_default()) {
        Some(KIND) => stated(file, value, strange),
        None | Some("") if outcome::is_one(&value) => Ok(legacy::read(file, &value, strange)),
        None | Some("") => bail!("it has neither a kind nor the fields of a result"),
        Some(other) => bail!("kind {other:?}: only {KIND} is known"),
    }
}

/// `cachedInfo` of `libcni/api.go`. Its `config` and `capabilityArgs` are not read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CachedInfo {
    container_id: String,
    if_name: String,
    network_name: String,
    netns: Option<String>,
    cni_args: Option<Vec<(String, String)>>,
    result: Option<Value>,
}

fn stated(file: &Path, value: Value, strange: &mut Vec<String>) -> Result<CachedResult> {
    let info: CachedInfo = serde_path_to_error::deserialize(value)?;
    let attachment = Attachment {
        network: info.network_name.parse().context("networkName")?,
        container: info.container_id.parse().context("containerId")?,
        ifname: info.if_name.parse().context("ifName")?,
    };
    let expected = format!("{}-{}-{}", attachment.network, attachment.container, attachment.ifname);
    if file.file_name().is_none_or(|name| name != expected.as_str()) {
        strange.push(format!(
            "its name does not fit its contents, which belong to {attachment}: the runtime will \
             not find it"
        ));
    }
    if info.result.is_none() {
        strange.push("it has no result, so its addresses are unknown".to_owned());
    }
    Ok(CachedResult {
        file: file.to_path_buf(),
        candidates: vec![attachment],
        pod: pod(&info.cni_args.unwrap_or_default()),
        netns: info.netns.filter(|path| !path.is_empty()),
        addresses: outcome::addresses(&info.result.unwrap_or_default(), "result.", strange),
    })
}

/// The pod of `CNI_ARGS`; of several values of one key the last counts, as for the plugins.
fn pod(cni_args: &[(String, String)]) -> Option<PodRef> {
    let value = |key: &str| {
        let (_, value) = cni_args.iter().rev().find(|(name, _)| name == key)?;
        Some(value.clone()).filter(|value| !value.is_empty())
    };
    Some(PodRef {
        namespace: value("K8S_POD_NAMESPACE")?,
        name: value("K8S_POD_NAME")?,
        uid: value("K8S_POD_UID"),
    })
}

#[cfg(test)]
mod tests;
