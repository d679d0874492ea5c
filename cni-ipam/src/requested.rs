//! Addresses that somebody requests: the three ways of the CNI conventions, united.

use std::net::IpAddr;

use cni_proto::{CniArgs, Code, Error, NetworkConfig};
use ipam_core::requested_addresses;
use serde::Deserialize;

/// Keys of `CNI_ARGS` that are understood. Others are an error, unless `IgnoreUnknown` is set.
const KNOWN_ARGS: &[&str] = &[
    "IgnoreUnknown",
    "IP",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_UID",
    "K8S_POD_INFRA_CONTAINER_ID",
];

/// What a configuration requests: `args.cni.ips`, then `runtimeConfig.ips`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requested(Vec<IpAddr>);

#[derive(Debug, Default, Deserialize)]
struct Outer {
    #[serde(default)]
    args: Option<Args>,
    #[serde(default, rename = "runtimeConfig")]
    runtime: Option<Ips>,
}

#[derive(Debug, Default, Deserialize)]
struct Args {
    #[serde(default)]
    cni: Option<Ips>,
}

#[derive(Debug, Default, Deserialize)]
struct Ips {
    #[serde(default)]
    ips: Option<Vec<String>>,
}

impl Requested {
    /// # Errors
    ///
    /// Code 7 for a text that is no address.
    pub(crate) fn new(config: &NetworkConfig) -> Result<Self, Error> {
        let Outer { args, runtime } = config.plugin()?;
        let mut all = Self::default();
        for (field, ips) in
            [("args.cni.ips", args.and_then(|args| args.cni)), ("runtimeConfig.ips", runtime)]
        {
            for text in ips.and_then(|ips| ips.ips).unwrap_or_default() {
                all.add(&text).map_err(|error| {
                    Error::new(Code::INVALID_CONFIG, format!("{field}: {error}"))
                })?;
            }
        }
        Ok(all)
    }

    /// All that is requested for one attachment, each address once, that of `CNI_ARGS` first.
    ///
    /// # Errors
    ///
    /// Code 4 for a key of `CNI_ARGS` that is not known, unless it says `IgnoreUnknown=1`, and for
    /// an `IP` that is no address.
    pub(crate) fn with(&self, args: &CniArgs) -> Result<Vec<IpAddr>, Error> {
        let wrong = |msg: String| Error::new(Code::INVALID_ENVIRONMENT, msg);
        let ignores = match args.get("IgnoreUnknown").map(str::to_ascii_lowercase).as_deref() {
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(other) => {
                return Err(wrong(format!("CNI_ARGS: IgnoreUnknown={other} is neither 1 nor 0")));
            }
        };
        let is_unknown = |key: &&str| !KNOWN_ARGS.contains(key);
        if let Some(key) = args.iter().map(|(key, _)| key).find(is_unknown).filter(|_| !ignores) {
            return Err(wrong(format!("CNI_ARGS: unknown key {key:?}, and no IgnoreUnknown=1")));
        }
        let mut all = Self::default();
        if let Some(text) = args.get("IP").filter(|text| !text.is_empty()) {
            all.add(text).map_err(|error| wrong(format!("CNI_ARGS: {error}")))?;
        }
        for address in &self.0 {
            all.put(*address);
        }
        Ok(all.0)
    }

    fn add(&mut self, text: &str) -> Result<(), ipam_core::HintError> {
        for address in requested_addresses(text)? {
            self.put(address.to_canonical());
        }
        Ok(())
    }

    fn put(&mut self, address: IpAddr) {
        if !self.0.contains(&address) {
            self.0.push(address);
        }
    }
}

/// # Errors
///
/// Code 7 naming what no range set took.
pub(crate) fn none_is_left(addresses: &[IpAddr]) -> Result<(), Error> {
    if addresses.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let msg = format!(
        "requested address {} is in no range, or another one of its range set is requested",
        texts.join(", ")
    );
    Err(Error::new(Code::INVALID_CONFIG, msg))
}
