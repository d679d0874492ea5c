//! The plugin's own part of the network configuration.

use std::fmt;

use cloud::Endpoint;
use cni_net::{IpvlanFlag, IpvlanMode, MacAddr};
use cni_proto::{Code, DelConfig, Dns, Error, NetworkConfig};
use serde::Deserialize;

use crate::detect::Detection;

/// What a configuration says about the interface, valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IpvlanConfig {
    /// `master`: the NIC to share. Empty: whichever the chain or the default route says.
    pub(crate) masters: Vec<Master>,
    /// `mode`: l2 unless stated.
    pub(crate) mode: IpvlanMode,
    /// `flag`: bridge unless stated.
    pub(crate) flag: IpvlanFlag,
    /// `mtu` in bytes; `None` (0 or absent) follows the master's.
    pub(crate) mtu: Option<u32>,
    /// `linkInContainer`: the master is in the pod's namespace.
    pub(crate) link_in_container: bool,
    /// `ipam.type`.
    pub(crate) ipam: Ipam,
    /// `dns`, where it says anything: it takes the place of the IPAM plugin's.
    pub(crate) dns: Option<Dns>,
    /// `detect`: who is asked about a new address; nobody unless stated.
    pub(crate) detect: Detection,
    /// `detectGateway`: whether a gateway that does not answer there fails an ADD.
    pub(crate) detect_gateway: bool,
    /// `detectEndpoint`: another metadata service than the cloud's own.
    pub(crate) detect_endpoint: Option<Endpoint>,
    /// `debug`: a line on stderr says where the time of an ADD went.
    pub(crate) debug: bool,
}

/// One way to say which NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Master {
    /// By its name, or an alternative one.
    Name(String),
    /// By its MAC, which stays when a distribution names NICs in another way.
    Mac(MacAddr),
}

/// Where addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ipam {
    /// From the node's own pools.
    Own,
    /// From the plugin of this name.
    Delegated(String),
    /// From `prevResult`: there is no `ipam.type`.
    Previous,
}

#[derive(Debug, Default, Deserialize)]
struct Raw {
    #[serde(default)]
    master: Option<OneOrSeveral>,
    #[serde(default)]
    mode: Option<String>,
    #[serde(default)]
    flag: Option<String>,
    #[serde(default)]
    mtu: Option<u32>,
    #[serde(default, rename = "linkInContainer")]
    link_in_container: Option<bool>,
    #[serde(default)]
    dns: Option<Dns>,
    #[serde(default)]
    detect: Option<String>,
    #[serde(default, rename = "detectGateway")]
    detect_gateway: Option<bool>,
    #[serde(default, rename = "detectEndpoint")]
    detect_endpoint: Option<String>,
    #[serde(default)]
    debug: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "it must be a NIC's name or MAC, or a list of such")]
