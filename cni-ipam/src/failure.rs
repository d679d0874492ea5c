//! The allocator's errors as CNI error objects.

use cni_proto::{Code, Error};
use ipam_core::{Refused, RequestReason};
use ipam_store::AllocateError;

/// No pool may be used by this node, network and namespace, or none is stored at all.
pub const NO_POOL: Code = Code::plugin(1);
/// The attachment holds addresses already; a runtime must DEL before it repeats an ADD.
pub const ALREADY_HELD: Code = Code::plugin(2);
/// The database cannot be used: damaged, of a newer version, or refused by the disk.
pub const STORE: Code = Code::plugin(3);

/// CHECK: the attachment does not hold what it should.
pub const NOT_HELD: Code = Code::plugin(4);

/// Exhaustion and a busy database pass by themselves: code 11, try again later.
pub(crate) fn of_allocate(error: &AllocateError) -> Error {
    let code = match error {
        AllocateError::Refused(refused) => match **refused {
            Refused::NoPool(_) => NO_POOL,
            Refused::AlreadyHeld { .. } => ALREADY_HELD,
            Refused::Request { ref reason, .. } => of_request(reason),
            _ => Code::TRY_AGAIN,
        },
        AllocateError::Store(error) => return of_store(error),
        _ => Code::INTERNAL,
    };
    Error::new(code, error.to_string())
}

/// Who holds an address, or it rests for, gives it up some day; the rest stays as it is.
fn of_request(reason: &RequestReason) -> Code {
    match reason {
        RequestReason::Held { .. } | RequestReason::Resting { .. } => Code::TRY_AGAIN,
        _ => Code::INVALID_CONFIG,
    }
}

pub(crate) fn of_store(error: &ipam_store::Error) -> Error {
    let code = match error {
        ipam_store::Error::Missing { .. } => NO_POOL,
        ipam_store::Error::Busy { .. } | ipam_store::Error::Unanswered { .. } => Code::TRY_AGAIN,
        _ => STORE,
    };
    Error::new(code, error.to_string())
}
