//! Requests with a token, repeated while the fault may pass, until a deadline.
//!
//! Both clouds hand out a token for a PUT, which every GET then carries: `IMDSv2` of AWS, the
//! hardened mode of Alibaba Cloud. It keeps a request that somebody else was tricked into from being
//! answered.

use std::cell::RefCell;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::error::{Error, shortened};
use crate::transport::{Answer, LONGEST_BODY, Method, NoAnswer, Question, Transport};

const TOKEN_PATH: &str = "latest/api/token";
const METADATA_PATH: &str = "latest/meta-data/";

/// How long a token is asked to last, in seconds: the most that either cloud gives.
const TOKEN_TTL_SECONDS: &str = "21600";
/// A token is used for half of that, so that none runs out under way.
const TOKEN_AGE: Duration = Duration::from_secs(10_800);
/// The longest token that is sent back. Both clouds' have some 60 bytes.
const LONGEST_TOKEN: usize = 1024;

/// The pause behind the first attempt that failed, and how each further one grows.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const GROWTH: f64 = 1.2;
/// How often a request is made at most.
const MOST_ATTEMPTS: u32 = 5;
/// How long one attempt may take: the service is on the link, and answers within milliseconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a cloud names what belongs to tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dialect {
    /// The header of the PUT, which says how long the token is to last.
    pub(crate) ttl_header: &'static str,
    /// The header of every GET, which carries the token.
    pub(crate) token_header: &'static str,
    /// Whether a service without tokens is asked without one.
    pub(crate) is_token_optional: bool,
}

/// The moment, by the transport's clock, at which an answer is too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Duration);

#[derive(Debug, Clone)]
struct Token {
    text: String,
    taken: Duration,
}

/// A metadata service, and the token that it gave.
#[derive(Debug)]
pub(crate) struct Session<T> {
    transport: T,
    endpoint: Endpoint,
    dialect: Dialect,
    /// `None` before the first request; an empty text where the service knows no tokens.
    token: RefCell<Option<Token>>,
}

impl<T: Transport> Session<T> {
    pub(crate) fn new(transport: T, endpoint: Endpoint, dialect: Dialect) -> Self {
        Self { transport, endpoint, dialect, token: RefCell::new(None) }
    }

    /// The moment after this time.
    pub(crate) fn within(&self, time: Duration) -> Deadline {
        Deadline(self.transport.now() + time)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.endpoint.url(&format!("{METADATA_PATH}{path}"))
    }

    /// The text at a path below `latest/meta-data/`; `None` if there is none (404).
    pub(crate) fn text(&self, path: &str, deadline: Deadline) -> Result<Option<String>, Error> {
        let url = self.url(path);
        let mut is_renewed = false;
        loop {
            let token = self.token(deadline)?;
            let header = (!token.is_empty()).then_some((self.dialect.token_header, token.as_str()));
            let Answer { status, body } = self.ask(Method::Get, &url, header, deadline)?;
            match status {
                200 => return text_of(&url, body).map(Some),
                404 => return Ok(None),
                // The token has run out, or the service has forgotten it. Once: a service that
                // refuses a fresh one refuses all.
                401 if !is_renewed => {
                    is_renewed = true;
                    self.token.replace(None);
                }
                status => return Err(Error::Refused { url, status }),
            }
        }
    }

    fn token(&self, deadline: Deadline) -> Result<String, Error> {
        let now = self.transport.now();
        if let Some(token) = &*self.token.borrow()
            && now.saturating_sub(token.taken) < TOKEN_AGE
        {
            return Ok(token.text.clone());
        }
        let url = self.endpoint.url(TOKEN_PATH);
        let header = (self.dialect.ttl_header, TOKEN_TTL_SECONDS);
        let Answer { status, body } = self.ask(Method::Put, &url, Some(header), deadline)?;
        let text = match status {
            200 => checked_token(&url, &text_of(&url, body)?)?,
            403..=405 if self.dialect.is_token_optional => String::new(),
            status => return Err(Error::Refused { url, status }),
        };
        self.token.replace(Some(Token { text: text.clone(), taken: now }));
        Ok(text)
    }

    /// One request, repeated while its fault may pass.
    fn ask(
        &self,
        method: Method,
        url: &str,
        header: Option<(&'static str, &str)>,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let began = self.transport.now();
        let mut attempts = 0;
        let mut pause = FIRST_PAUSE;
        loop {
            let left = deadline.0.saturating_sub(self.transport.now());
            attempts += 1;
            let timeout = left.min(ATTEMPT_TIMEOUT);
            let reason = if timeout.is_zero() {
                "no time is left".to_owned()
            } else {
                match self.transport.exchange(&Question { method, url, header, timeout }) {
                    Ok(answer) if !may_pass(answer.status) => return Ok(answer),
                    Ok(answer) => format!("status {}", answer.status),
                    Err(NoAnswer::TooLong) => {
                        return Err(Error::TooLong { url: url.to_owned(), limit: LONGEST_BODY });
                    }
                    Err(NoAnswer::Failed(reason)) => reason,
                }
            };
            let now = self.transport.now();
            if attempts == MOST_ATTEMPTS || now + pause >= deadline.0 {
                let (url, waited) = (url.to_owned(), now.saturating_sub(began));
                return Err(Error::Unreachable { url, reason, attempts, waited });
            }
            self.transport.pause(pause);
            pause = pause.mul_f64(GROWTH);
        }
    }
}

/// Whether a later request may fare better: too many requests, or a fault of the server.
fn may_pass(status: u16) -> bool {
    status == 429 || (500..600).contains(&status)
}

fn text_of(url: &str, body: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(body).map_err(|error| Error::Format {
        url: url.to_owned(),
        value: shortened(&String::from_utf8_lossy(error.as_bytes())),
        rule: "it must be UTF-8".to_owned(),
    })
}

/// The token comes back in a header: what is not visible ASCII would be a header of its own.
fn checked_token(url: &str, text: &str) -> Result<String, Error> {
    let token = text.trim();
    let is_sound = !token.is_empty()
        && token.len() <= LONGEST_TOKEN
        && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_sound {
        return Ok(token.to_owned());
    }
    Err(Error::Format {
        url: url.to_owned(),
        value: shortened(text),
        rule: format!("a token has 1 to {LONGEST_TOKEN} visible characters"),
    })
}

#[cfg(test)]
pub(crate) mod tests;
