//! Who asks: the names of a call as those of a lease.

use cni_proto::{AddRequest, CniArgs, Code, Error};
use ipam_core::{Attachment, NameError, PodRef};

pub(crate) fn attachment_of_add(request: &AddRequest) -> Result<Attachment, Error> {
    attachment(request.config.name.as_str(), request.container.as_str(), request.ifname.as_str())
}

pub(crate) fn attachment(
    network: &str,
    container: &str,
    ifname: &str,
) -> Result<Attachment, Error> {
    Ok(Attachment {
        network: network.parse().map_err(|error| named(&error))?,
        container: container.parse().map_err(|error| named(&error))?,
        ifname: ifname.parse().map_err(|error| named(&error))?,
    })
}

/// The protocol's own rules for names are narrower, except that it sets no length for two of them.
pub(crate) fn named(error: &NameError) -> Error {
    Error::new(Code::INVALID_ENVIRONMENT, error.to_string())
}

/// Code 4 for names that are no names: they are kept, and shown in terminals.
pub(crate) fn pod(args: &CniArgs) -> Result<Option<PodRef>, Error> {
    let (Some(namespace), Some(name)) = (args.pod_namespace(), args.pod_name()) else {
        return Ok(None);
    };
    PodRef::new(namespace, name, args.pod_uid()).map(Some).map_err(|error| named(&error))
}
