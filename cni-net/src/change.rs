//! A change as a value, so that several can go to the kernel together.

use std::fmt;

use ipnet::IpNet;
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE,
};
use netlink_packet_route::{RouteNetlinkMessage, link::LinkAttribute};
use rtnetlink::LinkUnspec;

use crate::{
    AddressOptions, Neighbour, Netlink, Route, Rule, addr,
    error::{Context, Operation, Result},
    link::IFLA_IFALIAS,
    socket::Request,
};

/// A change to what one namespace has. Each is what the method of [`Netlink`] with the same name
/// does, which also says why it may be refused.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Change<'a> {
    /// [`Netlink::add_address`].
    AddAddress {
        /// The link that gets it.
        index: u32,
        /// The address, with the prefix length of its subnet.
        address: IpNet,
        /// How it is added.
        options: AddressOptions,
    },
    /// [`Netlink::set_link_up`], of the link with this index.
    SetLinkUp(u32),
    /// [`Netlink::set_link_alias`].
    SetLinkAlias {
        /// The link that gets it.
        index: u32,
        /// The alias.
        alias: &'a str,
    },
    /// [`Netlink::add_route`].
    AddRoute(&'a Route),
    /// [`Netlink::append_route`], but for a route that is there already: that is `EEXIST` here.
    AppendRoute(&'a Route),
    /// [`Netlink::replace_route`].
    ReplaceRoute(&'a Route),
    /// [`Netlink::add_rule`], but for a rule that is there already: that is `EEXIST` here.
    AddRule(&'a Rule),
    /// [`Netlink::replace_neighbour`].
    ReplaceNeighbour(&'a Neighbour),
}

impl Change<'_> {
    fn operation(&self) -> Operation {
        match self {
            Self::AddAddress { .. } => Operation::AddAddress,
            Self::SetLinkUp(_) => Operation::SetLinkUp,
            Self::SetLinkAlias { .. } => Operation::SetLinkAlias,
            Self::AddRoute(_) | Self::AppendRoute(_) => Operation::AddRoute,
            Self::ReplaceRoute(_) => Operation::ReplaceRoute,
            Self::AddRule(_) => Operation::AddRule,
            Self::ReplaceNeighbour(_) => Operation::ReplaceNeighbour,
        }
    }

    fn message(&self, context: Context<'_>) -> Result<(RouteNetlinkMessage, u16)> {
        Ok(match *self {
            Self::AddAddress { index, address, options } => {
                let message = addr::message(index, address, options);
                (RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
            }
            Self::SetLinkUp(index) => {
                let message = LinkUnspec::new_with_index(index).up().build();
                (RouteNetlinkMessage::SetLink(message), 0)
            }
            Self::SetLinkAlias { index, alias } => {
                if alias.contains('\0') {
                    return Err(context.invalid("an alias cannot have a NUL"));
                }
                // Without the NUL that the message crate would add, and that counts.
                let alias = LinkAttribute::Other(DefaultNla::new(IFLA_IFALIAS, alias.into()));
                let message =
                    LinkUnspec::new_with_index(index).append_extra_attribute(alias).build();
                (RouteNetlinkMessage::SetLink(message), 0)
            }
            Self::AddRoute(route) => {
                let message = RouteNetlinkMessage::NewRoute(route.message(context)?);
                (message, NLM_F_CREATE | NLM_F_EXCL)
            }
            Self::AppendRoute(route) => {
                let message = RouteNetlinkMessage::NewRoute(route.message(context)?);
                (message, NLM_F_CREATE | NLM_F_APPEND)
            }
            Self::ReplaceRoute(route) => {
                let message = RouteNetlinkMessage::NewRoute(route.message(context)?);
                (message, NLM_F_CREATE | NLM_F_REPLACE)
            }
            Self::AddRule(rule) => {
                let message = RouteNetlinkMessage::NewRule(rule.message(context)?);
                (message, NLM_F_CREATE | NLM_F_EXCL)
            }
            Self::ReplaceNeighbour(neighbour) => {
                let message = RouteNetlinkMessage::NewNeighbour(neighbour.message());
                (message, NLM_F_CREATE | NLM_F_REPLACE)
            }
        })
    }
}

impl fmt::Display for Change<'_> {
    /// What is changed, as errors name it behind the operation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddAddress { index, address, .. } => write!(f, "{address} to link {index}"),
            Self::SetLinkUp(index) => write!(f, "{index}"),
            Self::SetLinkAlias { index, alias } => write!(f, "{index} to {alias}"),
            Self::AddRoute(route) | Self::AppendRoute(route) | Self::ReplaceRoute(route) => {
                route.fmt(f)
            }
            Self::AddRule(rule) => rule.fmt(f),
            Self::ReplaceNeighbour(neighbour) => neighbour.fmt(f),
        }
    }
}

impl Netlink {
    /// Makes one change.
    pub(crate) fn make(&mut self, change: &Change<'_>) -> Result<()> {
        let context = Context::new(change.operation(), change);
        let (message, flags) = change.message(context)?;
        self.change(message, flags, context)
    }

    /// Makes all changes, in their order, and tells the outcome of each; up to 64 are one request
    /// and, where none is refused, one answer. One that is refused does not keep those behind it
    /// from being made, so take back what depends on it, or ask for that later.
    pub fn make_all(&mut self, changes: &[Change<'_>]) -> Vec<Result<()>> {
        changes.chunks(MOST_TOGETHER).flat_map(|changes| self.make_some(changes)).collect()
    }

    fn make_some(&mut self, changes: &[Change<'_>]) -> Vec<Result<()>> {
        let mut outcomes: Vec<Option<Result<()>>> = Vec::new();
        let mut requests = Vec::new();
        #[cfg(feature = "fault-injection")]
        let mut fates = Vec::new();
        for change in changes {
            let context = Context::new(change.operation(), change);
            #[cfg(feature = "fault-injection")]
            match crate::fault::refuse_if_chosen(context) {
                Ok(fate) => fates.push((fate, context)),
                Err(error) => {
                    fates.push((crate::fault::Fate::Served, context));
                    outcomes.push(Some(Err(error)));
                    continue;
                }
            }
            outcomes.push(match change.message(context) {
                Ok((message, flags)) => {
                    requests.push(Request { message, flags, context });
                    None
                }
                Err(error) => Some(Err(error)),
            });
        }
        if let Some(last) = requests.last_mut() {
            last.flags |= NLM_F_ACK;
        }
        let mut answers = self.send_all(requests).into_iter();
        let outcomes =
            outcomes.into_iter().filter_map(|outcome| outcome.or_else(|| answers.next()));
        #[cfg(feature = "fault-injection")]
        let outcomes = outcomes.zip(fates).map(|(outcome, (fate, context))| {
            outcome.and_then(|()| crate::fault::lose_if_chosen(fate, context))
        });
        outcomes.collect()
    }
}

/// The answers wait in the socket, all of them before the first is read: a refusal takes the better
/// part of a kilobyte of the 208 that a socket has by default (`net.core.rmem_default`).
const MOST_TOGETHER: usize = 64;
