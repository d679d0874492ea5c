//! What a runtime can ask of a plugin, and what it has to say with each question.

use std::fmt;
use std::str::FromStr;

use crate::env::Variable;
use crate::version::Version;

/// What `CNI_COMMAND` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Attach a container to the network.
    Add,
    /// Undo an ADD, as often as it is asked and whatever is left of it.
    Del,
    /// Compare an attachment with the result of its ADD.
    Check,
    /// Release what belongs to no listed attachment.
    Gc,
    /// Answer whether an ADD could be served now.
    Status,
    /// Answer which versions are spoken.
    Version,
}

impl Verb {
    /// Every verb, in the order of the specification.
    pub const ALL: &[Self] =
        &[Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// The verb as `CNI_COMMAND` spells it: upper case, exactly.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// The variables that must be set to something (specification, section 2, "Parameters").
    ///
    /// `CNI_PATH` is needed for GC alone; Go's skel demands it everywhere, which breaks callers
    /// that follow the text.
    pub(crate) const fn required(self) -> &'static [Variable] {
        match self {
            Self::Add | Self::Check => &[Variable::ContainerId, Variable::Netns, Variable::IfName],
            Self::Del => &[Variable::ContainerId, Variable::IfName],
            Self::Gc => &[Variable::Path],
            Self::Status | Self::Version => &[],
        }
    }

    /// The first version whose configurations may come with this verb. VERSION, new in 0.2.0, is
    /// about no configuration.
    pub(crate) const fn since(self) -> Version {
        match self {
            Self::Gc | Self::Status => Version::V1_1_0,
            Self::Check => Version::V0_4_0,
            Self::Add | Self::Del | Self::Version => Version::V0_1_0,
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = UnknownVerb;

    /// # Errors
    /// [`UnknownVerb`] for anything but the upper-case words of [`Self::ALL`].
    fn from_str(text: &str) -> Result<Self, UnknownVerb> {
        let found = Self::ALL.iter().find(|verb| verb.as_str() == text);
        found.copied().ok_or_else(|| UnknownVerb(text.to_owned()))
    }
}

/// `CNI_COMMAND` held a word that is no [`Verb`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown CNI_COMMAND {0:?}: it must be one of {list}",
    list = Verb::ALL.iter().map(|verb| verb.as_str()).collect::<Vec<_>>().join(", ")
)]
pub struct UnknownVerb(String);
