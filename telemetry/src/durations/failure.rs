//! The reasons for which calls fail, as a metric counts them.

use cni_proto::Code;

/// Why a call failed, as the label `reason` of a metric: codes of one remedy are one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Codes 1, 2, 4, 6 and 7: the configuration or the environment.
    Configuration,
    /// Code 8: the network namespace.
    Namespace,
    /// Code 11: it will pass; no free address is among it.
    TryAgain,
    /// Codes 50 and 51 of STATUS.
    NotAvailable,
    /// Code 101: no pool for this network.
    NoPool,
    /// Code 102: the attachment holds addresses already.
    AlreadyHeld,
    /// Code 103: the database.
    Store,
    /// Codes 104 and 122 of CHECK.
    Differs,
    /// Code 121: the kernel refused.
    Kernel,
    /// Any other.
    Other,
}

impl Failure {
    /// Every reason, in the order of the file.
    pub const ALL: [Self; 10] = [
        Self::Configuration,
        Self::Namespace,
        Self::TryAgain,
        Self::NotAvailable,
        Self::NoPool,
        Self::AlreadyHeld,
        Self::Store,
        Self::Differs,
        Self::Kernel,
        Self::Other,
    ];

    /// The reason of an error with this code.
    pub const fn of(code: Code) -> Self {
        match code.number() {
            1 | 2 | 4 | 6 | 7 => Self::Configuration,
            8 => Self::Namespace,
            11 => Self::TryAgain,
            50 | 51 => Self::NotAvailable,
            101 => Self::NoPool,
            102 => Self::AlreadyHeld,
            103 => Self::Store,
            104 | 122 => Self::Differs,
            121 => Self::Kernel,
            _ => Self::Other,
        }
    }

    /// The word of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Namespace => "namespace",
            Self::TryAgain => "try_again",
            Self::NotAvailable => "not_available",
            Self::NoPool => "no_pool",
            Self::AlreadyHeld => "already_held",
            Self::Store => "store",
            Self::Differs => "differs",
            Self::Kernel => "kernel",
            Self::Other => "other",
        }
    }
}
