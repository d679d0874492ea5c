//! What the kernel was asked, what about, and why it refused.

use std::{fmt, io};

use rustix::io::Errno;

use crate::remedy::remedy;

/// The answer of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a link, address, route, namespace or sysctl is not as asked for.
///
/// Match on [`Error::errno`] where the reason decides what to do next; the message is for people
/// and already ends with the remedy where one is known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel refused; nothing was changed.
    #[error(
        "{operation} {object}: {}{}{}",
        ErrnoText(*.errno),
        Tail(": ", .kernel_text.as_deref()),
        Tail("; ", remedy(*.operation, *.errno)),
    )]
    Refused {
        /// What was asked for.
        operation: Operation,
        /// On what: names, indexes and addresses, as in `eth0 on parent 2`.
        object: String,
        /// The kernel's reason, positive as in errno(3).
        errno: i32,
        /// The kernel's own explanation (netlink extended ack), where it gave one.
        kernel_text: Option<String>,
    },

    /// The file exists and is not a network namespace. After a reboot or an unmount this is what
    /// is left of a bind-mounted namespace: it is gone, and so are its links.
    #[error("{path} is not a network namespace: {reason}")]
    NotNetns {
        /// The file that was opened.
        path: String,
        /// What it is instead.
        reason: &'static str,
    },

    /// The kernel's answer could not be understood; whether the operation took effect is unknown.
    #[error("{operation} {object}: unexpected netlink answer: {reason}")]
    Protocol {
        /// What was asked for.
        operation: Operation,
        /// On what.
        object: String,
        /// What is wrong with the answer.
        reason: String,
    },

    /// The request makes no sense and was not sent.
    #[error("{operation} {object}: {reason}")]
    Invalid {
        /// What was asked for.
        operation: Operation,
        /// On what.
        object: String,
        /// What to change.
        reason: &'static str,
    },
}

impl Error {
    /// The kernel's reason as in errno(3), or `None` when it was not the kernel that refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether this is the kernel's reason.
    pub(crate) fn is(&self, errno: Errno) -> bool {
        self.errno() == Some(errno.raw_os_error())
    }

    /// What the operator or the caller can do, where that is known.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Refused { operation, errno, .. } => remedy(*operation, *errno),
            _ => None,
        }
    }
}

/// What was asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each name says its operation; Display has the words")]
pub enum Operation {
    FindNetns,
    OpenNetns,
    EnterNetns,
    OpenSocket,
    FindLink,
    ListLinks,
    CreateIpvlan,
    CreateMacvlan,
    CreateVeth,
    RenameLink,
    SetLinkUp,
    SetLinkMac,
    SetLinkAlias,
    SetTxQueueLen,
    DeleteLink,
    AddAddress,
    ListAddresses,
    AddRoute,
    ReplaceRoute,
    DeleteRoute,
    FindRoute,
    ListRoutes,
    AddRule,
    DeleteRule,
    ListRules,
    ReplaceNeighbour,
    DeleteNeighbour,
    ListNeighbours,
    PutNftTable,
    CheckNftTable,
    DeleteNftTable,
    ReadNftTable,
    ReadSysctl,
    WriteSysctl,
    OpenPacketSocket,
    AskSegment,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FindNetns => "find network namespaces in",
            Self::OpenNetns => "open network namespace",
            Self::EnterNetns => "enter network namespace",
            Self::OpenSocket => "open netlink socket in",
            Self::FindLink => "find link",
            Self::ListLinks => "list links of",
            Self::CreateIpvlan => "create ipvlan",
            Self::CreateMacvlan => "create macvlan",
            Self::CreateVeth => "create veth",
            Self::RenameLink => "rename link",
            Self::SetLinkUp => "set up link",
            Self::SetLinkMac => "set MAC address of link",
            Self::SetLinkAlias => "set alias of link",
            Self::SetTxQueueLen => "set transmit queue length of link",
            Self::DeleteLink => "delete link",
            Self::AddAddress => "add address",
            Self::ListAddresses => "list addresses of",
            Self::AddRoute => "add route",
            Self::ReplaceRoute => "replace route",
            Self::DeleteRoute => "delete route",
            Self::FindRoute => "find route to",
            Self::ListRoutes => "list routes of",
            Self::AddRule => "add rule",
            Self::DeleteRule => "delete rule",
            Self::ListRules => "list rules of",
            Self::ReplaceNeighbour => "replace neighbour",
            Self::DeleteNeighbour => "delete neighbour",
            Self::ListNeighbours => "list neighbours on",
            Self::PutNftTable => "put nft table",
            Self::CheckNftTable => "check nft table",
            Self::DeleteNftTable => "delete nft table",
            Self::ReadNftTable => "read nft table",
            Self::ReadSysctl => "read sysctl",
            Self::WriteSysctl => "write sysctl",
            Self::OpenPacketSocket => "open packet socket on",
            Self::AskSegment => "ask the segment of",
        })
    }
}

