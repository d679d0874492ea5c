//! The plugin's own part of the network configuration.

use cni_net::IpvlanMode;
use cni_proto::{Code, Error, NetworkConfig};
use serde::Deserialize;

/// What a configuration says about the interface, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IpvlanConfig {
    /// `master`: the node's NIC.
    pub(crate) master: String,
    /// `mode`: l2 unless stated.
    pub(crate) mode: IpvlanMode,
    /// `mtu` in bytes; `None` (0 or absent) follows the master's.
    pub(crate) mtu: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(default)]
    master: Option<String>,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    mtu: Option<u32>,
    #[serde(default, rename = "linkInContainer")]
    link_in_container: Option<bool>,
}

impl IpvlanConfig {
    /// Reads and checks the fields.
    pub(crate) fn new(config: &NetworkConfig) -> Result<Self, Error> {
        let raw: Raw = config.plugin()?;
        let Some(master) = raw.master.filter(|master| !master.is_empty()) else {
            let msg = "no master: name the NIC that this network's pods share";
            return Err(Error::new(Code::INVALID_CONFIG, msg));
        };
        if raw.link_in_container == Some(true) {
            let msg = "linkInContainer true: this plugin takes the master from the node";
            return Err(Error::new(Code::UNSUPPORTED_FIELD, msg));
        }
        let mode = match raw.mode.as_deref() {
            None | Some("") => IpvlanMode::L2,
            Some(text) => text.parse().map_err(|error| {
                Error::new(Code::INVALID_CONFIG, format!("mode {text:?}: {error}"))
            })?,
        };
        Ok(Self { master, mode, mtu: raw.mtu.filter(|mtu| *mtu > 0) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(fields: &str) -> Result<IpvlanConfig, Error> {
        let text = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"cni-ipvlan"{fields}}}"#);
        IpvlanConfig::new(&NetworkConfig::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn defaults_are_l2_and_the_masters_mtu() {
        let read = config(r#","master":"eth0","mtu":0"#).unwrap();
        assert_eq!(read, IpvlanConfig { master: "eth0".into(), mode: IpvlanMode::L2, mtu: None });
        let read = config(r#","master":"eth1","mode":"l3s","mtu":1400"#).unwrap();
        assert_eq!((read.mode, read.mtu), (IpvlanMode::L3s, Some(1400)));
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (fields, code, expected) in [
            ("", 7, "no master"),
            (r#","master":"""#, 7, "no master"),
            (r#","master":"eth0","mode":"l4""#, 7, r#"mode "l4""#),
            (r#","master":"eth0","mtu":-1"#, 7, "mtu"),
            (r#","master":"eth0","linkInContainer":true"#, 2, "linkInContainer true"),
        ] {
            let error = config(fields).unwrap_err();
            assert_eq!(error.code.number(), code, "{error}");
            assert!(error.msg.contains(expected), "{error}");
        }
    }
}