enum OneOrSeveral {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
struct OfIpam {
    #[serde(default)]
    ipam: Option<RawIpam>,
}

#[derive(Debug, Default, Deserialize)]
struct RawIpam {
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

impl IpvlanConfig {
    /// Reads and checks the fields.
    pub(crate) fn new(config: &NetworkConfig) -> Result<Self, Error> {
        let raw: Raw = config.plugin()?;
        let named = match raw.master {
            None => Vec::new(),
            Some(OneOrSeveral::One(name)) => vec![name],
            Some(OneOrSeveral::Several(names)) => names,
        };
        let link_in_container = raw.link_in_container == Some(true);
        Ok(Self {
            masters: named.into_iter().filter(|name| !name.is_empty()).map(Master::new).collect(),
            mode: parsed("mode", raw.mode.as_deref(), IpvlanMode::L2)?,
            flag: parsed("flag", raw.flag.as_deref(), IpvlanFlag::Bridge)?,
            mtu: raw.mtu.filter(|mtu| *mtu > 0),
            link_in_container,
            ipam: Ipam::new(config)?,
            dns: raw.dns.filter(|dns| *dns != Dns::default()),
            detect: parsed("detect", raw.detect.as_deref(), Detection::Off)?,
            detect_gateway: raw.detect_gateway == Some(true),
            detect_endpoint: endpoint(raw.detect_endpoint.as_deref())?,
            debug: raw.debug == Some(true),
        })
    }
}

/// `debug`, for DEL.
pub(crate) fn is_debug(config: &DelConfig) -> bool {
    config.plugin::<Raw>().debug == Some(true)
}

fn parsed<T: std::str::FromStr<Err: fmt::Display>>(
    field: &str,
    text: Option<&str>,
    otherwise: T,
) -> Result<T, Error> {
    match text {
        None | Some("") => Ok(otherwise),
        Some(text) => text.parse().map_err(|error| {
            Error::new(Code::INVALID_CONFIG, format!("{field} {text:?}: {error}"))
        }),
    }
}

/// What it refuses is named by its error.
fn endpoint(text: Option<&str>) -> Result<Option<Endpoint>, Error> {
    let text = text.filter(|text| !text.is_empty());
    text.map(str::parse).transpose().map_err(|error: cloud::Error| {
        Error::new(Code::INVALID_CONFIG, format!("detectEndpoint: {error}"))
    })
}

impl Ipam {
    /// As every verb but DEL reads it.
    pub(crate) fn new(config: &NetworkConfig) -> Result<Self, Error> {
        Self::of(config.plugin()?, &config.plugin_type)
    }

    /// For DEL.
    pub(crate) fn for_del(config: &DelConfig) -> Result<Self, Error> {
        Self::of(config.plugin(), &config.plugin_type)
    }

    fn of(raw: OfIpam, own: &str) -> Result<Self, Error> {
        match raw.ipam.unwrap_or_default().kind {
            None => Ok(Self::Previous),
            Some(kind) if kind.is_empty() => Ok(Self::Previous),
            Some(kind) if kind == cni_ipam::IPAM_TYPE => Ok(Self::Own),
            Some(kind) if kind == "dhcp" => {
                let msg = "ipam.type \"dhcp\": a DHCP server tells its clients apart by their \
                           MACs, and all ipvlan links of a NIC have one: use cni-ipam, host-local \
                           or static";
                Err(Error::new(Code::INVALID_CONFIG, msg))
            }
            Some(kind) if kind == own => {
                let msg = format!("ipam.type {kind:?}: this plugin gives no addresses to itself");
                Err(Error::new(Code::INVALID_CONFIG, msg))
            }
            Some(kind) => Ok(Self::Delegated(kind)),
        }
    }
}

impl Master {
    fn new(text: String) -> Self {
        text.parse().map_or(Self::Name(text), Self::Mac)
    }
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Mac(mac) => mac.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cni_proto::field_names;

    use super::*;
    use crate::documentation::documented;

    /// The specification's fields are of the list or for all plugins, and `ipam` has fields itself.
    #[test]
    fn the_documentation_has_every_field_and_no_other() {
        let mut expected: BTreeSet<String> =
            field_names::<Raw>().iter().map(|&field| field.to_owned()).collect();
        expected.extend(["cniVersion", "name", "capabilities"].map(str::to_owned));
        let ipam = cni_ipam::pool_fields().into_iter().chain(field_names::<RawIpam>().to_vec());
        expected.extend(ipam.map(|field| format!("ipam.{field}")));
        assert_eq!(documented("cni-ipvlan", "field"), expected);
    }

    fn config(fields: &str) -> Result<IpvlanConfig, Error> {
        let text = format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"cni-ipvlan"{fields}}}"#);
        IpvlanConfig::new(&NetworkConfig::parse(text.as_bytes()).unwrap())
    }

    fn name(name: &str) -> Master {
        Master::Name(name.into())
    }

