//! The socket with which links, addresses, routes, rules and neighbours are asked for.

use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;

use crate::{
    error::{Context, Result},
    socket::Conversation,
};

/// A blocking rtnetlink socket. It speaks about the network namespace it was opened in, for as
/// long as it lives and whatever thread uses it.
///
/// Every method is one request and its answer: two system calls, more only for a dump that does
/// not fit one datagram.
#[derive(Debug)]
pub struct Netlink {
    conversation: Conversation,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The errno of socket(2): the process has no file descriptor left, or its sandbox forbids
    /// `AF_NETLINK`.
    pub fn open() -> Result<Self> {
        Ok(Self { conversation: Conversation::open(NETLINK_ROUTE)? })
    }

    /// Asks for a change and waits until it is made.
    pub(crate) fn change(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        context: Context<'_>,
    ) -> Result<()> {
        #[cfg(feature = "fault-injection")]
        let fate = crate::fault::refuse_if_chosen(context)?;
        self.conversation.change(message, flags, context)?;
        #[cfg(feature = "fault-injection")]
        crate::fault::lose_if_chosen(fate, context)?;
        Ok(())
    }

    /// Asks for one object.
    pub(crate) fn one(
        &mut self,
        message: RouteNetlinkMessage,
        context: Context<'_>,
    ) -> Result<RouteNetlinkMessage> {
        #[cfg(feature = "fault-injection")]
        crate::fault::refuse_if_chosen(context)?;
        self.conversation.one(message, context)
    }

    /// Asks for every object that `pick` wants; the list is of one moment.
    pub(crate) fn dump<T>(
        &mut self,
        message: &RouteNetlinkMessage,
        context: Context<'_>,
        pick: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>> {
        #[cfg(feature = "fault-injection")]
        crate::fault::refuse_if_chosen(context)?;
        self.conversation.dump(message, context, pick)
    }
}
