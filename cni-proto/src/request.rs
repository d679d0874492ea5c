//! What a plugin is asked: checked, so that a plugin need not check again.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

use crate::args::CniArgs;
use crate::config::{ATTACHMENTS, DelConfig, NetworkConfig, VALID_ATTACHMENTS};
use crate::decode::decode;
use crate::env::{Attachment, Environment, Variable, absent};
use crate::error::{Code, Error};
use crate::id::{ContainerId, IfName, InvalidName};
use crate::verb::Verb;

/// What ADD, CHECK and DEL are about: one interface of one container in one network.
///
/// They differ in what is certain: a DEL may lack the namespace (`N`) and is content with what can
/// be read of the configuration (`C`).
#[derive(Debug, Clone, PartialEq)]
pub struct AttachmentRequest<N, C> {
    /// Which container.
    pub container: ContainerId,
    /// Path of its network namespace, letter for letter what [`crate::Interface::sandbox`] should
    /// say. Nobody has looked whether it is there.
    pub netns: N,
    /// The interface in it.
    pub ifname: IfName,
    /// What the runtime says about this attachment; for DEL without what is malformed.
    pub args: CniArgs,
    /// Whether `CNI_NETNS_OVERRIDE` allows `netns` to be the plugin's own namespace. Without it an
    /// ADD into that must fail, with [`Code::INVALID_NETNS`] and before anything else.
    pub netns_override: bool,
    /// `CNI_PATH`: the directories of the plugins, in which delegates are looked for in this order.
    pub path: Vec<PathBuf>,
    /// The network.
    pub config: C,
}

/// Attach a container: make `ifname` in `netns`, or adjust what earlier plugins made there.
pub type AddRequest = AttachmentRequest<PathBuf, NetworkConfig>;

/// Compare an attachment with what its chain's ADD answered:
/// [`NetworkConfig::required_prev_result`] of `config`.
pub type CheckRequest = AttachmentRequest<PathBuf, NetworkConfig>;

/// Undo an ADD. It may never have run, have died half-way, or have been undone already.
///
/// `netns` is `None` if the namespace is gone, and the path may lead nowhere too. Everything
/// outside of it must be released all the same.
pub type DelRequest = AttachmentRequest<Option<PathBuf>, DelConfig>;

/// Release whatever of this network belongs to no valid attachment.
#[derive(Debug, Clone, PartialEq)]
pub struct GcRequest {
    /// The attachments to keep. An empty list (or `null`, as some runtimes print it) keeps none.
    /// `None` if the runtime sent no list, which the specification forbids: release nothing.
    pub valid_attachments: Option<Vec<ValidAttachment>>,
    /// `CNI_PATH`, as in [`AttachmentRequest::path`].
    pub path: Vec<PathBuf>,
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
    /// `CNI_PATH`, as in [`AttachmentRequest::path`].
    pub path: Vec<PathBuf>,
    /// The network.
    pub config: NetworkConfig,
}

impl<N, C> AttachmentRequest<N, C> {
    fn new(attachment: Attachment, netns: N, path: Vec<PathBuf>, config: C) -> Self {
        let Attachment { container, ifname, args, netns_override, .. } = attachment;
        Self { container, netns, ifname, args, netns_override, path, config }
    }
}

impl AddRequest {
    /// The request of an ADD or a CHECK.
    pub(crate) fn strict(
        verb: Verb,
        env: &Environment,
        raw: Result<Value, Error>,
    ) -> Result<Self, Error> {
        let mut attachment = env.attachment(verb)?;
        let netns = attachment.netns.take().ok_or_else(|| absent(&[Variable::Netns]))?;
        let config = later(verb, NetworkConfig::from_object(raw?)?)?;
        Ok(Self::new(attachment, netns, env.path(), config))
    }
}

impl DelRequest {
    pub(crate) fn lenient(env: &Environment, raw: Result<Value, Error>) -> Result<Self, Error> {
        let mut attachment = env.attachment(Verb::Del)?;
        let netns = attachment.netns.take();
        Ok(Self::new(attachment, netns, env.path(), DelConfig::from_object(raw?)?))
    }
}

impl GcRequest {
    pub(crate) fn new(env: &Environment, raw: Result<Value, Error>) -> Result<Self, Error> {
        env.require(Verb::Gc)?;
        let config = later(Verb::Gc, NetworkConfig::from_object(raw?)?)?;
        let valid_attachments = valid_attachments(config.raw())?;
        Ok(Self { valid_attachments, path: env.path(), config })
    }
}

impl StatusRequest {
    pub(crate) fn new(env: &Environment, raw: Result<Value, Error>) -> Result<Self, Error> {
        env.require(Verb::Status)?;
        let config = later(Verb::Status, NetworkConfig::from_object(raw?)?)?;
        Ok(Self { path: env.path(), config })
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

/// The list under its name or its first name, whichever says more; `null` is a list of none.
fn valid_attachments(config: &Value) -> Result<Option<Vec<ValidAttachment>>, Error> {
    let stated = [VALID_ATTACHMENTS, ATTACHMENTS].map(|key| Some((key, config.get(key)?)));
    let stated = || stated.iter().flatten();
    match stated().find(|(_, list)| !list.is_null()) {
        Some((key, list)) => listed(key, list).map(Some),
        None => Ok(stated().next().map(|_| Vec::new())),
    }
}

/// One broken entry breaks the list: its attachment must not lose what it has.
fn listed(key: &str, list: &Value) -> Result<Vec<ValidAttachment>, Error> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(rename = "containerID")]
        container: String,
        ifname: String,
    }
    let invalid =
        |cause: String| Error::new(Code::INVALID_CONFIG, format!("invalid {key}: {cause}"));
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
