//! Where the interface's addresses come from: the own pools, another plugin, or the chain so far.

use std::path::PathBuf;

use cni_ipam::Delegate;
use cni_proto::{
    AddRequest, AddResult, CheckRequest, Code, DelRequest, Error, GcRequest, StatusRequest, Verb,
};

use crate::config::Ipam;
use crate::interrupt::Interrupt;
use crate::objection::Objection;

/// Gives the attachment its addresses, and routes. Another plugin that is asked for them is told to
/// end when this one is.
///
/// # Errors
/// Nothing is held.
pub(crate) fn add(
    ipam: &Ipam,
    request: &AddRequest,
    interrupt: &Interrupt,
) -> Result<AddResult, Error> {
    match ipam {
        Ipam::Own => Ok(cni_ipam::add(request)?.to_result()),
        Ipam::Delegated(plugin) => {
            let configuration = request.config.raw().to_string();
            let delegate = Delegate { plugin, path: &request.path, configuration: &configuration };
            let given = delegate
                .start(Verb::Add)
                .and_then(|running| interrupt.hand_on_to(running.id(), || running.wait()));
            let given = given.and_then(|stdout| AddResult::parse(&stdout));
            let given = given.and_then(|given| {
                if given.ips.is_empty() {
                    let msg = format!("plugin {plugin} gave no address: see its configuration");
                    return Err(Error::new(Code::INVALID_CONFIG, msg));
                }
                Ok(given)
            });
            // It may hold something all the same (specification, section 4).
            given.map_err(|error| {
                let error = match interrupt.check() {
                    Ok(()) => error,
                    Err(interrupted) => Error::new(Code::TRY_AGAIN, interrupted.to_string())
                        .with_details(error.to_string()),
                };
                after(error, delegate.run(Verb::Del).map(drop))
            })
        }
        Ipam::Previous => match &request.config.prev_result {
            Some(result) if !result.ips.is_empty() => Ok(result.clone()),
            _ => {
                let msg = "no addresses: set ipam.type, or chain behind a plugin that gives some";
                Err(Error::new(Code::INVALID_CONFIG, msg))
            }
        },
    }
}

/// Gives other addresses in place of those of an [`add()`]: something speaks against one of them.
///
/// # Errors
/// Nothing is held any more. Code 11 if there are no others.
pub(crate) fn another(
    ipam: &Ipam,
    request: &AddRequest,
    objection: &Objection,
) -> Result<AddResult, Error> {
    if *ipam == Ipam::Own {
        let Objection { address, seen, .. } = objection;
        return Ok(cni_ipam::another(request, *address, seen)?.to_result());
    }
    let error = Error::new(Code::TRY_AGAIN, format!("address {objection}"));
    Err(after(error, cancel(ipam, request)))
}

/// Takes back what [`add()`] gave.
///
/// # Errors
/// It is still held.
pub(crate) fn cancel(ipam: &Ipam, request: &AddRequest) -> Result<(), Error> {
    match ipam {
        Ipam::Own => cni_ipam::cancel(request),
        Ipam::Delegated(plugin) => {
            ask(plugin, Verb::Del, &request.path, request.config.raw()).map(drop)
        }
        Ipam::Previous => Ok(()),
    }
}

/// Frees what the attachment holds; nothing is success.
///
/// # Errors
/// It is still held.
pub(crate) fn del(request: &DelRequest) -> Result<(), Error> {
    match Ipam::for_del(&request.config) {
        // Without `ipam` too: it may have been there when the ADD ran, and where there is no
        // database nothing is asked.
        Ok(Ipam::Own | Ipam::Previous) => cni_ipam::del(request),
        Ok(Ipam::Delegated(plugin)) => {
            ask(&plugin, Verb::Del, &request.path, request.config.raw()).map(drop)
        }
        // What no ADD accepts holds nothing.
        Err(_) => Ok(()),
    }
}

/// Answers whether the attachment holds what `prevResult` says.
///
/// # Errors
/// What differs, or the delegate's.
pub(crate) fn check(ipam: &Ipam, request: &CheckRequest) -> Result<(), Error> {
    match ipam {
        Ipam::Own => cni_ipam::check(request),
        Ipam::Delegated(plugin) => {
            ask(plugin, Verb::Check, &request.path, request.config.raw()).map(drop)
        }
        Ipam::Previous => Ok(()),
    }
}

/// Frees what no listed attachment holds.
///
/// # Errors
/// As the owner of the addresses says.
pub(crate) fn gc(ipam: &Ipam, request: &GcRequest) -> Result<(), Error> {
    match ipam {
        Ipam::Own => cni_ipam::gc(request),
        Ipam::Delegated(plugin) => {
            ask(plugin, Verb::Gc, &request.path, request.config.raw()).map(drop)
        }
        Ipam::Previous => Ok(()),
    }
}

/// Answers whether an ADD could get addresses.
///
/// # Errors
/// As the owner of the addresses says.
pub(crate) fn status(ipam: &Ipam, request: &StatusRequest) -> Result<(), Error> {
    match ipam {
        Ipam::Own => cni_ipam::status(request),
        Ipam::Delegated(plugin) => {
            ask(plugin, Verb::Status, &request.path, request.config.raw()).map(drop)
        }
        Ipam::Previous => Ok(()),
    }
}

fn ask(
    plugin: &str,
    verb: Verb,
    path: &[PathBuf],
    configuration: &impl ToString,
) -> Result<Vec<u8>, Error> {
    Delegate { plugin, path, configuration: &configuration.to_string() }.run(verb)
}

/// The error, with what could not be taken back after it.
fn after(error: Error, taken_back: Result<(), Error>) -> Error {
    let Err(kept) = taken_back else { return error };
    let details = [error.details.as_str(), &format!("DEL of the addresses failed too: {kept}")]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    error.with_details(details)
}
