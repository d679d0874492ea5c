//! Why it is not known what the cloud gave.

use std::time::Duration;

use cni_net::MacAddr;

use crate::endpoint::Endpoint;

/// Nothing is known. Whoever keeps a list of addresses keeps it as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not the base of a metadata service: correct it.
    #[error("endpoint {text:?}: it must be http:// and an address, as http://100.100.100.200")]
    Endpoint {
        /// As written.
        text: String,
    },
    /// No known provider answers here: name one, or this is another cloud.
    #[error("no metadata service of {tried} answers at {}: name the provider if this is one", at(.endpoint.as_ref()))]
    NoProvider {
        /// The providers that were tried.
        tried: String,
        /// Where, if not at each provider's own address.
        endpoint: Option<Endpoint>,
    },
    /// The service did not answer in time, or only with errors that pass: try again later.
    #[error("{url}: {reason}, {attempts} times within {} ms: try again later", .waited.as_millis())]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened last.
        reason: String,
        /// How often it was tried.
        attempts: u32,
        /// How long it took together.
        waited: Duration,
    },
    /// The service refuses: the instance's metadata options forbid it, or another service answers.
    #[error("{url}: status {status}: look at the metadata options of the instance")]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Something that every NIC has is missing: half an answer.
    #[error("{url}: not there (404), though {because}: half an answer, which is not used")]
    Missing {
        /// What was asked for.
        url: String,
        /// Why it has to be there.
        because: String,
    },
    /// An answer of another form than documented.
    #[error("{url}: {value:?}: {rule}: half an answer, which is not used")]
    Format {
        /// What was asked for.
        url: String,
        /// What is wrong, or its beginning.
        value: String,
        /// What it should be.
        rule: String,
    },
    /// An answer longer than any true one.
    #[error("{url}: longer than {limit} bytes, which no true answer is")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The most bytes that are read.
        limit: usize,
    },
    /// Answers that contradict each other.
    #[error("NIC {mac}: {what}: half an answer, which is not used")]
    Contradiction {
        /// The NIC.
        mac: MacAddr,
        /// What does not fit.
        what: String,
    },
    /// The answers changed from each reading to the next: try again later.
    #[error("the metadata changed while it was read, {readings} times: try again later")]
    Unsteady {
        /// How often everything was read.
        readings: u32,
    },
}

fn at(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(|| "its usual address".to_owned(), ToString::to_string)
}

/// A text as it stands in a message: whole, or its beginning.
pub(crate) fn shortened(text: &str) -> String {
    const MOST_CHARACTERS: usize = 80;
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
