//! What is configured about the cloud: the file, and the options in front of it.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cloud::{Endpoint, Nic, ProviderName, Reading};
use cni_net::Link;
use ipam_core::{NetworkRef, NodeName};
use serde::Deserialize;

use super::Options;

/// Read if it is there, unless another is named.
const USUAL_FILE: &str = "/etc/node-ipam/sync.yaml";
/// The longest file in bytes that is read.
const LONGEST_FILE: u64 = 1 << 20;
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// What stands for the name of the NIC's link in `defaultNetwork`.
const INTERFACE: &str = "{interface}";
/// The networks of the peer's guide for Alibaba Cloud.
const DEFAULT_NETWORK: &str = "kube-system/ipvlan-{interface}";
/// Both clouds' metadata may be stale for a minute.
const CONFIRM_SECONDS: u64 = 60;

/// `sync.yaml`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    provider: Option<String>,
    endpoint: Option<String>,
    node_name: Option<String>,
    default_network: Option<String>,
    confirm_seconds: Option<u64>,
    #[serde(default)]
    nics: Vec<NicEntry>,
}

/// One of `nics`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NicEntry {
    /// MAC, cloud's id or link.
    nic: String,
    network: Option<String>,
    #[serde(default)]
    ignore: bool,
}

/// Everything that is configured, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `None`: found out.
    pub(super) provider: Option<ProviderName>,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) node: NodeName,
    pub(super) confirm: Duration,
    default_network: String,
    /// What is said about single NICs, the most important first.
    nics: Vec<(String, Choice)>,
}

/// What a NIC is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// By this network.
    Network(NetworkRef),
    /// Its pools are made by hand.
    Ignored,
    /// It has no link from which a network's name would follow.
    Unknown,
}

impl Settings {
    /// The options, and what the file says where they say nothing.
    pub(super) fn new(options: &Options) -> Result<Self> {
        let file = match &options.config {
            Some(path) => {
                read(path)?.with_context(|| format!("{}: no such file", path.display()))?
            }
            None => read(Path::new(USUAL_FILE))?.unwrap_or_default(),
        };
        let provider = options.provider.as_ref().or(file.provider.as_ref());
        let endpoint = options.endpoint.as_ref().or(file.endpoint.as_ref());
        let node = match options.node_name.as_ref().or(file.node_name.as_ref()) {
            Some(name) => name.clone(),
            None => std::fs::read_to_string(HOST_NAME)
                .with_context(|| format!("read {HOST_NAME}"))?
                .trim()
                .to_lowercase(),
        };
        let mut nics = Vec::new();
        for text in &options.networks {
            let (nic, network) = text
                .split_once('=')
                .with_context(|| format!("--network {text:?}: write NIC=NAMESPACE/NAME"))?;
            nics.push((nic.to_owned(), chosen(network)?));
        }
        for entry in file.nics {
            let choice = match (entry.network, entry.ignore) {
                (None, true) => Choice::Ignored,
                (Some(network), false) => chosen(&network)?,
                _ => bail!("nics: {:?}: it needs `network` or `ignore: true`", entry.nic),
            };
            nics.push((entry.nic, choice));
        }
        let default_network = file.default_network.unwrap_or_else(|| DEFAULT_NETWORK.to_owned());
        chosen(&default_network.replace(INTERFACE, "eth0"))?;
        let confirm = options.confirm_seconds.or(file.confirm_seconds).unwrap_or(CONFIRM_SECONDS);
        Ok(Self {
            provider: provider
                .filter(|text| *text != "auto")
                .map(|text| text.parse())
                .transpose()?,
            endpoint: endpoint.map(|text| text.parse()).transpose()?,
            node: node.parse()?,
            confirm: Duration::from_secs(confirm),
            default_network,
            nics,
        })
    }

    /// What this NIC is used for.
    pub(super) fn choice(&self, nic: &Nic, interface: Option<&str>) -> Choice {
        let said = self.nics.iter().find(|(name, _)| is_meant(name, nic, interface));
        match (said, interface) {
            (Some((_, choice)), _) => choice.clone(),
            (None, None) => Choice::Unknown,
            (None, Some(interface)) => chosen(&self.default_network.replace(INTERFACE, interface))
                .unwrap_or(Choice::Unknown),
        }
    }

    /// Refuses a configured NIC that is none of the cloud's: what was to be ignored by it would not
    /// be. A link or a NIC that is not there now may come back.
    pub(super) fn check_nics(&self, reading: &Reading, links: &[Link]) -> Result<()> {
        for (name, _) in &self.nics {
            let is_known = reading.nics.iter().any(|nic| is_meant(name, nic, None))
                || links.iter().any(|link| link.name == *name)
                || name.parse::<cloud::MacAddr>().is_ok()
                || name.starts_with("eni-");
            ensure!(is_known, "NIC {name:?}: neither a MAC, nor an id, nor a link of this node");
        }
        Ok(())
    }
}

