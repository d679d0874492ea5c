//! What goes wrong, as the codes of the protocol and our own say it.

use cni_coordinator::PlanError;
use cni_proto::{Code, Error};
use ipam_store::WireError;

/// Configuration, pod and node do not fit together.
pub(crate) const NO_PLAN: Code = Code::plugin(20);
/// The kernel refused a change.
pub(crate) const KERNEL: Code = Code::plugin(21);
/// CHECK: something is not as it was made.
pub(crate) const DIFFERS: Code = Code::plugin(22);

pub(crate) fn of_recording(error: WireError<PlanError>) -> Error {
    match error {
        WireError::Refused(error) => no_plan(error),
        WireError::Store(error) => store(error),
        error => Error::new(Code::IO, error.to_string()),
    }
}

#[allow(clippy::needless_pass_by_value)] // for map_err
pub(crate) fn no_plan(error: PlanError) -> Error {
    Error::new(NO_PLAN, error.to_string())
}

#[allow(clippy::needless_pass_by_value)] // for map_err
pub(crate) fn store(error: ipam_store::Error) -> Error {
    let code = match error {
        ipam_store::Error::Busy { .. } => Code::TRY_AGAIN,
        _ => Code::IO,
    };
    Error::new(code, error.to_string())
}

#[allow(clippy::needless_pass_by_value)] // for map_err
pub(crate) fn kernel(error: cni_net::Error) -> Error {
    Error::new(KERNEL, error.to_string())
}
