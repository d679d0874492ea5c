//! What a step is there for.

use std::fmt;
use std::str::FromStr;

/// What steps are there for. A test can leave an ingredient out, and see what does not work
/// without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Ingredient {
    /// The pair itself.
    Veth,
    /// Its MTU; without it the pair has the kernel's 1500.
    Mtu,
    /// Whose pair it is.
    Alias,
    /// `vethLinkAddress`.
    VethAddress,
    /// `txQueueLen`.
    TxQueueLen,
    /// IPv6 is switched on in the pod.
    Ipv6,
    /// Neither end believes router advertisements and redirects of the other.
    Hardening,
    /// The pod's and the veth's `rp_filter`.
    RpFilter,
    /// Both ends are up.
    Up,
    /// The pod knows the MAC of its node.
    NodeNeighbour,
    /// The pod's routes to the addresses of its node.
    NodeRoute,
    /// The pod's routes to Services and whatever else goes by its node.
    Hijack,
    /// The marks of the packet filter.
    Marks,
    /// The default route of marked replies.
    ReplyRoute,
    /// The rule that leads marked replies there.
    MarkRule,
    /// The place of that rule before the source rules; without it the rule stands where the peer's
    /// does.
    MarkRulePreference,
    /// The routes of a NIC in its own table.
    NicRoute,
    /// The rules by which a NIC's addresses leave by that NIC.
    SourceRule,
    /// One default route in the main table.
    DefaultRoute,
    /// `policyRoutes`.
    PolicyRoute,
    /// The node's rule for the table of pods.
    HostRule,
    /// The node knows the MAC of the pod.
    HostNeighbour,
    /// The node's route to the pod.
    HostRoute,
}

/// A text that names no ingredient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no ingredient of a plan")]
pub struct UnknownIngredient(String);

impl Ingredient {
    /// Every one.
    pub const ALL: [Self; 23] = [
        Self::Veth,
        Self::Mtu,
        Self::Alias,
        Self::VethAddress,
        Self::TxQueueLen,
        Self::Ipv6,
        Self::Hardening,
        Self::RpFilter,
        Self::Up,
        Self::NodeNeighbour,
        Self::NodeRoute,
        Self::Hijack,
        Self::Marks,
        Self::ReplyRoute,
        Self::MarkRule,
        Self::MarkRulePreference,
        Self::NicRoute,
        Self::SourceRule,
        Self::DefaultRoute,
        Self::PolicyRoute,
        Self::HostRule,
        Self::HostNeighbour,
        Self::HostRoute,
    ];
}

impl fmt::Display for Ingredient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl FromStr for Ingredient {
    type Err = UnknownIngredient;

    /// Its name as `Display` shows it.
    fn from_str(text: &str) -> Result<Self, UnknownIngredient> {
        let found = Self::ALL.into_iter().find(|it| it.to_string() == text);
        found.ok_or_else(|| UnknownIngredient(text.to_owned()))
    }
}
