//! What goes wrong, as the codes of the protocol and our own say it.

use cni_net::{Link, Netlink, Operation};
use cni_proto::{Code, Error};

use crate::apply::Why;
use crate::objection::Objection;
use crate::{place, precheck};

/// The pod has a link of the requested name already.
pub(crate) const LINK_EXISTS: Code = Code::plugin(20);
/// The kernel refused a change.
pub(crate) const KERNEL: Code = Code::plugin(21);
/// CHECK: the interface is not as it was made.
pub(crate) const DIFFERS: Code = Code::plugin(22);

const EBUSY: i32 = 16;

#[allow(clippy::needless_pass_by_value)] // for map_err
pub(crate) fn kernel(error: cni_net::Error) -> Error {
    Error::new(KERNEL, error.to_string())
}

pub(crate) fn of_why(why: Why) -> Error {
    match why {
        Why::Refused(error) => kernel(error),
        Why::Busy(address, error) => {
            Error::new(Code::TRY_AGAIN, error.to_string()).with_details(place::of(address))
        }
        Why::Interrupted(interrupted) => Error::new(Code::TRY_AGAIN, interrupted.to_string()),
    }
}

pub(crate) fn explained(error: Error, objection: &Objection) -> Error {
    let Objection { address, what, seen } = objection;
    if error.msg.contains(&address.to_string()) {
        return error;
    }
    let details = format!("{address} is free in the pools, but {what}: {seen}; {}", error.details);
    error.with_details(details.trim_end_matches("; ").to_owned())
}

pub(crate) fn is_master_busy(error: &cni_net::Error) -> bool {
    matches!(
        error,
        cni_net::Error::Refused { operation: Operation::CreateIpvlan, errno: EBUSY, .. }
    )
}

pub(crate) fn master_busy(master: &Link, outside: &mut Netlink) -> Error {
    // What cannot be listed is not named.
    let macvlans = outside.macvlan_links().unwrap_or_default();
    let port_of = master.master.and_then(|index| outside.link_by_index(index).ok().flatten());
    precheck::busy(master, &macvlans, port_of.as_ref())
}
