//! Rules that ours breaks on purpose.

/// A rule that a plugin does not keep, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The rule's id.
    pub rule: &'static str,
    /// The main plugin that deviates, with its IPAM plugin.
    pub plugin: &'static str,
    /// For the reader of the table.
    pub reason: &'static str,
}

/// All of them.
pub const DEVIATIONS: &[Deviation] = &[
    Deviation {
        rule: "GC-6",
        plugin: "cni-ipvlan",
        reason: "A list can lack a live pod: a runtime that lost its cache, or multus, which sends \
                 the attachments of its own cache only. An address that is on an interface stays \
                 held, or the kernel would refuse it to the next pod (ipvlan has an address once a \
                 NIC). It is freed by the first GC, or DEL, after the interface is gone.",
    },
    Deviation {
        rule: "STS-3",
        plugin: "cni-ipvlan",
        reason: "A runtime whose STATUS fails reports the node as not ready, and its pods are \
                 evicted; a full pool is the normal state of a NIC in a cloud. Who wants the \
                 specification's way sets `ipam.statusOnExhaustion`.",
    },
];

/// Why this plugin does not keep this rule, if it is on purpose.
pub(super) fn deviation(rule: &str, plugin: &str) -> Option<&'static Deviation> {
    DEVIATIONS.iter().find(|it| it.rule == rule && it.plugin == plugin)
}
