//! The `CNI_*` variables, checked against the table of what each verb needs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::args::CniArgs;
use crate::call::Call;
use crate::error::{Code, Error};
use crate::id::{ContainerId, IfName, InvalidName};
use crate::verb::Verb;

/// A variable that this crate reads. All others are none of a plugin's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Variable {
    Command,
    ContainerId,
    Netns,
    IfName,
    Args,
    Path,
    NetnsOverride,
}

impl Variable {
    const ALL: [Self; 7] = [
        Self::Command,
        Self::ContainerId,
        Self::Netns,
        Self::IfName,
        Self::Args,
        Self::Path,
        Self::NetnsOverride,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Command => "CNI_COMMAND",
            Self::ContainerId => "CNI_CONTAINERID",
            Self::Netns => "CNI_NETNS",
            Self::IfName => "CNI_IFNAME",
            Self::Args => "CNI_ARGS",
            Self::Path => "CNI_PATH",
            Self::NetnsOverride => "CNI_NETNS_OVERRIDE",
        }
    }
}

/// The variables that are set to something.
///
/// A variable set to the empty string counts as unset: libcni always sets all of them.
#[derive(Debug)]
pub(crate) struct Environment(BTreeMap<Variable, OsString>);

/// Which interface in which container; every verb about one attachment has it.
#[derive(Debug)]
pub(crate) struct Attachment {
    pub(crate) container: ContainerId,
    /// `None` only for a verb that does not require it.
    pub(crate) netns: Option<PathBuf>,
    pub(crate) ifname: IfName,
    pub(crate) args: CniArgs,
    pub(crate) netns_override: bool,
}

impl Environment {
    /// Of two values for one variable the first counts, as for `getenv`.
    pub(crate) fn new(env: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut set = BTreeMap::new();
        for (name, value) in env {
            if let Some(variable) = Variable::ALL.into_iter().find(|known| name == known.name()) {
                set.entry(variable).or_insert(value);
            }
        }
        set.retain(|_, value| !value.is_empty());
        Self(set)
    }

    fn value(&self, variable: Variable) -> Option<&OsStr> {
        self.0.get(&variable).map(OsString::as_os_str)
    }

    /// The directories of `CNI_PATH`. An empty piece is none: what a shell takes for the working
    /// directory must not decide which program is started.
    pub(crate) fn path(&self) -> Vec<PathBuf> {
        let bytes = self.value(Variable::Path).unwrap_or_default().as_bytes();
        let pieces = bytes.split(|byte| *byte == b':').filter(|piece| !piece.is_empty());
        pieces.map(|piece| OsStr::from_bytes(piece).into()).collect()
    }

    /// What is asked for; `None` if nobody asks, as when a person starts the plugin.
    pub(crate) fn verb(&self) -> Option<Result<Verb, Error>> {
        let command = self.value(Variable::Command)?.to_string_lossy();
        Some(command.parse().map_err(|error: crate::verb::UnknownVerb| {
            Error::new(Code::INVALID_ENVIRONMENT, error.to_string())
        }))
    }

    /// Fails with code 4 and the names of all variables that the verb requires and that are unset.
    pub(crate) fn require(&self, verb: Verb) -> Result<(), Error> {
        let required = verb.required().iter().copied();
        let missing: Vec<_> = required.filter(|v| self.value(*v).is_none()).collect();
        if missing.is_empty() { Ok(()) } else { Err(absent(&missing)) }
    }

    /// The attachment that ADD, CHECK or DEL is about. An invalid value is reported before missing
    /// ones; for DEL `CNI_ARGS` is taken as far as it can be read.
    pub(crate) fn attachment(&self, verb: Verb) -> Result<Attachment, Error> {
        let container = self.parsed(Variable::ContainerId, ContainerId::new)?;
        let ifname = self.parsed(Variable::IfName, IfName::new)?;
        self.require(verb)?;
        let args = self.value(Variable::Args).unwrap_or_default();
        Ok(Attachment {
            container: container.ok_or_else(|| absent(&[Variable::ContainerId]))?,
            netns: self.value(Variable::Netns).map(PathBuf::from),
            ifname: ifname.ok_or_else(|| absent(&[Variable::IfName]))?,
            args: match verb {
                Verb::Del => CniArgs::parse_leniently(args),
                _ => CniArgs::parse(args)?,
            },
            netns_override: self
                .value(Variable::NetnsOverride)
                .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true")),
        })
    }

    /// Who asks, unchecked.
    pub(crate) fn call<'a>(&self, verb: Verb, config: Option<&'a Value>) -> Call<'a> {
        let text = |variable| self.value(variable).unwrap_or_default().to_string_lossy();
        Call {
            verb,
            container: text(Variable::ContainerId).into_owned(),
            ifname: text(Variable::IfName).into_owned(),
            args: CniArgs::parse_leniently(self.value(Variable::Args).unwrap_or_default()),
            config,
        }
    }

    /// Bytes that are not UTF-8 are refused: U+FFFD in their place would name another interface.
    fn parsed<T>(
        &self,
        variable: Variable,
        new: impl FnOnce(String) -> Result<T, InvalidName>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.value(variable) else {
            return Ok(None);
        };
        let text = value.to_str().ok_or_else(|| {
            let message =
                format!("invalid {} {}: it must be UTF-8", variable.name(), value.display());
            Error::new(Code::INVALID_ENVIRONMENT, message)
        })?;
        let parsed = new(text.to_owned());
        parsed.map(Some).map_err(|error| Error::new(Code::INVALID_ENVIRONMENT, error.to_string()))
    }
}

/// The error for variables that had to be set; the specification wants their names in it.
pub(crate) fn absent(variables: &[Variable]) -> Error {
    let names: Vec<_> = variables.iter().map(|variable| variable.name()).collect();
    let message = format!("required env variables [{}] missing", names.join(","));
    Error::new(Code::INVALID_ENVIRONMENT, message)
}
