//! What a plugin is asked, one type per verb: checked, so that a plugin need not check again.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::args::CniArgs;
use crate::config::{DelConfig, NetworkConfig, VALID_ATTACHMENTS};
use crate::decode::decode;
use crate::env::{Attachment, Environment, Variable, absent};
use crate::error::{Code, Error};
use crate::id::{ContainerId, IfName, InvalidName};
use crate::verb::Verb;

/// Attach a container: make `ifname` in `netns`, or adjust what earlier plugins made there.
#[derive(Debug, Clone, PartialEq)]
pub struct AddRequest {
    /// Which container.
    pub container: ContainerId,
    /// Path of its network namespace, letter for letter what [`crate::Interface::sandbox`] should
    /// say. Nobody has looked whether it is there.
    pub netns: PathBuf,
    /// The interface to make in it.
    pub ifname: IfName,
    /// What the runtime says about this attachment.
    pub args: CniArgs,
    /// Whether `CNI_NETNS_OVERRIDE` allows `netns` to be the plugin's own namespace.
    pub netns_override: bool,
    /// The network.
    pub config: NetworkConfig,
}

/// Compare an attachment with `config.prev_result`; the fields are those of [`AddRequest`].
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRequest {
    /// Which container.
    pub container: ContainerId,
    /// Path of its network namespace.
    pub netns: PathBuf,
    /// The interface in it.
    pub ifname: IfName,
    /// What the runtime says about this attachment.
    pub args: CniArgs,
    /// Whether `CNI_NETNS_OVERRIDE` allows `netns` to be the plugin's own namespace.
    pub netns_override: bool,
    /// The network.
    pub config: NetworkConfig,
}

/// Undo an ADD. It may never have run, have died half-way, or have been undone already.
#[derive(Debug, Clone, PartialEq)]
pub struct DelRequest {
    /// Which container.
    pub container: ContainerId,
    /// Path of its network namespace; `None` if that is gone, and the path may lead nowhere too.
    /// Everything outside of it must be released all the same.
    pub netns: Option<PathBuf>,
    /// The interface in it.
    pub ifname: IfName,
    /// What the runtime says about this attachment, without what is malformed.
    pub args: CniArgs,
    /// Whether `CNI_NETNS_OVERRIDE` allows `netns` to be the plugin's own namespace.
    pub netns_override: bool,
    /// The network.
    pub config: DelConfig,
}

/// Release whatever of this network belongs to no valid attachment.
#[derive(Debug, Clone, PartialEq)]
pub struct GcRequest {
    /// The attachments to keep. An empty list (or `null`, as some runtimes print it) keeps none.
    /// `None` if the runtime sent no list, which the specification forbids: release nothing.
    pub valid_attachments: Option<Vec<ValidAttachment>>,
    /// The network.
    pub config: NetworkConfig,
}

/// One interface of one container that still lives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidAttachment {
    /// Which container.
    pub container: ContainerId,
    /// The interface in it.
    pub ifname: IfName,
}

/// Answer whether an ADD to this network could be served.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusRequest {
    /// The network.
    pub config: NetworkConfig,
}

impl AddRequest {
    pub(crate) fn new(env: &Environment, raw: Result<Value, Error>) -> Result<Self, Error> {
        Self::asked(Verb::Add, env, raw)
    }

    fn asked(verb: Verb, env: &Environment, raw: Result<Value, Error>) -> Result<Self, Error> {
        let Attachment { container, netns, ifname, args, netns_override } = env.attachment(verb)?;
        let netns = netns.ok_or_else(|| absent(&[Variable::Netns]))?;
        let config = NetworkConfig::from_object(raw?)?;
        Ok(Self { container, netns, ifname, args, netns_override, config })
    }
}

impl CheckRequest {
    pub(crate) fn new(env: &Environment, raw: Result<Value, Error>) -> Result<Self, Error> {
        let AddRequest { container, netns, ifname, args, netns_override, config } =
            AddRequest::asked(Verb::Check, env, raw)?;
        Ok(Self { container, netns, ifname, args, netns_override, config })
    }
}

impl DelRequest {
    pub(crate) fn new(env: &Environment, raw: Result<Value, Error>) -> Result<Self, Error> {
        let Attachment { container, netns, ifname, args, netns_override } =
            env.attachment(Verb::Del)?;
        let config = DelConfig::from_object(raw?)?;
        Ok(Self { container, netns, ifname, args, netns_override, config })
    }
}

impl GcRequest {
    pub(crate) fn new(env: &Environment, raw: Result<Value, Error>) -> Result<Self, Error> {
        env.require(Verb::Gc)?;
        let config = later(Verb::Gc, NetworkConfig::from_object(raw?)?)?;
        let valid_attachments = match config.raw().get(VALID_ATTACHMENTS) {
            None => None,
            Some(Value::Null) => Some(Vec::new()),
            Some(list) => Some(valid_attachments(list)?),
        };
        Ok(Self { valid_attachments, config })
    }
}

impl StatusRequest {
    pub(crate) fn new(env: &Environment, raw: Result<Value, Error>) -> Result<Self, Error> {
        env.require(Verb::Status)?;
        let config = later(Verb::Status, NetworkConfig::from_object(raw?)?)?;
        Ok(Self { config })
    }
}

/// Refuses a configuration of a version that does not have the verb yet.
fn later(verb: Verb, config: NetworkConfig) -> Result<NetworkConfig, Error> {
    if config.cni_version >= verb.since() {
        return Ok(config);
    }
    let details = format!("config is {}, {verb} exists since {}", config.cni_version, verb.since());
    Err(Error::new(Code::INCOMPATIBLE_VERSION, format!("config version does not allow {verb}"))
        .with_details(details))
}

/// One broken entry breaks the list: its attachment must not lose what it has.
fn valid_attachments(list: &Value) -> Result<Vec<ValidAttachment>, Error> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(rename = "containerID")]
        container: String,
        ifname: String,
    }
    let invalid = |cause: String| {
        Error::new(Code::INVALID_CONFIG, format!("invalid {VALID_ATTACHMENTS}: {cause}"))
    };
    let listed: Vec<Listed> = decode(list).map_err(|error| invalid(error.to_string()))?;
    let named = listed.into_iter().map(|Listed { container, ifname }| {
        Ok(ValidAttachment {
            container: ContainerId::new(container)?,
            ifname: IfName::new(ifname)?,
        })
    });
    let named: Result<_, InvalidName> = named.collect();
    named.map_err(|error| invalid(error.to_string()))
}