    #[test]
    fn defaults_are_upstreams() {
        let read = config("").unwrap();
        assert_eq!(
            read,
            IpvlanConfig {
                masters: Vec::new(),
                mode: IpvlanMode::L2,
                flag: IpvlanFlag::Bridge,
                mtu: None,
                link_in_container: false,
                ipam: Ipam::Previous,
                dns: None,
                detect: Detection::Off,
                detect_gateway: false,
                detect_endpoint: None,
                debug: false,
            }
        );
        let empty = r#","master":"","mode":"","mtu":0,"linkInContainer":false,"ipam":{},"dns":{}"#;
        assert_eq!(config(empty).unwrap(), read);
        let null = r#","master":null,"mode":null,"flag":null,"mtu":null,"ipam":null,"dns":null"#;
        assert_eq!(config(null).unwrap(), read);
    }

    #[test]
    fn every_field_is_read() {
        let read = config(
            r#","master":["ens6","eth1","00:16:3E:0A:00:07"],"mode":"l3s","flag":"private",
               "mtu":1400,"LinkInContainer":true,"debug":true,"ipam":{"type":"static"},
               "detect":"metadata","detectEndpoint":"http://127.0.0.1:81",
               "dns":{"nameservers":["10.0.0.2"]}"#,
        )
        .unwrap();
        let mac = Master::Mac(MacAddr([0, 0x16, 0x3e, 0x0a, 0, 7]));
        assert_eq!(read.masters, [name("ens6"), name("eth1"), mac]);
        assert_eq!((read.mode, read.flag), (IpvlanMode::L3s, IpvlanFlag::Private));
        assert_eq!((read.mtu, read.link_in_container), (Some(1400), true));
        assert!(read.debug);
        let endpoint = read.detect_endpoint.map(|endpoint| endpoint.to_string());
        assert_eq!(
            (read.detect, endpoint.as_deref()),
            (Detection::Metadata, Some("http://127.0.0.1:81"))
        );
        assert_eq!(read.ipam, Ipam::Delegated("static".into()));
        assert_eq!(read.dns.unwrap().nameservers, ["10.0.0.2"]);
        assert_eq!(config(r#","master":"eth0""#).unwrap().masters, [name("eth0")]);
        assert_eq!(config(r#","ipam":{"type":"cni-ipam"}"#).unwrap().ipam, Ipam::Own);
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for (fields, expected) in [
            (r#","master":7"#, "master: it must be a NIC's name or MAC, or a list of such"),
            (r#","mode":"l4""#, r#"mode "l4": `l4` is not an ipvlan mode: use l2, l3 or l3s"#),
            (
                r#","flag":"open""#,
                r#"flag "open": `open` is not an ipvlan flag: use bridge, private or vepa"#,
            ),
            (r#","mtu":-1"#, "mtu"),
            (r#","detect":"ping""#, r#"detect "ping": it must be off, auto, arp or metadata"#),
            (
                r#","detectEndpoint":"http://metadata""#,
                r#"detectEndpoint: endpoint "http://metadata": it must be http:// and an address"#,
            ),
        ] {
            let error = config(fields).unwrap_err();
            assert_eq!(error.code, Code::INVALID_CONFIG, "{error}");
            assert!(error.msg.contains(expected), "{error}");
        }
    }

    /// It would start itself for ever.
    #[test]
    fn the_plugin_is_not_its_own_delegate() {
        let error = config(r#","ipam":{"type":"cni-ipvlan"}"#).unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG);
        assert!(error.msg.contains("to itself"), "{error}");
    }

    #[test]
    fn dhcp_is_refused_with_the_reason() {
        let error = config(r#","ipam":{"type":"dhcp"}"#).unwrap_err();
        assert_eq!(error.code, Code::INVALID_CONFIG);
        assert_eq!(
            error.to_string(),
            "ipam.type \"dhcp\": a DHCP server tells its clients apart by their MACs, and all \
             ipvlan links of a NIC have one: use cni-ipam, host-local or static"
        );
    }
}
