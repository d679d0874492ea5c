//! In which mode an interface is wired, and which of the pod's it is.

use std::fmt;

use crate::config::{CoordinatorConfig, WantedMode};
use crate::error::PlanError;
use crate::numbers::{LAST_ORDINAL, nic_table, source_rule_preference};

use crate::scene::Scene;
use crate::veth::POD_END;
use crate::wiring::Wiring;

/// How the pod's traffic reaches its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By a veth pair of ours, beside the pod's NICs.
    Underlay,
    /// By the pod's first NIC, a veth of another plugin, beside further NICs.
    Overlay,
}

impl Mode {
    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Underlay => "underlay",
            Self::Overlay => "overlay",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An interface's place among those of its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The mode.
    pub mode: Mode,
    /// Whether it is the first that this plugin wires: what is there once for a pod is its task.
    pub first: bool,
    /// 1 for the first, and for each other the lowest that no other has. In overlay mode the NIC of
    /// the other plugin, which is not wired, counts as 0.
    pub ordinal: u16,
}

impl Turn {
    /// The table of the NIC.
    pub fn table(self) -> u32 {
        nic_table(self.ordinal)
    }

    /// The preference of its source rules.
    pub fn rule_preference(self) -> u32 {
        source_rule_preference(self.ordinal)
    }
}

/// The turn of the attachment in `scene`; `None` if the mode is disabled.
///
/// # Errors
///
/// [`PlanError::NoVeth`], [`PlanError::FirstInOverlay`], [`PlanError::VethInOverlay`]: mode and pod
/// do not fit. [`PlanError::TooManyNics`].
pub fn turn(config: &CoordinatorConfig, scene: &Scene) -> Result<Option<Turn>, PlanError> {
    let ifname = scene.attachment.ifname.as_str();
    let named_first = ifname == config.first_nic;
    let has_veth = scene.pod.link(POD_END).is_some();
    let mode = match config.mode {
        WantedMode::Disabled => return Ok(None),
        WantedMode::Auto if named_first || has_veth => Mode::Underlay,
        WantedMode::Underlay => Mode::Underlay,
        WantedMode::Overlay | WantedMode::Auto => Mode::Overlay,
    };
    let (first_nic, ifname) = (config.first_nic.clone(), ifname.to_owned());
    match mode {
        Mode::Underlay if !named_first && !has_veth => {
            return Err(PlanError::NoVeth { ifname, first_nic });
        }
        Mode::Overlay if named_first => return Err(PlanError::FirstInOverlay { ifname }),
        Mode::Overlay if has_veth => return Err(PlanError::VethInOverlay { ifname }),
        Mode::Underlay | Mode::Overlay => {}
    }
    let ordinal = if mode == Mode::Underlay && named_first { 1 } else { ordinal(mode, scene)? };
    Ok(Some(Turn { mode, first: ordinal == 1, ordinal }))
}

/// The ordinal that is recorded already, so that a second ADD is the same, or the lowest free one.
fn ordinal(mode: Mode, scene: &Scene) -> Result<u16, PlanError> {
    let is_own = |wiring: &&Wiring| wiring.attachment.ifname == scene.attachment.ifname;
    if let Some(own) = scene.wirings.iter().find(is_own).filter(|own| own.mode == mode) {
        return Ok(own.ordinal);
    }
    // 1 is the first NIC's, also where that has no record.
    let lowest = if mode == Mode::Underlay { 2 } else { 1 };
    let taken = |ordinal| scene.wirings.iter().any(|wiring| wiring.ordinal == ordinal);
    let free = (lowest..=LAST_ORDINAL).find(|ordinal| !taken(*ordinal));
    free.ok_or_else(|| PlanError::TooManyNics {
        container: scene.attachment.container.to_string(),
        most: LAST_ORDINAL,
    })
}
