//! A call as a log has it: who asked for what, as far as that could be read.

use serde_json::Value;

use crate::args::CniArgs;
use crate::verb::Verb;

/// What a runtime asks for, before anything of it is checked: a name in here may be one that no
/// request can have, and may hold any character.
#[derive(Debug, Clone, PartialEq)]
pub struct Call<'a> {
    /// Never VERSION, which is about nothing.
    pub verb: Verb,
    /// `CNI_CONTAINERID`; empty if unset.
    pub container: String,
    /// `CNI_IFNAME`; empty if unset.
    pub ifname: String,
    /// The pairs of `CNI_ARGS` that can be read.
    pub args: CniArgs,
    /// The configuration: the specification's keys as it spells them, others as written. `None` if
    /// it is no JSON object.
    pub config: Option<&'a Value>,
}
