//! What a census could not look at, and the time that it has left.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

use crate::{
    Error,
    error::{Context, Operation},
};

/// Something could not be looked at: that a namespace or address is not listed means nothing.
#[derive(Debug, thiserror::Error)]
#[error("{gaps} of the node's processes, mounts or namespaces not looked at; the first: {first}")]
pub struct IncompleteCensus {
    /// How many things; one that was reached twice counts twice.
    pub gaps: usize,
    /// The first, and why.
    pub first: CensusGap,
}

/// Why a part of the node could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CensusGap {
    /// There was no more time.
    #[error("the deadline of {deadline:?} was over before {before}; allow more time")]
    Late {
        /// What was allowed.
        deadline: Duration,
        /// A process, mount or namespace.
        before: String,
    },

    /// The kernel refused: rights are lacking, or a resource ran out.
    #[error(transparent)]
    Refused(#[from] Error),

    /// A namespace is mounted and the path leads to something else: another mount is on top.
    #[error("{netns} lives, but what keeps it cannot be reached: unmount what hides its mount")]
    Unreachable {
        /// Inode and mounts.
        netns: String,
    },

    /// `/proc` shows a part of the machine.
    #[error(
        "/proc is of another PID namespace than the node's: use the host's (hostPID), or say that \
         the node itself is a container"
    )]
    PidNamespace,

    /// Process 1 is not listed.
    #[error("/proc hides processes (its mount option hidepid): CAP_SYS_PTRACE is needed")]
    ProcessesHidden,
}

/// The time that is left, and what could not be looked at.
#[derive(Debug)]
pub(crate) struct Watch {
    start: Instant,
    deadline: Duration,
    late: bool,
    gaps: usize,
    first: Option<CensusGap>,
}

impl Watch {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { start: Instant::now(), deadline, late: false, gaps: 0, first: None }
    }

    /// The time left, or `None`, which makes the census incomplete, when it is over.
    pub(crate) fn left(&mut self, before: impl FnOnce() -> String) -> Option<Duration> {
        let left = self.deadline.checked_sub(self.start.elapsed()).filter(|left| !left.is_zero());
        if left.is_none() && !self.late {
            self.late = true;
            self.gap(CensusGap::Late { deadline: self.deadline, before: before() });
        }
        left
    }

    /// Whether the time is known to be over.
    pub(crate) fn late(&self) -> bool {
        self.late
    }

    pub(crate) fn gap(&mut self, gap: impl Into<CensusGap>) {
        self.gaps += 1;
        self.first.get_or_insert_with(|| gap.into());
    }

    pub(crate) fn check_pid_namespace(&mut self) {
        let path = "/proc/self/ns/pid";
        match fs::metadata(path) {
            Ok(metadata) if metadata.ino() == FIRST_PID_NAMESPACE => {}
            Ok(_) => self.gap(CensusGap::PidNamespace),
            Err(error) => self.gap(Context::new(Operation::FindNetns, &path).io(&error)),
        }
    }

    /// What was lacking, if anything was.
    pub(crate) fn finish(self) -> Option<IncompleteCensus> {
        self.first.map(|first| IncompleteCensus { gaps: self.gaps, first })
    }
}

/// `PID_NS_INIT_INO` in `include/uapi/linux/nsfs.h`.
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;
