//! The numbers by which the kernel knows what is ours: tables, preferences, the protocol.

/// The table of the pod by which marked replies leave. In overlay mode there are none, and it holds
/// the default route of the pod's first NIC. The peer has the same number for both.
pub const REPLY_TABLE: u32 = 100;

/// Tables of single NICs of the pod count from here: the NIC with ordinal 1 has 101.
pub const FIRST_NIC_TABLE: u32 = 100;

/// The preference of the pod's rule for marked replies: before every source rule. The peer's stands
/// behind them, and a NIC with a source rule then answers a `NodePort` connection by its own
/// gateway.
pub const MARK_RULE_PREFERENCE: u32 = 500;

/// Preferences of source rules count from here: the NIC with ordinal 2 has 602.
pub const FIRST_SOURCE_RULE_PREFERENCE: u32 = 600;

/// The preference of the node's rule that leads into the table of pods, the peer's.
pub const HOST_RULE_PREFERENCE: u32 = 1000;

/// The table of the node with a route to each pod, unless `hostRuleTable` says otherwise; the
/// peer's.
pub const DEFAULT_HOST_TABLE: u32 = 500;

/// `RT_TABLE_MAIN` of `linux/rtnetlink.h`.
pub const MAIN_TABLE: u32 = 254;

/// The protocol of routes and rules that this plugin made (`rtm_protocol`, `FRA_PROTOCOL`): what
/// GC and repair may touch, on a node where others have rules and routes too.
///
/// The kernel does not interpret values above `RTPROT_STATIC`. This one is neither in
/// `linux/rtnetlink.h` and iproute2's `rt_protos` (up to 18, 42, 84, 99, 186 to 189, 192), nor
/// FRR's (186 to 198) or Calico's (80). systemd-networkd and `NetworkManager` have none but
/// those of the header.
pub const PROTOCOL: u8 = 157;

/// The highest ordinal of a NIC: its table must stay below `RT_TABLE_DEFAULT` (253), its rule below
/// the peer's at 1000.
pub const LAST_ORDINAL: u16 = 99;

/// Whether a table of the pod is the main one or may be of ours: the others say nothing to a plan.
pub(crate) fn is_own_or_main(table: u32) -> bool {
    table == MAIN_TABLE || (REPLY_TABLE..=nic_table(LAST_ORDINAL)).contains(&table)
}

/// The table of the NIC with this ordinal.
pub fn nic_table(ordinal: u16) -> u32 {
    FIRST_NIC_TABLE + u32::from(ordinal)
}

/// The preference of its source rules.
pub fn source_rule_preference(ordinal: u16) -> u32 {
    FIRST_SOURCE_RULE_PREFERENCE + u32::from(ordinal)
}

// Tables of NICs and that of replies are apart, and below `RT_TABLE_DEFAULT`.
const _: () =
    assert!(FIRST_NIC_TABLE >= REPLY_TABLE && FIRST_NIC_TABLE + (LAST_ORDINAL as u32) < 253);