fn is_meant(name: &str, nic: &Nic, interface: Option<&str>) -> bool {
    name.parse() == Ok(nic.mac) || name == nic.id || Some(name) == interface
}

fn chosen(network: &str) -> Result<Choice> {
    let parsed = network.parse().with_context(|| format!("network {network:?}"))?;
    Ok(Choice::Network(parsed))
}

/// The file's contents; `None` if there is none.
fn read(path: &Path) -> Result<Option<File>> {
    let context = || format!("read {}", path.display());
    let mut text = String::new();
    let length = match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened
            .and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text))
            .with_context(context)?,
    };
    ensure!(length as u64 <= LONGEST_FILE, "{}: above {LONGEST_FILE} bytes", path.display());
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Some(File::default()));
    }
    let parsed = serde_saphyr::from_str(&text);
    // The parser prints an excerpt below its message.
    let parsed = parsed.map_err(|error: serde_saphyr::Error| {
        let text = error.without_snippet().to_string();
        anyhow::anyhow!("{}: {}", path.display(), text.lines().next().unwrap_or_default())
    });
    parsed.map(Some)
}

#[cfg(test)]
mod tests {
    use cni_proto::field_names;

    use super::*;
    use crate::documentation::documented;

    #[test]
    fn the_documentation_has_every_field_and_no_other() {
        let of_nics = field_names::<NicEntry>().iter().map(|field| format!("nics[].{field}"));
        let own = field_names::<File>().iter().filter(|&&field| field != "nics");
        let expected = own.map(|&field| field.to_owned()).chain(of_nics).collect();
        assert_eq!(documented("Pools from the cloud", "field"), expected);
    }

    fn settings(text: &str, options: Options) -> Result<Settings> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("sync.yaml");
        std::fs::write(&path, text)?;
        Settings::new(&Options { config: Some(path), ..options })
    }

    fn nic() -> Nic {
        Nic {
            mac: "00:16:3e:ac:c7:b7".parse().unwrap(),
            id: "eni-1".to_owned(),
            primary: None,
            secondary: Vec::new(),
            ipv6: Vec::new(),
            prefixes: Vec::new(),
            subnet_v4: None,
            subnet_v6: None,
            gateway_v4: None,
            gateway_v6: None,
        }
    }

    #[test]
    fn options_come_before_the_file_and_the_file_before_the_defaults() {
        let text = "provider: aws\nendpoint: http://127.0.0.1:81\nnodeName: n1\n\
                    confirmSeconds: 90\ndefaultNetwork: pods/{interface}\n\
                    nics:\n- {nic: eth1, network: pods/second}\n- {nic: eni-1, ignore: true}\n";
        let found = settings(text, Options::default()).unwrap();
        assert_eq!(found.provider, Some(ProviderName::Aws));
        assert_eq!((found.node.as_str(), found.confirm.as_secs()), ("n1", 90));
        assert_eq!(found.choice(&nic(), Some("eth0")), Choice::Ignored);
        let other = Nic { id: "eni-2".into(), ..nic() };
        assert_eq!(found.choice(&other, Some("eth1")), chosen("pods/second").unwrap());
        assert_eq!(found.choice(&other, Some("eth2")), chosen("pods/eth2").unwrap());
        assert_eq!(found.choice(&other, None), Choice::Unknown);

        let options = Options {
            provider: Some("auto".into()),
            networks: vec!["00:16:3E:AC:C7:B7=x/y".into()],
            ..Options::default()
        };
        let found = settings(text, options).unwrap();
        assert_eq!(found.provider, None);
        assert_eq!(found.choice(&nic(), Some("eth0")), chosen("x/y").unwrap());
        let defaults = settings("# nothing\n", Options::default()).unwrap();
        assert_eq!(
            defaults.choice(&nic(), Some("eth0")),
            chosen("kube-system/ipvlan-eth0").unwrap()
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, expected) in [
            ("provider: gcp", "provider \"gcp\": it must be alibaba or aws"),
            ("endpoint: http://metadata", "endpoint \"http://metadata\""),
            ("nodName: x", "unknown field `nodName`"),
            ("nodeName: ''", "a node name must not be empty"),
            ("nics: [{nic: eth0}]", "nics: \"eth0\": it needs `network` or `ignore: true`"),
            ("nics: [{nic: eth0, network: a/b/c}]", "network \"a/b/c\""),
            ("defaultNetwork: ''", "network \"\""),
            ("confirmSeconds: soon", "sync.yaml:"),
        ] {
            let error = format!("{:#}", settings(text, Options::default()).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
        let reading = Reading { provider: ProviderName::Aws, nics: vec![nic()] };
        let found = settings("nics: [{nic: eth9, ignore: true}]", Options::default()).unwrap();
        let error = found.check_nics(&reading, &[]).unwrap_err().to_string();
        assert!(error.contains("\"eth9\": neither a MAC"), "{error}");
    }
}
