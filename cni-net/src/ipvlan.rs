//! An ipvlan link: a share of its parent, with the parent's MAC and addresses of its own.

use std::{
    fmt,
    os::fd::{AsFd, AsRawFd},
    str::FromStr,
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoIpVlan, IpVlanFlags, IpVlanMode},
};
use rtnetlink::LinkIpVlan;

use crate::{
    Netlink, Netns,
    error::{Context, Operation, Result},
};

/// Where an ipvlan link decides what to send where (Documentation/networking/ipvlan.rst). The mode
/// belongs to the parent: creating a link with another mode changes all its links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpvlanMode {
    /// By link-layer resolution on the parent's network.
    L2,
    /// By the parent's namespace's routes, without broadcast or multicast.
    L3,
    /// As [`IpvlanMode::L3`], through the parent's namespace's netfilter as well.
    L3s,
}

/// What the links of one parent may do with each other. Belongs to the parent, as the mode does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpvlanFlag {
    /// They reach each other directly.
    Bridge,
    /// They do not reach each other.
    Private,
    /// They reach each other by way of the switch outside.
    Vepa,
}

/// An ipvlan link to create.
#[derive(Debug, Clone, Copy)]
pub struct NewIpvlan<'a> {
    /// Its name: one that the pod has not, see [`Netlink::add_ipvlan`].
    pub name: &'a str,
    /// The index of the parent, in the socket's namespace.
    pub parent: u32,
    /// The mode, of all the parent's ipvlan links.
    pub mode: IpvlanMode,
    /// The isolation, of all the parent's ipvlan links.
    pub flag: IpvlanFlag,
    /// The mtu in bytes; `None` follows the parent's.
    pub mtu: Option<u32>,
    /// Where the link is to be.
    pub netns: &'a Netns,
    /// Its number, which neither namespace has; `None` leaves it to the kernel.
    pub index: Option<u32>,
}

impl Netlink {
    /// Creates an ipvlan link, down and without addresses, directly in its namespace.
    ///
    /// With an `index` the name is that in the pod, and nothing has to be looked for afterwards:
    /// the kernel asks by that number, and not by name, whether the link is there already
    /// (`__rtnl_newlink` in `net/core/rtnetlink.c`). Without one, before 6.14, it looks for the name
    /// in the socket's namespace, where an `eth0` is likely: then create under a name that nothing
    /// has, find the link by that name and rename it, both through a socket of [`Netns::netlink`].
    /// Renaming waits for every processor (`dev_change_name` in `net/core/dev.c`): it costs more
    /// than all else.
    ///
    /// # Errors
    /// `EOPNOTSUPP`: the kernel has no ipvlan. `EBUSY`: the parent already carries macvlan, a
    /// bridge, or a bond; or the pod has a link of that number. `EEXIST`: the name is taken, or the
    /// number in the socket's namespace, try another. `ENODEV`: no such parent.
    pub fn add_ipvlan(&mut self, new: &NewIpvlan<'_>) -> Result<()> {
        let mode = match new.mode {
            IpvlanMode::L2 => IpVlanMode::L2,
            IpvlanMode::L3 => IpVlanMode::L3,
            IpvlanMode::L3s => IpVlanMode::L3S,
        };
        let flags = match new.flag {
            IpvlanFlag::Bridge => IpVlanFlags::empty(),
            IpvlanFlag::Private => IpVlanFlags::Private,
            IpvlanFlag::Vepa => IpVlanFlags::Vepa,
        };
        let mut link = LinkIpVlan::new(new.name, new.parent, mode)
            .flag(flags)
            .setns_by_fd(new.netns.as_fd().as_raw_fd());
        if let Some(mtu) = new.mtu {
            link = link.mtu(mtu);
        }
        if let Some(index) = new.index {
            link = link.index(index);
        }
        let object = format_args!("{} on parent {}", new.name, new.parent);
        let context = Context::new(Operation::CreateIpvlan, &object);
        let message = RouteNetlinkMessage::NewLink(link.build());
        self.change(message, NLM_F_CREATE | NLM_F_EXCL, context)
    }
}

/// Mode and flag of a link's description; `None` for a mode newer than this crate.
pub(crate) fn read(data: &[InfoIpVlan]) -> (Option<IpvlanMode>, Option<IpvlanFlag>) {
    let mut mode = None;
    // Kernels before 4.15 know no flags and do what is now called bridge.
    let mut flag = IpvlanFlag::Bridge;
    for info in data {
        match info {
            InfoIpVlan::Mode(IpVlanMode::L2) => mode = Some(IpvlanMode::L2),
            InfoIpVlan::Mode(IpVlanMode::L3) => mode = Some(IpvlanMode::L3),
            InfoIpVlan::Mode(IpVlanMode::L3S) => mode = Some(IpvlanMode::L3s),
            InfoIpVlan::Flags(flags) if flags.contains(IpVlanFlags::Private) => {
                flag = IpvlanFlag::Private;
            }
            InfoIpVlan::Flags(flags) if flags.contains(IpVlanFlags::Vepa) => {
                flag = IpvlanFlag::Vepa;
            }
            _ => {}
        }
    }
    (mode, Some(flag))
}

impl fmt::Display for IpvlanMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::L3s => "l3s",
        })
    }
}

impl fmt::Display for IpvlanFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Private => "private",
            Self::Vepa => "vepa",
        })
    }
}

impl FromStr for IpvlanFlag {
    type Err = UnknownIpvlanFlag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "bridge" => Ok(Self::Bridge),
            "private" => Ok(Self::Private),
            "vepa" => Ok(Self::Vepa),
            _ => Err(UnknownIpvlanFlag(text.to_owned())),
        }
    }
}

/// The text names no ipvlan flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ipvlan flag: use bridge, private or vepa")]
pub struct UnknownIpvlanFlag(String);

impl FromStr for IpvlanMode {
    type Err = UnknownIpvlanMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "l2" => Ok(Self::L2),
            "l3" => Ok(Self::L3),
            "l3s" => Ok(Self::L3s),
            _ => Err(UnknownIpvlanMode(text.to_owned())),
        }
    }
}

/// The text names no ipvlan mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an ipvlan mode: use l2, l3 or l3s")]
pub struct UnknownIpvlanMode(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_and_flag_text_round_trips() {
        for mode in [IpvlanMode::L2, IpvlanMode::L3, IpvlanMode::L3s] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert!("L2".parse::<IpvlanMode>().unwrap_err().to_string().contains("`L2`"));
        for flag in [IpvlanFlag::Bridge, IpvlanFlag::Private, IpvlanFlag::Vepa] {
            assert_eq!(flag.to_string().parse(), Ok(flag));
        }
        assert!("open".parse::<IpvlanFlag>().unwrap_err().to_string().contains("`open`"));
    }

    #[test]
    fn reads_mode_and_flag_of_a_description() {
        let l3_vepa = [InfoIpVlan::Mode(IpVlanMode::L3), InfoIpVlan::Flags(IpVlanFlags::Vepa)];
        assert_eq!(read(&l3_vepa), (Some(IpvlanMode::L3), Some(IpvlanFlag::Vepa)));
        let newer = [InfoIpVlan::Mode(IpVlanMode::Other(9))];
        assert_eq!(read(&newer), (None, Some(IpvlanFlag::Bridge)));
    }
}