/// An operation and its object, from which an error is made only when there is one.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    operation: Operation,
    object: &'a dyn fmt::Display,
}

impl<'a> Context<'a> {
    pub(crate) fn new(operation: Operation, object: &'a dyn fmt::Display) -> Self {
        Self { operation, object }
    }

    pub(crate) fn refused(self, errno: i32, kernel_text: Option<String>) -> Error {
        let Self { operation, object } = self;
        Error::Refused { operation, object: object.to_string(), errno, kernel_text }
    }

    pub(crate) fn errno(self, errno: Errno) -> Error {
        self.refused(errno.raw_os_error(), None)
    }

    pub(crate) fn io(self, error: &io::Error) -> Error {
        match error.raw_os_error() {
            Some(errno) => self.refused(errno, None),
            None => self.protocol(error.to_string()),
        }
    }

    pub(crate) fn protocol(self, reason: impl Into<String>) -> Error {
        let Self { operation, object } = self;
        Error::Protocol { operation, object: object.to_string(), reason: reason.into() }
    }

    /// The error of another request, which befell this one too.
    pub(crate) fn like(self, error: &Error) -> Error {
        match error {
            Error::Refused { errno, kernel_text, .. } => self.refused(*errno, kernel_text.clone()),
            Error::Protocol { reason, .. } => self.protocol(reason.clone()),
            error => self.protocol(error.to_string()),
        }
    }

    pub(crate) fn invalid(self, reason: &'static str) -> Error {
        let Self { operation, object } = self;
        Error::Invalid { operation, object: object.to_string(), reason }
    }
}

/// `Device or resource busy (errno 16)`.
struct ErrnoText(i32);

impl fmt::Display for ErrnoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        let words = text.split(" (os error").next().unwrap_or(&text);
        write!(f, "{words} (errno {})", self.0)
    }
}

/// A separator and a text, or nothing.
struct Tail<'a>(&'static str, Option<&'a str>);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.map_or(Ok(()), |text| write!(f, "{}{text}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(operation: Operation, errno: Errno, kernel_text: Option<&str>) -> String {
        Context::new(operation, &"OBJECT")
            .refused(errno.raw_os_error(), kernel_text.map(Into::into))
            .to_string()
    }

    #[test]
    fn message_has_operation_object_errno_kernel_text_and_remedy() {
        assert_eq!(
            message(Operation::AddRoute, Errno::NETUNREACH, Some("Nexthop has invalid gateway")),
            "add route OBJECT: Network is unreachable (errno 101): Nexthop has invalid gateway; \
             the gateway is not in a subnet of this link: add a route to it first, or mark the \
             route onlink"
        );
        assert_eq!(
            message(Operation::SetLinkUp, Errno::NODEV, None),
            "set up link OBJECT: No such device (errno 19)"
        );
    }
}
